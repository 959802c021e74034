# Docker Compose as it made a service's containers: the same project, files, directory and environment.
# variables: compose_file, compose_service

# list_containers: every container of this host in `listed`, one a line, separated by tabs: id, first process, name,
# Compose's labels (service, whether it is a one-off, files, project, directory, environment file), and what a person
# asks first, as JSON. One look at the engine, however many services are asked about.
list_containers() {
    all=$(docker ps --all --quiet --no-trunc) || fail "Docker does not tell of its containers"
    listed=
    [ -n "$all" ] || return 0
    form="{{.Id}}$tab{{.State.Pid}}$tab{{.Name}}"
    for label in service oneoff project.config_files project project.working_dir project.environment_file; do
        form="$form$tab{{with index .Config.Labels \"com.docker.compose.$label\"}}{{.}}{{end}}"
    done
    form="$form$tab{\"Id\":{{json .Id}},\"Name\":{{json .Name}},\"State\":{{json .State}},\"Env\":{{json .Config.Env}}"
    form="$form,\"StopTimeout\":{{json .Config.StopTimeout}},\"Networks\":{{json .NetworkSettings.Networks}},\"Compose\":{"
    between=
    for label in project directory=project.working_dir files=project.config_files variables=project.environment_file; do
        form="$form$between\"${label%%=*}\":{{json (index .Config.Labels \"com.docker.compose.${label#*=}\")}}"
        between=,
    done
    form="$form}}"
    # One that goes meanwhile makes docker fail, and the others are printed all the same.
    # shellcheck disable=SC2086 - ids, one word each
    listed=$(docker inspect --format "$form" $all 2>/dev/null) || :
    [ -n "$listed" ] || fail "Docker does not tell of its containers"
}
tab=$(printf '\t') listed=

compose_containers() { # the lines of the service's containers, running or not
    [ -n "$listed" ] || list_containers
    printf '%s\n' "$listed" | awk -F '\t' -v service="$compose_service" -v file="$compose_file" \
        -v real="$(readlink -f -- "$compose_file")" '
        $4 == service && $5 != "True" {
            n = split($6, files, ",")
            for (i = 1; i <= n; i++) if (files[i] == file || files[i] == real) { print; next }
        }'
}
column() { cut -f "$1"; }

# Fails, with the reason, unless Compose can be called as it was: a guess might start something else beside it.
one_project() {
    made=$(compose_containers) || fail "Docker does not tell of its containers"
    [ -n "$made" ] || fail "$compose_service of $compose_file has no container in this engine: start it as you always do"
    [ "$(printf '%s\n' "$made" | column 7 | sort -u | wc -l)" = 1 ] || fail "$compose_file runs as more than one project"
}

# compose SECONDS ARGUMENT...
compose() {
    patience=$1
    shift
    made=$(compose_containers) || return 1
    [ -n "$made" ] || return 1
    one=$(printf '%s\n' "$made" | head -n 1)
    given="--project-name $(quoted "$(printf '%s' "$one" | column 7)")"
    given="$given --project-directory $(quoted "$(printf '%s' "$one" | column 8)")"
    variables_from=$(printf '%s' "$one" | column 9)
    [ -z "$variables_from" ] || given="$given --env-file $(quoted "$variables_from")"
    given="$given $(printf '%s\n' "$one" | column 6 | tr , '\n' |
        while read -r file; do printf ' --file %s' "$(quoted "$file")"; done)"
    eval "set -- $given \"\$@\""
    timeout -k 5 "$patience" docker compose "$@"
}

quoted() { printf "'%s'" "$(printf '%s' "$1" | sed "s/'/'\\\\''/g")"; }

# Every container of this host with a network of its own: its first process and its name.
containers_with_network() {
    known=$(readlink /proc/self/ns/net)
    printf '%s\n' "$listed" | while IFS="$tab" read -r _ pid name _; do
        [ "${pid:-0}" != 0 ] || continue
        # One that has ended meanwhile has nothing to tell any more.
        network=$(readlink "/proc/$pid/ns/net") || continue
        case " $known " in *" $network "*) continue ;; esac
        known="$known $network"
        printf '%s %s\n' "$pid" "${name#/}"
    done
}
