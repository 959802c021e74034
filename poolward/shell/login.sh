# Log in through the pooler as a client does. The service file with the password comes by standard input and is handed
# on the same way: libpq refuses a password file that is a pipe, but takes a service file from one.
# variables: services (names of sections of that file), release (end the server connection afterwards)
file=$(cat)
printf '%s\n' "$services" | while read -r service; do
    section "$service"
    if answer=$(printf '%s\n' "$file" | PGSERVICEFILE=/dev/stdin PGSERVICE=$service PGCONNECT_TIMEOUT=5 PGAPPNAME=poolward-proof \
        timeout 20 psql -X -qAt -v ON_ERROR_STOP=1 -c 'SELECT current_user' 2>&1); then
        printf 'ok %s\n' "$answer"
    else
        printf 'failed %s\n' "$(printf '%s' "$answer" | tr '\n' ' ')"
    fi
    # Before 1.23 no per-user limit can be set for the probe without switching off auth_query for it, so its server
    # connection would linger in every pool it proved and use up its CONNECTION LIMIT.
    [ -z "$release" ] || printf '%s\n' "$file" | PGSERVICEFILE=/dev/stdin PGSERVICE=$service PGCONNECT_TIMEOUT=5 PGAPPNAME=poolward-proof \
        timeout 20 psql -X -qAt -c 'SELECT pg_terminate_backend(pg_backend_pid())' >/dev/null 2>&1 || :
done
section end
