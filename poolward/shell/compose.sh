# Docker Compose as it made a service's containers: the same project, files, directory and environment.
# variables: compose_file, compose_service
compose_containers() { # the ids of the service's containers, running or not
    listed=$(docker ps --all --no-trunc --filter "label=com.docker.compose.service=$compose_service" \
        --filter label=com.docker.compose.oneoff=False \
        --format '{{.ID}} {{.Label "com.docker.compose.project.config_files"}}')
    printf '%s\n' "$listed" | while read -r id files; do
        if printf '%s\n' "$files" | tr , '\n' | grep -qxF -e "$compose_file" -e "$(readlink -f -- "$compose_file")"; then
            printf '%s\n' "$id"
        fi
    done
}

compose_label() { docker inspect --format "{{index .Config.Labels \"com.docker.compose.$2\"}}" "$1"; }

# compose SECONDS ARGUMENT...
compose() {
    patience=$1
    shift
    ids=$(compose_containers)
    given="--file $(quoted "$compose_file")"
    if [ -n "$ids" ]; then
        one=$(printf '%s\n' "$ids" | head -n 1)
        project=$(compose_label "$one" project)
        for id in $ids; do
            [ "$(compose_label "$id" project)" = "$project" ] || fail "$compose_file runs as more than one project"
        done
        directory=$(compose_label "$one" project.working_dir)
        files=$(compose_label "$one" project.config_files | tr , '\n')
        variables_from=$(compose_label "$one" project.environment_file)
        given="--project-name $(quoted "$project") --project-directory $(quoted "$directory")"
        given="$given $(printf '%s\n' "$files" | while read -r one; do printf ' --file %s' "$(quoted "$one")"; done)"
        [ -z "$variables_from" ] || given="$given --env-file $(quoted "$variables_from")"
    fi
    eval "set -- $given \"\$@\""
    timeout -k 5 "$patience" docker compose "$@"
}

quoted() { printf "'%s'" "$(printf '%s' "$1" | sed "s/'/'\\\\''/g")"; }

# Every container of this host with a network of its own: its first process and its name.
containers_with_network() {
    running=$(docker ps --quiet --no-trunc)
    [ -n "$running" ] || return 0
    # One that ends meanwhile has nothing to tell any more.
    docker inspect --format '{{.State.Pid}} {{.Name}}' $running 2>/dev/null | while read -r pid name; do
        network=$(readlink "/proc/$pid/ns/net") || continue
        case " $known_networks " in *" $network "*) continue ;; esac
        known_networks="$known_networks $network"
        printf '%s %s\n' "$pid" "${name#/}"
    done
}
known_networks=$(readlink /proc/self/ns/net)
