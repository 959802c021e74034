# A service of Docker Compose's.
# variables: name, compose_file, compose_service
process_compose() {
    show_process() {
        section "containers $name"
        compose_containers | cut -f 10- | base64 -w0
        printf '\n'
        section "processes $name"
        show_started "$(processes)"
    }

    processes() {
        for pid in $(compose_containers | column 2); do
            [ "$pid" = 0 ] || processes_in "$(sed -n 's/^0:://p' "/proc/$pid/cgroup" 2>/dev/null)"
        done
    }

    # What it says may quote its environment, so of its words only the engine's own errors are shown.
    restart_process() {
        one_project
        status=0
        said=$(compose "$restart_seconds" --progress plain up --detach --no-deps --no-build --pull never "$compose_service" 2>&1 8>&-) || status=$?
        [ "$status" != 0 ] || return 0
        case $status in
        124 | 137) fail "docker compose up -d $compose_service took longer than $restart_seconds s" ;;
        esac
        printf '%s\n' "$said" | grep -iE '^(error|network|no such|pull)' | tail -n 1 | cut -c 1-300 >&2 || :
        fail "docker compose up -d $compose_service ended with $status"
    }
    owns_cgroup() { return 1; }
    end_run() { :; }
}
