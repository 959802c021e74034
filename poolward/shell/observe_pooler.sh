# variables: server_addresses (one per line), with_candidate
section os
. /etc/os-release
printf '%s %s\n' "${ID:-unknown}" "${VERSION_ID:-testing}"

section packages
show_packages

if [ -n "$with_candidate" ]; then
    section candidate
    show_candidate
fi

section unit
show_service
pid=$(main_pid)

section open_files
if [ "$pid" != 0 ]; then awk '/^Max open files/ { print $4, $5 }' "/proc/$pid/limits"; fi

section files
set -- "$config_dir" "$ini" "$userlist" "$hba" "$service_file" "$staging"
for name in $more_files; do set -- "$@" "$(live "$name")"; done
for file in "$@"; do
    if [ -e "$file" ]; then stat -c "%n $user_word $group_word %a" "$file"; else printf '%s - - -\n' "$file"; fi
done

section unproved
[ ! -f "$unproved" ] || cat "$unproved"

# A file somebody wrote by hand may hold a password; ours never does.
for part in ini hba service_file; do
    section "$part"
    eval "file=\$$part"
    [ ! -f "$file" ] || sed -E "s/(^|[^[:alnum:]_.$-])(password *= *)('([^']|'')*'|[^' ]*)/\1\2***/g" "$file" | indented
done

section userlist
[ ! -f "$userlist" ] || sed -nE 's/^[[:space:]]*"(([^"]|"")*)"[^"]*".*/\1/p' "$userlist" | sed 's/""/"/g' | indented

section addresses
printf '%s\n' "$server_addresses" | while read -r address; do
    [ -n "$address" ] || continue
    show_address "$address"
done

if [ "$pid" != 0 ] && command -v ss >/dev/null; then
    section listeners
    in_its_network "$pid" ss -Hltnp | awk -v needle="pid=$pid," 'index($0, needle) { print $4 }'
    in_its_network "$pid" ss -Hlxp | awk -v needle="pid=$pid," 'index($0, needle) && $5 ~ /^[\/@]/ { print $5 }'
    where=$(console_of "$pid")
    if [ -n "$where" ] && as_pooler sh -c 'command -v psql' </dev/null >/dev/null; then
        section console
        printf '%s\n' "$where"
        show_all ${where% *} ${where##* } || section console_failed
    fi
fi
section end
