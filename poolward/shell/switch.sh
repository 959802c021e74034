# Put the staged files in place, make the process take them, and see that it did; if not, put everything back.
# It all happens on the host, so that a lost connection cannot leave it half done.
# variables: action (start, reload or restart), expected (KEY<tab>VALUE lines SHOW CONFIG must print), open_files
tab=$(printf '\t')
was_active=$(systemctl is-active pgbouncer.service || :)

take() {
    case $1 in
    reload) systemctl reload pgbouncer.service ;;
    *) systemctl restart pgbouncer.service ;;
    esac
}

put() { # put FROM TO MODE OWNER: atomic, in the target's own directory; what is right already stays untouched
    if cmp -s "$1" "$2" && [ "0$(stat -c '%a %U:%G' "$2")" = "$3 $4" ]; then return; fi
    cp "$1" "$2.part"
    chown "$4" "$2.part"
    chmod "$3" "$2.part"
    sync "$2.part"
    mv -f "$2.part" "$2"
}

restore() {
    reason=$1
    trap '' INT TERM HUP
    set +e
    put_files_back
    if [ "$was_active" = active ] && [ "$(cat "$unproved")" != start ]; then
        take "$action" && wait_for_console || { systemctl restart pgbouncer.service; wait_for_console; } ||
            reason="$reason; and the previous configuration did not come back either: journalctl -u pgbouncer"
    else
        put_to_rest
    fi
    rm -rf "$staging"
    fail "$reason"
}

wait_for_console() {
    deadline=$(($(date +%s) + 10))
    until where=$(console_of "$(main_pid)") && [ -n "$where" ] && console ${where% *} ${where##* } -c 'SHOW VERSION' >/dev/null 2>&1; do
        [ "$(date +%s)" -lt "$deadline" ] || return 1
        sleep 0.05
    done
}

differing() {
    running=$(console ${where% *} ${where##* } -At -F "$tab" -c 'SHOW CONFIG' | cut -f1,2)
    printf '%s\n' "$expected" | grep -Fxv -e "$running" || :
}

# Somebody's own configuration from before the first deploy is kept until the removal puts it back.
keep_what_was_here() {
    if [ ! -f "$ini" ] || is_ours "$ini" || is_installed_by_us pgbouncer; then return; fi
    rm -rf "$kept.part"
    mkdir "$kept.part"
    for file in "$ini" "$userlist" "$hba"; do
        [ ! -f "$file" ] || cp -p "$file" "$kept.part/"
    done
    rm -rf "$kept"
    mv "$kept.part" "$kept"
}

# What is there now is kept as the previous configuration, unless a run that was cut off left it there without a proof:
# then the one before it stays the way back.
if [ ! -f "$unproved" ]; then
    keep_what_was_here || { rm -rf "$staging" "$kept.part"; exit 1; }
    for file in "$ini" "$userlist" "$hba" "$drop_in"; do
        rm -f "$file.previous"
        [ ! -f "$file" ] || cp -p "$file" "$file.previous"
    done
    printf '%s\n' "$action" | tee "$unproved" >/dev/null || { rm -rf "$staging"; exit 1; }
elif [ "$action" = restart ] && [ "$(cat "$unproved")" = reload ]; then
    printf 'restart\n' | tee "$unproved" >/dev/null
fi
mkdir -p "${drop_in%/*}"
chmod 0755 "${drop_in%/*}"

trap 'restore "interrupted"' INT TERM HUP
trap '[ $? = 0 ] || restore "a step of the switch failed"' EXIT
since=$(date '+%Y-%m-%d %H:%M:%S')
same_secret=
if cmp -s "$staging/userlist.txt" "$userlist"; then same_secret=yes; fi
put "$staging/userlist.txt" "$userlist" 0640 "root:$service_user"
[ ! -f "$staging/pg_hba.conf" ] || put "$staging/pg_hba.conf" "$hba" 0640 "root:$service_user"
put "$staging/pgbouncer.ini" "$ini" 0640 "root:$service_user"
put "$staging/poolward.conf" "$drop_in" 0644 root:root
systemctl unmask --quiet pgbouncer.service pgbouncer.socket
systemctl daemon-reload
systemctl enable --quiet pgbouncer.service
if [ "$action" = reload ]; then
    # The limit of a running process can be raised without a restart, so no client is cut for it.
    runuser -u "$service_user" -- prlimit --pid "$(main_pid)" --nofile="$open_files:" || :
fi
take "$action" || { trap - EXIT; restore "$(journalctl -u pgbouncer --since "$since" -o cat -n 5 | tail -n 5)"; }
wait_for_console || { trap - EXIT; restore "PgBouncer did not answer on its console: $(journalctl -u pgbouncer --since "$since" -o cat -n 3)"; }

# Connections opened with the old secret would go on, and hide from the proof that the new one does not serve. Each is
# replaced when its client lets go of it; no client is cut.
[ -n "$same_secret" ] || console ${where% *} ${where##* } -c RECONNECT >/dev/null

deadline=$(($(date +%s) + 5))
while wrong=$(differing) && [ -n "$wrong" ]; do
    [ "$(date +%s)" -lt "$deadline" ] || { trap - EXIT; restore "PgBouncer did not take these values: $(printf '%s' "$wrong" | tr '\n' ' ')"; }
    sleep 0.1
done
trap - EXIT
rm -f "$staging/userlist.txt" "$staging/pgbouncer.ini" "$staging/pg_hba.conf" "$staging/poolward.conf"
