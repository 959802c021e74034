# PgBouncer has no option that checks a file, and a RELOAD of a bad one is applied by half. So the host's own binary is
# started on the staged files, with a private socket and no TCP listener, and asked what it made of them.
[ -f "$staging/pgbouncer.ini" ] || fail "no candidate is staged"
trial=$(mktemp -d /run/poolward.XXXXXX)
trial_pid=
finish() {
    [ -z "$trial_pid" ] || kill -KILL "$trial_pid" 2>/dev/null || :
    rm -rf "$trial"
}
trap finish EXIT
trap 'exit 1' INT TERM HUP
chown "$service_user:$service_user" "$trial"
{
    printf '%%include %s\n' "$staging/pgbouncer.ini"
    printf 'auth_file = %s\n' "$staging/userlist.txt"
    [ ! -f "$staging/pg_hba.conf" ] || printf 'auth_hba_file = %s\n' "$staging/pg_hba.conf"
    printf '%s =\n' listen_addr pidfile logfile
    printf 'unix_socket_dir = %s\n' "$trial"
    printf 'min_pool_size = 0\n'
} >"$trial/trial.ini"
chown "$service_user:$service_user" "$trial/trial.ini"
port=$(sed -n 's/^listen_port *= *\([0-9]*\)$/\1/p' "$staging/pgbouncer.ini" | tail -n 1)

# A line of PgBouncer's log begins with date, time, zone, process and level.
without_stamp() { sed -E 's/^[0-9-]+ [0-9:.]+ [^ ]+ \[[0-9]+\] (ERROR|FATAL|WARNING) //'; }

# setpriv becomes PgBouncer; runuser would stay its parent, and killing that leaves PgBouncer running for ever.
setpriv --reuid "$service_user" --regid "$service_user" --init-groups -- \
    /usr/sbin/pgbouncer "$trial/trial.ini" >"$trial/log" 2>&1 &
trial_pid=$!
deadline=$(($(date +%s) + 10))
until show_all "$trial" "${port:-6432}" >"$trial/shown" 2>"$trial/refused"; do
    if ! kill -0 "$trial_pid" 2>/dev/null || [ "$(date +%s)" -ge "$deadline" ]; then
        # An ERROR says why; the FATAL behind it only that it was the end.
        { grep ' ERROR ' "$trial/log" || grep ' FATAL ' "$trial/log" || tail -n 5 "$trial/log"; } | without_stamp >&2
        exit 1
    fi
    sleep 0.05
done
# These are no reason to stop for PgBouncer itself: it would run on, with fewer users or fewer rules than were meant.
if grep -E 'broken auth file|could not open auth_file|could not (parse|open) hba|invalid value' "$trial/log" >"$trial/ignored"; then
    without_stamp <"$trial/ignored" >&2
    fail "PgBouncer came up on the candidate, but ignored a part of it"
fi
cat "$trial/shown"
section end
