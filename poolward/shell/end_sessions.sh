# The sessions of these roles end by themselves, because nobody is left to use them; those that do not are ended.
# variables: port, own_roles (JSON array of names), patience (seconds)
query() {
    printf '%s\n' "$1" | as_postgres env PGCONNECT_TIMEOUT=5 PGAPPNAME=poolward \
        PGOPTIONS='-c statement_timeout=5000 -c lock_timeout=1000' psql -X -qAt -w -v ON_ERROR_STOP=1 -v own_roles="$own_roles" -p "$port" -d postgres -f -
}
sessions="FROM pg_stat_activity WHERE usename IN (SELECT json_array_elements_text(:'own_roles'))"
gone() {
    deadline=$(($(date +%s) + patience))
    until [ "$(query "SELECT count(*) $sessions")" = 0 ]; do
        [ "$(date +%s)" -lt "$deadline" ] || return 1
        sleep 0.2
    done
}
if ! gone; then
    query "SELECT pg_terminate_backend(pid) $sessions" >/dev/null
    gone || fail "sessions of these roles do not end: $(query "SELECT DISTINCT usename, client_addr $sessions" | tr '\n' ' ')"
fi
