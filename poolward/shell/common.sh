section() { printf '@%s\n' "$1"; }
indented() { sed 's/^/|/'; }
state_dir=/var/lib/poolward

# line TEXT: by cat, which says why it could not be written; of a full disk the shell's own printf says "I/O error".
line() { printf '%s\n' "$1" | cat; }

# One line of JSON to the host's own journal, which outlives the machine of whoever runs this.
journal() {
    mkdir -p "$state_dir"
    # A full disk may have left half a line there, which would hide this one.
    [ -z "$(tail -c 1 "$state_dir/journal.jsonl" 2>/dev/null)" ] || set -- "
$1"
    line "$1" >>"$state_dir/journal.jsonl"
    sync "$state_dir/journal.jsonl"
}

# hba_block [NAME]: the lines between Poolward's marks in the pg_hba.conf on standard input, or between those of a block
# with a name.
hba_block() {
    awk -v name="${1:+: $1}" '$0 == "# BEGIN poolward" name { on = 1; block = ""; next }
        $0 == "# END poolward" name && on { printf "%s", block; exit }
        on { block = block $0 "\n" }' | indented
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

# as_given COMMAND...: a command of the operator's, with the umask and the language that root has here: what it writes or
# starts is not Poolward's.
as_given() {
    (
        cd /
        umask "$given_umask"
        unset LC_ALL
        exec "$@"
    )
}

fail() { printf '%s\n' "$*" >&2; exit 1; }

# The way back of a service's first move takes its place again, where it was set aside for another move.
first_again() {
    if [ -n "$first" ] && [ -f "$first" ]; then mv -fT "$first" "$before"; fi
}

# alone SECONDS: of all that changes services on this host, only this from here on. A command whose connection broke
# may still be at work when the way back comes by another one.
alone() {
    mkdir -p "$state_dir"
    exec 8>>"$state_dir/services.lock"
    flock -w "$1" 8 || fail "an earlier command is still changing a service here"
}

# ask DATABASE PSQL-ARGUMENT...: PostgreSQL, as the operating system's postgres, in a session that cannot write. It
# never asks for a password, which without a terminal it would take from standard input. That is psql's only with -f -:
# whoever reads it beside a query of one line would find it empty in a container.
ask() {
    # PGDATABASE and not -d, which takes a name with = in it for a connection string
    asked_database=$1
    shift
    set -- env "PGDATABASE=$asked_database" "PGOPTIONS=$read_only" PGCONNECT_TIMEOUT=5 PGAPPNAME=poolward \
        psql -X -qAt -w -v ON_ERROR_STOP=1 -p "$port" "$@"
    case " $* " in *' -f - ') as_postgres "$@" ;; *) as_postgres "$@" </dev/null ;; esac
}

# The text of the server's pg_hba.conf, and where it is.
hba_file() { at_server readlink -f "$(ask postgres -c 'SHOW hba_file')" </dev/null; }
hba_text() { at_server cat "$(hba_file)" </dev/null; }
