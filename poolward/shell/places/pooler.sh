# What a pooler host has, whichever way PgBouncer runs there. How it does is in pooler_package.sh or pooler_docker.sh:
#   owner user_word group_word mode service_file service_file_name more_files   (settings)
#   main_pid runs            the process, as the host sees it; 0 where none is
#   in_its_network PID …     a command that sees the sockets of that process
#   as_pooler …              a command as the user PgBouncer runs as, where its Unix socket is
#   as_client …              a command where a client on the pooler's own host is
#   enable, take ACTION      make it start by itself; start, reload, restart or recreate it
#   put_to_rest              nothing runs, and nothing starts by itself
#   files_are_back           after the files were put back
#   raise_limit N            let the running process open N files, where that goes without a restart
#   log_since SECONDS        what it logged since then (seconds of the epoch)
#   fits                     whether what is staged can run here; says why not
#   begin_trial, trial_runs, trial_log, end_trial   PgBouncer beside the live one, on $trial/trial.ini
#   show_packages, show_candidate, show_service, show_address ADDRESS, left_installed   for observing
#   drop_superseded          of what a deploy brought, what nothing here names any more; prints it
#   retire, uninstall        for the removal
config_dir=/etc/pgbouncer
ini=$config_dir/pgbouncer.ini
userlist=$config_dir/userlist.txt
hba=$config_dir/pg_hba.conf
staging=$config_dir/.poolward
# While it is there, the live files have not been proved; it says what was done to make the process take them.
unproved=$staging/unproved
# For the removal: what a deploy installed, and the configuration that was here before the first one.
installed=$state_dir/packages
kept=$config_dir/before-poolward
is_installed_by_us() { grep -qxs -e "$1" "$installed"; }
is_ours() { [ -f "$1" ] && head -n 1 "$1" | grep -q '^[;#] \(Managed\|Written\) by Poolward'; }
note() { # for the removal, which leaves alone what was here before
    mkdir -p "$state_dir"
    is_installed_by_us "$1" || printf '%s\n' "$1" >>"$installed"
}

# The files a deploy lays down, by the name each is staged under, in the order in which they go live.
staged_names() { printf '%s\n' userlist.txt $more_files pg_hba.conf pgbouncer.ini "$service_file_name"; }
live() { # live NAME: where it goes
    if [ "$1" = "$service_file_name" ]; then printf '%s' "$service_file"; else printf '%s' "$config_dir/$1"; fi
}
unstage() { for name in $(staged_names); do rm -f "$staging/$name"; done; }
ownership() { stat -c "$user_word:$group_word" "$1"; }

# Everything of Poolward's that is on a pooler host.
traces() {
    for file in "$ini" "$userlist" "$hba"; do
        if is_ours "$file"; then printf '%s\n' "$file"; fi
    done
    for name in $(staged_names); do
        file=$(live "$name")
        case $file in
        "$ini" | "$userlist" | "$hba") set -- "$file.previous" "$file.part" ;;
        *) set -- "$file" "$file.previous" "$file.part" ;;
        esac
        for file in "$@"; do [ ! -e "$file" ] || printf '%s\n' "$file"; done
    done
    for file in "$staging" "$kept.part" "$installed" "$kept"; do [ ! -e "$file" ] || printf '%s\n' "$file"; done
}

# console SOCKET_DIR PORT ARGUMENT...: PgBouncer's admin console over its Unix socket.
console() {
    console_dir=$1 console_port=$2
    shift 2
    as_pooler env PGCONNECT_TIMEOUT=3 PGAPPNAME=poolward timeout 8 \
        psql -X -q --csv -v ON_ERROR_STOP=1 -h "$console_dir" -p "$console_port" -U pgbouncer -d pgbouncer "$@" </dev/null
}

show_all() {
    set -- "$1" "$2" -c '\echo @version' -c 'SHOW VERSION' -c '\echo @config' -c 'SHOW CONFIG' \
        -c '\echo @databases' -c 'SHOW DATABASES' -c '\echo @pools' -c 'SHOW POOLS' \
        -c '\echo @users' -c 'SHOW USERS'
    # Peers came with 1.19; before, the question is an error.
    case $(as_pooler pgbouncer --version </dev/null) in
    'PgBouncer 1.18.'*) ;;
    *) set -- "$@" -c '\echo @peers' -c 'SHOW PEERS' ;;
    esac
    console "$@"
}

# The last proved files, each in one step. What was laid down beside them goes first, and a link needs no room: a disk
# that is full is a reason to come here.
put_files_back() {
    unstage
    for name in $(staged_names); do
        file=$(live "$name")
        rm -f "$file.part"
        if [ -f "$file.previous" ]; then
            ln "$file.previous" "$file.part" && mv -f "$file.part" "$file"
        else
            rm -f "$file"
        fi
    done
    files_are_back
}

# The directory and port of the Unix socket the running process really listens on, whatever its file says by now.
console_of() {
    in_its_network "$1" ss -Hlxp |
        awk -v needle="pid=$1," 'index($0, needle) && $5 ~ /\/\.s\.PGSQL\.[0-9]+$/ { print $5; exit }' |
        sed -n 's#^\(.*\)/\.s\.PGSQL\.\([0-9]*\)$#\1 \2#p'
}
