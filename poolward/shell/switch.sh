# Put the staged files in place, make the process take them, and see that it did; if not, put everything back.
# It all happens on the host, so that a lost connection cannot leave it half done.
# variables: action (start, reload, restart or recreate), expected (KEY<tab>VALUE lines SHOW CONFIG must print), open_files
tab=$(printf '\t')
put() { # put FROM TO MODE OWNER: atomic, in the target's own directory; what is right already stays untouched
    if cmp -s "$1" "$2" && [ "0$(stat -c %a "$2") $(ownership "$2")" = "$3 $4" ]; then return; fi
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
    # What ran when the change was decided runs again, even if it died meanwhile.
    if [ "$action" != start ] && [ "$(cat "$unproved")" != start ]; then
        { take "$action" && wait_for_console || { take restart; wait_for_console; }; } >/dev/null 2>&1 ||
            reason="$reason; and the previous configuration did not come back either: $show_log"
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
    for name in $(staged_names); do
        file=$(live "$name")
        rm -f "$file.previous"
        [ ! -f "$file" ] || cp -p "$file" "$file.previous"
    done
    printf '%s\n' "$action" | tee "$unproved" >/dev/null || { rm -rf "$staging"; exit 1; }
else
    case $(cat "$unproved") in
    reload) graver='restart recreate' ;;
    restart) graver=recreate ;;
    *) graver= ;;
    esac
    case " $graver " in *" $action "*) printf '%s\n' "$action" | tee "$unproved" >/dev/null ;; esac
fi
mkdir -p "${service_file%/*}"
chmod 0755 "${service_file%/*}"

trap 'restore "interrupted"' INT TERM HUP
trap '[ $? = 0 ] || restore "a step of the switch failed"' EXIT
since=$(date +%s)
last_words() { log_since "$since" | tail -n 5; }
same_secret=
if cmp -s "$staging/userlist.txt" "$userlist"; then same_secret=yes; fi
for name in $(staged_names); do
    if [ "$name" = "$service_file_name" ]; then
        put "$staging/$name" "$service_file" 0644 "$root"
    elif [ -f "$staging/$name" ]; then
        put "$staging/$name" "$(live "$name")" "$mode" "$owner"
    fi
done
enable
# The limit of a running process can be raised without a restart, so no client is cut for it.
[ "$action" != reload ] || raise_limit "$open_files" || :
said=$(take "$action" 2>&1) || { trap - EXIT; restore "$(printf '%s\n' "$said" | tail -n 5; last_words)"; }
wait_for_console || { trap - EXIT; restore "PgBouncer did not answer on its console: $(last_words)"; }

# Connections opened with the old secret would go on, and hide from the proof that the new one does not serve. Each is
# replaced when its client lets go of it; no client is cut.
[ -n "$same_secret" ] || console ${where% *} ${where##* } -c RECONNECT >/dev/null

deadline=$(($(date +%s) + 5))
while wrong=$(differing) && [ -n "$wrong" ]; do
    [ "$(date +%s)" -lt "$deadline" ] || { trap - EXIT; restore "PgBouncer did not take these values: $(printf '%s' "$wrong" | tr '\n' ' ')"; }
    sleep 0.1
done
trap - EXIT
unstage
