# What of Poolward's is on a pooler host, and whether PgBouncer runs there.
section process
main_pid
section packages
# what a deploy installed and is not gone yet
for package in $(cat "$installed" 2>/dev/null || :); do
    status=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null) || status=not-installed
    [ "$status" = not-installed ] || printf '%s\n' "$package"
done
section files
traces
section end
