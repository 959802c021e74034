# into_container DOCKER-EXEC-ARGUMENT...: a command in a container, with what comes on standard input.
#
# Now and then the engine cannot start a process in a container that runs well (runc 1.1: "read init-p: connection reset
# by peer"); the CLI then says nothing and exits 126. Nothing of the command has run, so it is asked for again, which
# needs its input once more. With `streaming` set the input is paced by time, and there is one attempt.
into_container() {
    if [ -n "${streaming:-}" ]; then
        docker exec -i "$@"
        return
    fi
    given=$(cat)
    for attempt in 1 2 3; do
        exited=0
        { [ -z "$given" ] || printf '%s\n' "$given"; } | docker exec -i "$@" || exited=$?
        [ "$exited" = 126 ] || return "$exited"
    done
    printf 'the Docker engine started no process in the container in %s attempts; its log says why\n' "$attempt" >&2
    return 126
}
