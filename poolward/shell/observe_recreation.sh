# What making a service's containers anew would bring beside its own settings.
# variables: the service's
"$process_by"
section "dry run"
compose 30 --progress plain --dry-run up --detach --no-deps --no-build --pull never "$compose_service" 2>&1 | tail -n 20
section dependents
ids=$(compose_containers | column 1)
running=$(docker ps --quiet --no-trunc)
[ -z "$running" ] || docker inspect --format '{{.Name}} {{.HostConfig.NetworkMode}} {{.HostConfig.PidMode}} {{.HostConfig.IpcMode}}' $running |
    while read -r container modes; do
        for id in $ids; do
            case $modes in *"container:$id"*) printf '%s\n' "${container#/}" ;; esac
        done
    done
section end
