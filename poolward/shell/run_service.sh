# Run a service that lives now and then, once, and note every connection it has to a database or a pooler meanwhile.
# variables: the service's, run_command (quoted for eval), run_timeout (seconds), ports (of the databases and poolers),
#   event
alone 15
"$process_by"
journal "$event" || :
# It may take long, and it changes no settings: a way back need not wait for it.
exec 8>&-
run=poolward-run-$(systemd-escape -- "$name").service
notes=$(mktemp -d /run/poolward-run.XXXXXX)
trap 'rm -r "$notes"' EXIT

filter=
for port in $ports; do filter="${filter:+$filter or }dport = :$port"; done
# Every socket by its state and both ends, with the processes that hold it.
sockets() {
    ss -Htnp --cgroup state established state time-wait "( $filter )" |
        sed 's/^\(ESTAB\|TIME-WAIT\) *[0-9]* *[0-9]* */\1 /'
}

is_its_own() { # is_its_own PID CGROUP: its process, one of the run, or a child of either
    case $2 in */"$run" | */"$run"/*) return 0 ;; esac
    if owns_cgroup "$2"; then return 0; fi
    for one in $(ancestors_of "$1"); do
        case " $family " in *" $one "*) return 0 ;; esac
    done
    return 1
}

note() { # note STATE LOCAL PEER WHO: a socket that was not there when it was looked last
    pid=${4#*pid=}
    [ "$pid" != "$4" ] && pid=${pid%%[!0-9]*} || pid=0
    cgroup=${4##*cgroup:}
    its_own=-
    if [ "$pid" != 0 ] && is_its_own "$pid" "${cgroup%% *}"; then its_own=own; fi
    printf '%s\t%s\t%s\t%s\t%s\t%s\n' "$1" "$2" "$3" "$its_own" "$pid" "$(program_of "$pid")"
}

# A run that an earlier command began: its end first, so that no process is taken for another.
patience=$(($(date +%s) + run_timeout))
while systemctl --quiet is-active "$run"; do
    [ "$(date +%s)" -lt "$patience" ] || fail "the run that was begun earlier ($run) goes on"
    sleep 0.2
done

section sockets
# What is over already tells nothing of this run.
sockets | grep '^TIME-WAIT' >"$notes/last" || :
sed 's/^/BEFORE /' "$notes/last" | while read -r state _ local peer _; do
    printf '%s\t%s\t%s\t-\t0\t\n' "$state" "$local" "$peer"
done
start=$(date +%s.%N)
(
    eval "set -- $run_command"
    status=0
    # In a unit of its own: everything it starts can be told, and ended; what it says goes to the host's journal.
    systemd-run --quiet --wait --collect --unit="$run" -p RuntimeMaxSec="$run_timeout" \
        -p SyslogIdentifier="poolward-$name" -- "$@" </dev/null >/dev/null 2>&1 ||
        status=$?
    printf '%s\n' "$status" >"$notes/status.part"
    mv "$notes/status.part" "$notes/status"
) &
ended=
until [ -n "$ended" ]; do
    [ ! -f "$notes/status" ] || ended=yes
    sockets >"$notes/now"
    if ! cmp -s "$notes/now" "$notes/last"; then
        family=$(processes)
        family=$(printf '%s\n' "$family" "$(processes_in "/system.slice/$run")" | tr '\n' ' ')
        grep -vxF -f "$notes/last" "$notes/now" | while read -r state local peer who; do
            note "$state" "$local" "$peer" "$who"
        done
        mv "$notes/now" "$notes/last"
    fi
    sleep 0.01
done
end=$(date +%s.%N)
section ran
cat "$notes/status"
awk -v start="$start" -v end="$end" 'BEGIN { printf "%.3f\n", end - start }'
if awk -v start="$start" -v end="$end" -v most="$run_timeout" 'BEGIN { exit !(end - start >= most) }'; then
    end_run
    printf 'timeout\n'
fi
section end
