# PgBouncer has no option that checks a file, and a RELOAD of a bad one is applied by half. So the host's own binary is
# started on the staged files, with a private socket and no TCP listener, and asked what it made of them.
[ -f "$staging/pgbouncer.ini" ] || fail "no candidate is staged"
fits
trial=$(mktemp -d /run/poolward.XXXXXX)
finish() {
    end_trial
    rm -rf "$trial"
}
trap finish EXIT
trap 'exit 1' INT TERM HUP
chown "$run_as" "$trial"
{
    printf '%%include %s\n' "$staging/pgbouncer.ini"
    printf 'auth_file = %s\n' "$staging/userlist.txt"
    [ ! -f "$staging/pg_hba.conf" ] || printf 'auth_hba_file = %s\n' "$staging/pg_hba.conf"
    printf '%s =\n' listen_addr pidfile logfile
    printf 'unix_socket_dir = %s\n' "$trial"
    printf 'min_pool_size = 0\n'
} >"$trial/trial.ini"
chown "$run_as" "$trial/trial.ini"
port=$(sed -n 's/^listen_port *= *\([0-9]*\)$/\1/p' "$staging/pgbouncer.ini" | tail -n 1)

# A line of PgBouncer's log begins with date, time, zone, process and level.
without_stamp() { sed -E 's/^[0-9-]+ [0-9:.]+ [^ ]+ \[[0-9]+\] (ERROR|FATAL|WARNING) //'; }

begin_trial
deadline=$(($(date +%s) + 10))
until show_all "$trial" "${port:-6432}" >"$trial/shown" 2>"$trial/refused"; do
    if ! trial_runs || [ "$(date +%s)" -ge "$deadline" ]; then
        trial_log >"$trial/said"
        # An ERROR says why; the FATAL behind it only that it was the end.
        { grep ' ERROR ' "$trial/said" || grep ' FATAL ' "$trial/said" || tail -n 5 "$trial/said"; } | without_stamp >&2
        exit 1
    fi
    sleep 0.05
done
trial_log >"$trial/said"
# These are no reason to stop for PgBouncer itself: it would run on, with fewer users or fewer rules than were meant.
if grep -E 'broken auth file|could not open auth_file|could not (parse|open) hba|invalid value' "$trial/said" >"$trial/ignored"; then
    without_stamp <"$trial/ignored" >&2
    fail "PgBouncer came up on the candidate, but ignored a part of it"
fi
cat "$trial/shown"
section end
