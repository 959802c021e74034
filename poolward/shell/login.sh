# Log in through the pooler as a client does. The service file with the password comes by standard input and is handed
# on the same way: libpq refuses a password file that is a pipe, but takes a service file from one.
# variables: services (names of sections of that file), role, patience (seconds)
login() {
    # The probe ends its server connection itself: PgBouncer would keep it idle for server_idle_timeout in every pool it
    # proved, and the next proof would meet its CONNECTION LIMIT (max_user_connections does not evict it; seen on 1.24.1).
    printf '%s\n' "$file" | as_client env PGSERVICEFILE=/dev/stdin "PGSERVICE=$service" PGCONNECT_TIMEOUT=8 \
        PGAPPNAME=poolward-proof timeout 20 psql -X -qAt -v ON_ERROR_STOP=1 -c 'SELECT current_user' \
        -c 'SELECT pg_terminate_backend(pg_backend_pid())' 2>&1 || :
}

file=$(cat)
since=$(date +%s)
printf '%s\n' "$services" | while read -r service; do
    section "$service"
    # Within server_login_retry of a failed server login PgBouncer answers from memory, without asking the server; 1.18
    # turns away even the first client long after it, and only then tries again. Only an answer from the server counts.
    deadline=$(($(date +%s) + patience))
    while answer=$(login); do
        case $answer in *'server login has been failing'*) ;; *) break ;; esac
        [ "$(date +%s)" -lt "$deadline" ] || break
        sleep 0.2
    done
    # Out of a container both streams come in any order.
    if printf '%s\n' "$answer" | grep -qxF -e "$role"; then
        printf 'ok\n'
    else
        printf 'failed %s\n' "$(printf '%s' "$answer" | tr '\n' ' ')"
    fi
done
# Why a server connection failed stands only in PgBouncer's log.
section log
log_since "$since" | tail -n 200 | grep -E 'ERROR|WARNING|server login failed|login failed|TLS' |
    sed 's/^[^ ]* [^ ]* [^ ]* \[[0-9]*\] //' | sort -u | tail -n 3 || :
section end
