# variables: server_addresses (one per line), with_candidate
section os
. /etc/os-release
printf '%s %s\n' "${ID:-unknown}" "${VERSION_ID:-testing}"
command -v dpkg-query >/dev/null || fail "this host has no dpkg: Poolward installs Debian packages"

section packages
for package in pgbouncer postgresql-client iproute2; do
    known=$(dpkg-query -W -f='${db:Status-Want} ${db:Status-Status} ${Version}' "$package" 2>/dev/null) ||
        known='unknown not-installed -'
    case $known in *' ') known="$known-" ;; esac # a purged package has no version
    printf '%s %s\n' "$package" "$known"
done

if [ -n "$with_candidate" ]; then
    section candidate
    apt-cache policy pgbouncer | awk '$1 == "Candidate:" { print $2 }'
fi

section unit
systemctl show pgbouncer.service -p LoadState -p ActiveState -p SubState -p UnitFileState -p MainPID \
    -p NeedDaemonReload -p Result -p FragmentPath -p DropInPaths -p ExecStart -p LimitNOFILESoft
pid=$(main_pid)

section open_files
if [ "$pid" != 0 ]; then awk '/^Max open files/ { print $4, $5 }' "/proc/$pid/limits"; fi

section files
for file in "$config_dir" "$ini" "$userlist" "$hba" "$drop_in" "$staging"; do
    if [ -e "$file" ]; then stat -c '%n %U %G %a' "$file"; else printf '%s - - -\n' "$file"; fi
done

section unproved
[ ! -f "$unproved" ] || cat "$unproved"

# A file somebody wrote by hand may hold a password; ours never does.
for part in ini hba drop_in; do
    section "$part"
    eval "file=\$$part"
    [ ! -f "$file" ] || sed -E "s/(password *= *)('([^']|'')*'|[^' ]*)/\1***/g" "$file" | indented
done

section userlist
[ ! -f "$userlist" ] || sed -nE 's/^[[:space:]]*"(([^"]|"")*)"[^"]*".*/\1/p' "$userlist" | sed 's/""/"/g' | indented

section addresses
printf '%s\n' "$server_addresses" | while read -r address; do
    [ -n "$address" ] || continue
    resolved=$(getent ahosts "$address" | awk 'NR == 1 { print $1 }')
    source=$(ip -o route get "${resolved:-$address}" 2>/dev/null | sed -n 's/.* src \([^ ]*\).*/\1/p')
    printf '%s %s %s\n' "$address" "${resolved:--}" "${source:--}"
done

if [ "$pid" != 0 ] && command -v ss >/dev/null; then
    section listeners
    ss -Hltnp | awk -v needle="pid=$pid," 'index($0, needle) { print $4 }'
    ss -Hlxp | awk -v needle="pid=$pid," 'index($0, needle) && $5 ~ /^[\/@]/ { print $5 }'
    where=$(console_of "$pid")
    if [ -n "$where" ] && command -v psql >/dev/null; then
        section console
        printf '%s\n' "$where"
        show_all ${where% *} ${where##* } || section console_failed
    fi
fi
section end
