# PostgreSQL runs in a container. variables: port, container
docker version >/dev/null 2>&1 || fail "the Docker engine does not answer: $(docker version 2>&1 >/dev/null | tail -n 1)"
[ "$(docker inspect -f '{{.State.Running}}' "$container" 2>/dev/null)" = true ] ||
    fail "there is no running container $container (postgresql_container)"
as_postgres() { docker exec -i -u postgres "$container" "$@"; }
at_server() { docker exec -i "$container" "$@"; }
