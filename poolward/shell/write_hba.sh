# Replace pg_hba.conf by what comes on standard input, keep the previous file, and take it back when PostgreSQL finds an
# error in the new one: an unreadable pg_hba.conf would lock everybody out at the next restart.
# variables: port
sql() { PGCONNECT_TIMEOUT=5 runuser -u postgres -- psql -X -qAt -v ON_ERROR_STOP=1 -p "$port" -d postgres -c "$1"; }
file=$(readlink -f "$(sql 'SHOW hba_file')")
trap 'rm -f "$file.part"' EXIT
cat >"$file.part"
[ -s "$file.part" ] || fail "the new pg_hba.conf would be empty"
chown --reference="$file" "$file.part"
chmod --reference="$file" "$file.part"
sync "$file.part"
cp -p "$file" "$file.before-poolward"
mv -f "$file.part" "$file"
errors=$(sql "SELECT line_number || ': ' || error FROM pg_hba_file_rules WHERE error IS NOT NULL") || errors="it could not be checked"
if [ -n "$errors" ]; then
    cp -p "$file.before-poolward" "$file.part"
    mv -f "$file.part" "$file"
    fail "PostgreSQL finds an error in the new pg_hba.conf, the previous one is back: $errors"
fi
sql 'SELECT pg_reload_conf()' >/dev/null
