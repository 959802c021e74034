# PostgreSQL runs in a container. variables: port, container, superuser (empty: the one its environment names)
docker version >/dev/null 2>&1 || fail "the Docker engine does not answer: $(docker version 2>&1 >/dev/null | tail -n 1)"
[ "$(docker inspect -f '{{.State.Running}}' "$container" 2>/dev/null)" = true ] ||
    fail "there is no running container $container (postgresql_container)"
# The public images make one superuser, POSTGRES_USER; with another name there is no role postgres.
as_postgres() {
    into_container -u postgres "$container" sh -c '
        if [ -z "${POSTGRES_USER:-}" ] && [ -r "${POSTGRES_USER_FILE:-}" ]; then POSTGRES_USER=$(cat "$POSTGRES_USER_FILE"); fi
        export PGUSER="${0:-${POSTGRES_USER:-${PGUSER:-postgres}}}"
        exec "$@"' "$superuser" "$@"
}
at_server() { into_container "$container" "$@"; }
