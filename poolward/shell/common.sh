section() { printf '@%s\n' "$1"; }
indented() { sed 's/^/|/'; }
state_dir=/var/lib/poolward

# line TEXT: by cat, which says why it could not be written; of a full disk the shell's own printf says "I/O error".
line() { printf '%s\n' "$1" | cat; }

# One line of JSON to the host's own journal, which outlives the machine of whoever runs this.
journal() {
    mkdir -p "$state_dir"
    line "$1" >>"$state_dir/journal.jsonl"
    sync "$state_dir/journal.jsonl"
}

# hba_block FILE [NAME]: the lines between Poolward's marks in a pg_hba.conf, or between those of a block with a name.
hba_block() {
    [ -r "$1" ] || fail "$1 cannot be read"
    awk -v name="${2:+: $2}" '$0 == "# BEGIN poolward" name { on = 1; block = ""; next }
        $0 == "# END poolward" name && on { printf "%s", block; exit }
        on { block = block $0 "\n" }' "$1" | indented
}

# What a process is, as far as it is still there: its systemd unit, its command line, and itself with its ancestors.
unit_of() { sed -n 's#^0::.*/\([^/]*\.\(service\|scope\)\).*#\1#p' "/proc/$1/cgroup" 2>/dev/null; }
program_of() { { tr '\0\n' '  ' <"/proc/$1/cmdline"; } 2>/dev/null | cut -c 1-300; }
parent_of() { sed 's/.*) . \([0-9]*\) .*/\1/' "/proc/$1/stat" 2>/dev/null || :; }
ancestors_of() {
    ancestor=$1 line=
    while [ "${ancestor:-0}" -gt 1 ]; do
        line="$line$ancestor "
        ancestor=$(parent_of "$ancestor")
    done
    printf '%s\n' "${line% }"
}

fail() { printf '%s\n' "$*" >&2; exit 1; }

# alone SECONDS: of all that changes services on this host, only this from here on. A command whose connection broke
# may still be at work when the way back comes by another one.
alone() {
    mkdir -p "$state_dir"
    exec 8>>"$state_dir/services.lock"
    flock -w "$1" 8 || fail "an earlier command is still changing a service here"
}

# ask DATABASE PSQL-ARGUMENT...: PostgreSQL, as the operating system's postgres, in a session that cannot write.
ask() {
    # PGDATABASE and not -d, which takes a name with = in it for a connection string
    asked_database=$1
    shift
    PGDATABASE=$asked_database PGOPTIONS=$read_only PGCONNECT_TIMEOUT=5 PGAPPNAME=poolward \
        runuser -u postgres -- psql -X -qAt -v ON_ERROR_STOP=1 -p "$port" "$@"
}

# Everything PgBouncer does, it does as this user; only this user is let into the console without a password.
service_user=postgres
config_dir=/etc/pgbouncer
ini=$config_dir/pgbouncer.ini
userlist=$config_dir/userlist.txt
hba=$config_dir/pg_hba.conf
staging=$config_dir/.poolward
# While it is there, the live files have not been proved; it says what was done to make the process take them.
unproved=$staging/unproved
drop_in=/etc/systemd/system/pgbouncer.service.d/poolward.conf
# For the removal: the packages a deploy installed, and the configuration that was here before the first one.
installed=$state_dir/packages
kept=$config_dir/before-poolward
is_installed_by_us() { grep -qxs -e "$1" "$installed"; }
is_ours() { [ -f "$1" ] && head -n 1 "$1" | grep -q '^[;#] \(Managed\|Written\) by Poolward'; }

# Everything of Poolward's that is on a pooler host.
traces() {
    for file in "$ini" "$userlist" "$hba"; do
        if is_ours "$file"; then printf '%s\n' "$file"; fi
    done
    for file in "$ini.previous" "$userlist.previous" "$hba.previous" "$drop_in" "$drop_in.previous" "$ini.part" \
        "$userlist.part" "$hba.part" "$drop_in.part" "$staging" "$kept.part" "$installed" "$kept"; do
        if [ -e "$file" ]; then printf '%s\n' "$file"; fi
    done
}

# console SOCKET_DIR PORT ARGUMENT...: PgBouncer's admin console over its Unix socket.
console() {
    console_dir=$1 console_port=$2
    shift 2
    PGCONNECT_TIMEOUT=3 PGAPPNAME=poolward timeout 8 runuser -u "$service_user" -- \
        psql -X -q --csv -v ON_ERROR_STOP=1 -h "$console_dir" -p "$console_port" -U pgbouncer -d pgbouncer "$@"
}

show_all() {
    set -- "$1" "$2" -c '\echo @version' -c 'SHOW VERSION' -c '\echo @config' -c 'SHOW CONFIG' \
        -c '\echo @databases' -c 'SHOW DATABASES' -c '\echo @pools' -c 'SHOW POOLS' \
        -c '\echo @users' -c 'SHOW USERS'
    # Peers came with 1.19; before, the question is an error.
    case $(pgbouncer --version) in 'PgBouncer 1.18.'*) ;; *) set -- "$@" -c '\echo @peers' -c 'SHOW PEERS' ;; esac
    console "$@"
}

# The last proved files, each in one step. What was laid down beside them goes first, and a link needs no room: a disk
# that is full is a reason to come here.
put_files_back() {
    rm -f "$staging/userlist.txt" "$staging/pgbouncer.ini" "$staging/pg_hba.conf" "$staging/poolward.conf"
    for file in "$ini" "$userlist" "$hba" "$drop_in"; do
        rm -f "$file.part"
        if [ -f "$file.previous" ]; then
            ln "$file.previous" "$file.part" && mv -f "$file.part" "$file"
        else
            rm -f "$file"
        fi
    done
    systemctl daemon-reload
}

# As it was before the first deploy: nothing runs, and nothing starts by itself.
put_to_rest() {
    systemctl stop pgbouncer.service
    systemctl disable --quiet pgbouncer.service
    systemctl mask --quiet pgbouncer.service
}

main_pid() { systemctl show pgbouncer.service -p MainPID --value; }

# The directory and port of the Unix socket the running process really listens on, whatever its file says by now.
console_of() {
    ss -Hlxp | awk -v needle="pid=$1," 'index($0, needle) && $5 ~ /\/\.s\.PGSQL\.[0-9]+$/ { print $5; exit }' |
        sed -n 's#^\(.*\)/\.s\.PGSQL\.\([0-9]*\)$#\1 \2#p'
}
