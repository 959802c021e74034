# PgBouncer as a container, by Compose. Everything it does, it does as a user that has a number and no name.
# variables: network, image, published (ports as Compose writes them, one per line)
root=0:0 owner=6432:6432 user_word=%u group_word=%g mode=0600 run_as=6432:6432
service_file=/etc/poolward/docker-compose.yml service_file_name=docker-compose.yml more_files=probe.pgpass
show_log="docker logs pgbouncer"
# Which version of PgBouncer is in an image: "ID VERSION" lines.
image_versions=$state_dir/images

engine=$(docker version --format '{{.Server.Version}}' 2>&1) ||
    fail "the Docker engine does not answer: $(printf '%s' "$engine" | tail -n 1)"
docker compose version >/dev/null 2>&1 || fail "docker compose (version 2) is missing: Debian's package docker-compose has it"
for tool in ss nsenter; do
    command -v "$tool" >/dev/null || fail "$tool is missing (packages iproute2 and util-linux have ss and nsenter)"
done

# Docker prints an empty line for what there is not.
inspected() { inspection=$(docker inspect --type container --format "$1" "${2:-pgbouncer}" 2>/dev/null) && printf '%s\n' "$inspection"; }
has_image() { inspection=$(docker image inspect --format '{{.Id}}' "$image" 2>/dev/null) && printf '%s\n' "$inspection"; }
is_mine() { [ "$(inspected '{{index .Config.Labels "org.poolward.configuration"}}')" != "" ]; }
not_mine() { inspected '{{.Id}}' >/dev/null && ! is_mine; }
no_stranger() {
    ! not_mine || fail "the container pgbouncer of this host is not Poolward's: give it another name, or remove it"
}

main_pid() { inspected '{{.State.Pid}}' || printf '0\n'; }
runs() { [ "$(inspected '{{.State.Running}} {{.State.Restarting}}')" = 'true false' ]; }
in_its_network() {
    seen_by=$1
    shift
    nsenter --target "$seen_by" --net -- "$@"
}
as_pooler() { into_container "${trial_container:-pgbouncer}" "$@"; }
as_client() { as_pooler "$@"; }

prepare_directory() { # a directory is mounted, for a file renamed into a single-file mount would never be seen
    mkdir -p "$config_dir"
    chown "$owner" "$config_dir"
    chmod 0700 "$config_dir"
}

enable() { :; }

take() {
    case $1 in
    reload) docker kill --signal HUP pgbouncer >/dev/null ;;
    restart) docker restart --time 30 pgbouncer >/dev/null ;;
    *) docker compose --project-name poolward --file "$service_file" --progress quiet \
        up --detach --no-build --pull never ;;
    esac
}

put_to_rest() { docker rm --force pgbouncer >/dev/null 2>&1 || :; }
files_are_back() { :; }
raise_limit() { :; }
log_since() { docker logs --since "$1" pgbouncer 2>&1; }

