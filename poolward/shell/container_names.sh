# look_up_in CONTAINER NAME: what a name means in a container, as getent prints it. Its files and its name server are
# asked with this host's own tool, because an image need not have any.
look_up_in() {
    pid=$(docker inspect --format '{{.State.Pid}}' "$1")
    hosts_file=$(docker inspect --format '{{.HostsPath}}' "$1")
    resolv_file=$(docker inspect --format '{{.ResolvConfPath}}' "$1")
    if [ ! -f "$hosts_file" ] || [ ! -f "$resolv_file" ]; then fail "the container $1 has no names of its own"; fi
    nsenter --target "$pid" --net -- unshare --mount -- sh -c '
        mount --bind "$1" /etc/hosts && mount --bind "$2" /etc/resolv.conf
        getent -s files ahosts "$3" || getent -s dns ahosts "$3"' sh "$hosts_file" "$resolv_file" "$2"
}
