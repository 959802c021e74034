# Replace pg_hba.conf by what comes on standard input, keep the previous file, and take it back when PostgreSQL finds an
# error in the new one: an unreadable pg_hba.conf would lock everybody out at the next restart.
# variables: port
sql() {
    as_postgres env PGCONNECT_TIMEOUT=5 psql -X -qAt -w -v ON_ERROR_STOP=1 -p "$port" -d postgres -c "$1" </dev/null
}
file=$(hba_file)
# The copy has its owner and mode before it has its content.
at_server sh -ec '
    trap "rm -f \"$0.part\"" EXIT
    cp -p "$0" "$0.part"
    cat >"$0.part"
    [ -s "$0.part" ] || { echo "the new pg_hba.conf would be empty" >&2; exit 1; }
    sync "$0.part"
    cp -p "$0" "$0.before-poolward"
    mv -f "$0.part" "$0"
' "$file"
errors=$(sql "SELECT line_number || ': ' || error FROM pg_hba_file_rules WHERE error IS NOT NULL") || errors="it could not be checked"
if [ -n "$errors" ]; then
    at_server sh -ec 'cp -p "$0.before-poolward" "$0.part"; mv -f "$0.part" "$0"' "$file" </dev/null
    fail "PostgreSQL finds an error in the new pg_hba.conf, the previous one is back: $errors"
fi
sql 'SELECT pg_reload_conf()' >/dev/null
