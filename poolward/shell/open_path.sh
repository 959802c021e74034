# A port on this host's loopback that leads out of a container's own network, for a minute at most; prints the port.
# variables: container (an id), address, address_port, unit (the name of what serves it)
found=$(look_up_in "$container" "$address" | awk '{ print $1; exit }')
[ -n "$found" ] || fail "in the container the name $address means nothing: is it on the same network as the pooler?"
case $found in *:*) found="[$found]" ;; esac
pid=$(docker inspect --format '{{.State.Pid}}' "$container")
for tool in systemd-run systemd-socket-activate /usr/lib/systemd/systemd-socket-proxyd; do
    command -v "$tool" >/dev/null || fail "$tool is missing, by which a login from within a container is tried"
done
timeout 5 nsenter --target "$pid" --net -- bash -c 'exec 3<>"/dev/tcp/$0/$1"' "$(printf '%s' "$found" | tr -d '[]')" "$address_port" 2>/dev/null ||
    fail "from the container nothing answers at $address:$address_port"
for try in 1 2 3 4 5; do
    port=$((20000 + $(od -An -N2 -tu2 /dev/urandom) % 12000))
    [ -z "$(ss -Hltn "sport = :$port")" ] || continue
    systemd-run --quiet --collect --unit "$unit-$try" --property RuntimeMaxSec=60 \
        systemd-socket-activate --listen "127.0.0.1:$port" \
        nsenter --target "$pid" --net -- /usr/lib/systemd/systemd-socket-proxyd "$found:$address_port" 2>/dev/null
    for _ in $(seq 50); do
        if [ -n "$(ss -Hltn "sport = :$port")" ]; then
            printf '%s\n' "$port"
            exit
        fi
        sleep 0.05
    done
done
fail "no path out of the container could be opened"
