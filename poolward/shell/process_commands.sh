# A service that is run by the operator's own commands.
# variables: name, processes_command, restart_command (each quoted for eval; the second one may be empty)
process_commands() {
    processes() { # one pid a line; like pgrep, the command may end with 1 where there is none
        eval "set -- $processes_command"
        status=0
        found=$(as_given timeout -k 5 10 "$@" </dev/null 2>/dev/null 8>&-) || status=$?
        case $status${found:+ some} in
        0 | '0 some' | 1) ;;
        *) fail "processes_command of $name ended with $status" ;;
        esac
        for pid in $found; do
            case $pid in *[!0-9]*) fail "processes_command of $name prints something else than pids" ;; esac
            if [ -d "/proc/$pid" ] && ! is_ours "$pid"; then printf '%s\n' "$pid"; fi
        done
    }

    show_process() {
        section "processes $name"
        show_started "$(processes)"
    }

    # What it says goes to the host's journal, and no process it leaves behind holds this command's output.
    restart_process() {
        eval "set -- $restart_command"
        status=0
        as_given timeout -k 5 100 systemd-cat -t "poolward-$name" "$@" </dev/null 8>&- || status=$?
        case $status in
        0) ;;
        124 | 137) fail "restart_command took longer than 100 s; journalctl -t poolward-$name says why" ;;
        *) fail "restart_command ended with $status; journalctl -t poolward-$name says why" ;;
        esac
    }
    owns_cgroup() { return 1; }
    end_run() { :; }
}

# show_started PIDS: of each when it was started, in ticks since the host was and in seconds of the epoch.
show_started() {
    boot=$(awk -v now="$(date +%s.%N)" '{ printf "%.3f", now - $1 }' /proc/uptime)
    for pid in $1; do
        sed 's/.*) //' "/proc/$pid/stat" 2>/dev/null | awk -v pid="$pid" -v boot="$boot" -v hertz="$(getconf CLK_TCK)" \
            '{ printf "%s %s %.3f\n", pid, $20, boot + $20 / hertz }'
    done
}

# Whether a process belongs to a command of Poolward's, which has a service's whole declaration in its command line.
is_ours() {
    for one in $(ancestors_of "$1"); do
        if grep -aqs 'state_dir=/var/lib/poolward' "/proc/$one/cmdline"; then return 0; fi
    done
    return 1
}