fits() {
    no_stranger
    docker network inspect "$network" >/dev/null 2>&1 || fail "the network $network does not exist; docker network ls shows those there are"
    [ -n "$(has_image)" ] || fail "the image $image is not on this host any more"
    found=$(docker compose --project-name poolward --file "$staging/$service_file_name" config --quiet 2>&1) ||
        fail "Compose refuses the file: $found"
    printf '%s\n' "$published" | while IFS= read -r line; do
        [ -n "$line" ] || continue
        host_side=${line%:*}
        port=${host_side##*:}
        if docker port pgbouncer 2>/dev/null | grep -q ":$port\$"; then continue; fi
        holder=$(ss -Hltnp "sport = :$port" | sed -n 's/.*users:(("\([^"]*\)".*/\1/p' | sort -u | tr '\n' ' ')
        [ -z "$holder" ] || fail "port $port of this host is taken: ${holder% } listens there (pgbouncer_publish = $line)"
    done
}

begin_trial() { # the same image, the same mounts, on no network
    docker rm --force pgbouncer-trial >/dev/null 2>&1 || :
    trial_container=pgbouncer-trial
    docker run --detach --name "$trial_container" --network none --user "$run_as" --read-only --cap-drop ALL \
        --security-opt no-new-privileges --volume "$config_dir:$config_dir:ro" --volume "$trial:$trial" \
        --entrypoint pgbouncer "$image" "$trial/trial.ini" >/dev/null
}
trial_runs() { [ "$(inspected '{{.State.Running}}' "$trial_container")" = true ]; }
trial_log() { docker logs "$trial_container" 2>&1; }
end_trial() { docker rm --force pgbouncer-trial >/dev/null 2>&1 || :; }

show_packages() {
    id=$(has_image) || id=
    version=$(awk -v id="$id" 'id != "" && $1 == id { found = $2 } END { print found }' "$image_versions" 2>/dev/null) || version=
    for package in pgbouncer postgresql-client iproute2; do
        # An image does not change by itself, so it is as good as held.
        if [ -n "$version" ]; then printf '%s hold installed %s\n' "$package" "$version"; else printf '%s unknown not-installed -\n' "$package"; fi
    done
}

show_candidate() { :; } # what apt offers is known when the image is built

show_service() { # in systemd's words
    no_stranger
    docker network inspect "$network" >/dev/null 2>&1 || fail "the network $network does not exist (pgbouncer_network); docker network ls shows those there are"
    printf 'LoadState=container\nMainPID=%s\n' "$(main_pid)"
    state=$(inspected '{{.State.Status}}') || state=missing
    if runs; then state=active; fi
    printf 'ActiveState=%s\n' "$state"
    case $(inspected '{{.HostConfig.RestartPolicy.Name}}') in
    unless-stopped | always) printf 'UnitFileState=enabled\n' ;;
    *) printf 'UnitFileState=disabled\n' ;;
    esac
    stale=no
    digest=$(sed -n 's/.*org.poolward.configuration: "\(.*\)".*/\1/p' "$service_file" 2>/dev/null) || digest=
    if runs; then
        [ "$(inspected '{{index .Config.Labels "org.poolward.configuration"}}')" = "$digest" ] || stale=yes
        [ "$(inspected '{{.Image}}')" = "$(has_image)" ] || stale=yes
    fi
    printf 'NeedDaemonReload=%s\n' "$stale"
    printf 'Health=%s\n' "$(inspected '{{if .State.Health}}{{.State.Health.Status}}{{end}}')"
}

# ADDRESS, what it resolves to, where connections to it come from, and the network that address may change within: a
# container gets another one whenever it is made anew.
show_address() {
    members=$(docker ps --quiet --filter "network=$network" | xargs -r docker inspect --format \
        "{{with index .NetworkSettings.Networks \"$network\"}}{{.IPAddress}}{{range .Aliases}} {{.}}{{end}}{{end}} {{slice .Name 1}}")
    member=$(printf '%s\n' "$members" | awk -v name="$1" '{ for (i = 1; i <= NF; i++) if ($i == name) { print $1; exit } }')
    if [ -n "$member" ]; then
        own=$(inspected "{{with index .NetworkSettings.Networks \"$network\"}}{{.IPAddress}}{{end}}") || own=
        subnet=$(docker network inspect --format '{{range .IPAM.Config}}{{.Subnet}} {{end}}' "$network" | awk '{ print $1 }')
        printf '%s %s %s %s\n' "$1" "$member" "${own:--}" "${subnet:--}"
    else # a server elsewhere sees this host
        resolved=$(getent ahosts "$1" | awk 'NR == 1 { print $1 }')
        source=$(ip -o route get "${resolved:-$1}" 2>/dev/null | sed -n 's/.* src \([^ ]*\).*/\1/p')
        printf '%s %s %s\n' "$1" "${resolved:--}" "${source:--}"
    fi
}

left_installed() { # the images that a deploy built
    for tag in $(cat "$installed" 2>/dev/null || :); do
        ! docker image inspect "$tag" >/dev/null 2>&1 || printf '%s\n' "$tag"
    done
}

drop_superseded() { # the image that ran before stays for a way back, as long as the previous Compose file names it
    for tag in $(left_installed); do
        ! grep -qsF "image: \"$tag\"" "$service_file" "$service_file.previous" || continue
        ! docker image rm "$tag" >/dev/null 2>&1 || printf '%s\n' "$tag"
    done
}

retire() {
    end_trial
    ! is_mine || docker stop --time 30 pgbouncer >/dev/null
    ! is_mine || docker rm pgbouncer >/dev/null
}

uninstall() {
    for tag in $(left_installed); do
        docker image rm "$tag" >/dev/null 2>&1 || printf '%s: a container needs it\n' "$tag"
    done
}

files_are_gone() {
    rm -f "$image_versions"
    rmdir "${service_file%/*}" 2>/dev/null || :
}
