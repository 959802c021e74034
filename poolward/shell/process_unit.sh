# A service that is a systemd unit.
# variables: name, unit
process_unit() {
    show_process() {
        section "unit $name"
        systemctl show "$unit" --timestamp=us+utc -p Id -p ActiveState -p SubState -p MainPID -p ExecMainStartTimestamp \
            -p InactiveExitTimestamp -p TimeoutStartUSec -p TimeoutStopUSec
        section "members $name"
        processes
    }

    restart_process() {
        systemctl reset-failed "$unit" 2>/dev/null || :
        if ! systemctl restart "$unit" 8>&-; then
            systemctl show "$unit" -p ActiveState -p Result -p ExecMainStatus | tr '\n' ' ' >&2
            fail "journalctl -u $unit says why"
        fi
    }
    processes() { processes_in "$(systemctl show "$unit" -p ControlGroup --value)"; }
    owns_cgroup() { case $1 in */"$unit" | */"$unit"/*) ;; *) return 1 ;; esac; }
    end_run() { systemctl stop "$unit" || :; }
}

processes_in() { # processes_in CGROUP: the processes in it and below
    [ -n "$1" ] && [ -d "/sys/fs/cgroup$1" ] || return 0
    find "/sys/fs/cgroup$1" -name cgroup.procs -exec cat {} + 2>/dev/null || :
}
