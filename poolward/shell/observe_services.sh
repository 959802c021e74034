# Services of an application host, and every socket it has to a database or a pooler.
# variables: services (one per line, separated by tabs, - where there is none: name, health URL or ! and a command, and
#   quoted for eval the variables that say how it runs and where its settings are), ports (of the databases and
#   poolers), health_timeout (seconds), with_ancestors (of the processes with a connection), with_containers
file() { # file PATH: owner, group, mode and time of the last change, and the bytes, of which nothing is printed
    [ -f "$1" ] || return 0
    stat -c '%u %g %a' "$1" # a group's name may have a blank in it
    find "$1" -maxdepth 0 -printf '%C@\n'
    base64 -w0 "$1"
    printf '\n'
}

status_of() { # status_of URL: its HTTP status, with whatever this host has to ask for it
    if command -v curl >/dev/null; then
        curl -s -o /dev/null -m "$health_timeout" -w '%{http_code}' "$1"
    elif command -v wget >/dev/null; then
        wget -q -O /dev/null -T "$health_timeout" -t 1 --server-response "$1" 2>&1 | awk '$1 ~ /^HTTP/ { print $2; exit }'
    else
        case $1 in http://*) ;; *) fail "neither curl nor wget is here to ask $1" ;; esac
        address=${1#http://}
        path=/${address#*/}
        [ "$path" != "/$address" ] || path=/
        address=${address%%/*}
        port=${address##*:}
        [ "$port" != "$address" ] || port=80
        timeout "$health_timeout" bash -c 'exec 3<>"/dev/tcp/$0/$1"; printf "GET %s HTTP/1.0\r\nHost: %s\r\n\r\n" "$2" "$0" >&3
            read -r _ status _ <&3; printf "%s" "$status"' "${address%:*}" "$port" "$path"
    fi
}

# What this host makes of its containers' addresses on their way out: the end of a connection as its socket has it, and as
# the other side sees it. The first two addresses and ports of a line of conntrack are the way there, the others the way back.
translated() {
    { cat /proc/net/nf_conntrack 2>/dev/null || conntrack -L -p tcp 2>/dev/null || :; } | awk -v ports="$(echo $ports)" '
        BEGIN { split(ports, list, " "); for (one in list) wanted[list[one]] = 1 }
        / ESTABLISHED / {
            n = 0
            for (i = 1; i <= NF; i++) if ($i ~ /^(src|dst|sport|dport)=/) { n++; sub(/^[a-z]*=/, "", $i); field[n] = $i }
            if (field[4] in wanted && (field[1] != field[6] || field[3] != field[8]))
                print field[1], field[3], field[2], field[4], field[6], field[8]
        }'
}

[ -z "$with_containers" ] || list_containers
section clock
date +%s.%N
printf '%s\n' "$services" | while IFS="$tab" read -r name health handling; do
    [ -n "$name" ] || continue
    settings_by='' process_by='' errors_command=''
    [ "$handling" = - ] || eval "$handling"
    section "service $name"
    if [ -n "$process_by" ]; then
        "$process_by"
        show_process
    fi
    if [ -n "$settings_by" ]; then
        "$settings_by"
        section "path $name"
        printf '%s\n' "$path"
        show_settings
        section "before $name"
        file "$before"
        section "unproved $name"
        [ ! -f "$unproved" ] || { cat "$unproved"; printf '\n'; }
    fi
    if [ "$health" != - ]; then
        section "health $name"
        case $health in
        !*) as_given timeout "$health_timeout" sh -c "${health#!}" >/dev/null 2>&1 && printf 200 || printf 'failure (%s)' "$?" ;;
        *) status_of "$health" 2>/dev/null || printf 'no answer' ;;
        esac
        printf '\n'
    fi
    if [ -n "$errors_command" ]; then
        section "errors $name"
        as_given timeout "$health_timeout" sh -c "$errors_command" 2>/dev/null | head -c 4000 | tr -d '\n' || :
        printf '\n'
    fi
done

section sockets
filter=
for port in $ports; do filter="${filter:+$filter or }dport = :$port"; done
found=$(ss -Htnp state established "( $filter )")
printf '%s\n' "$found"
if [ -n "$with_containers" ]; then
    section "container sockets"
    in_containers=$(containers_with_network | while read -r pid container; do
        if seen=$(nsenter --target "$pid" --net -- ss -Htnp state established "( $filter )"); then
            [ -z "$seen" ] || printf '%s\n' "$seen" | sed "s#^#$container$tab#"
        elif [ -d "/proc/$pid" ]; then
            fail "the sockets of the container $container cannot be seen"
        fi
    done)
    printf '%s\n' "$in_containers"
    found="$found
$in_containers"
    section translated
    translated
fi
# Each end of a Unix socket knows the other by its number; the server's end is held by the backend.
section "local sockets"
local_sockets=$(ss -Hxnp | awk '
    $1 == "u_str" && $2 == "ESTAB" {
        rest = $0
        pids = ""
        while (match(rest, /pid=[0-9]+/)) {
            pids = pids " " substr(rest, RSTART, RLENGTH)
            rest = substr(rest, RSTART + RLENGTH)
        }
        holders[$6] = pids
        if ($5 ~ /\/\.s\.PGSQL\.[0-9]+$/) { path[$6] = $5; other[$6] = $8 }
    }
    END {
        for (end in path) if (holders[end] && holders[other[end]]) {
            backend = holders[end]
            gsub(/pid=/, "", backend)
            print path[end] backend ":" holders[other[end]]
        }
    }')
printf '%s\n' "$local_sockets"
found="$found
$(printf '%s\n' "$local_sockets" | sed 's/.*://')"
section processes
pids=$(printf '%s\n' "$found" | grep -o 'pid=[0-9]*' | cut -d= -f2 | sort -u)
for pid in $pids; do
    # A process that ends meanwhile is not there any more, and neither is its socket.
    unit=$(unit_of "$pid") || continue
    printf '%s\t%s\t%s\n' "$pid" "${unit:--}" "$(program_of "$pid")"
done
if [ -n "$with_ancestors" ]; then
    section ancestors
    for pid in $pids; do
        ancestors_of "$pid"
    done
fi
section end
