# Lead to an address as a container of this host reaches it: through its own network, by its own names.
# variables: container (an id), address, address_port
found=$(look_up_in "$container" "$address" | awk '{ print $1; exit }')
[ -n "$found" ] || fail "in the container the name $address means nothing: is it on the same network as the pooler?"
pid=$(docker inspect --format '{{.State.Pid}}' "$container")
exec nsenter --target "$pid" --net -- perl -e "$relay" "$found" "$address_port"
