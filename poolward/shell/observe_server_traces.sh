# What of Poolward's is on a PostgreSQL server and its host.
# variables: port, own_roles, server_sql, database_sql, secrets (names of files, one per line)
query() { ask "$1" -v own_roles="$own_roles" -f -; }

section server
printf '%s\n' "$server_sql" | query postgres
databases=$(ask postgres -c 'SELECT datname FROM pg_database WHERE datallowconn ORDER BY 1')
printf '%s\n' "$databases" | while read -r database; do
    section "database $database"
    printf '%s\n' "$database_sql" | query "$database"
done
section hba_block
text=$(hba_text)
printf '%s\n' "$text" | hba_block
section hba_closed
printf '%s\n' "$text" | hba_block "closed direct paths"
previous=$(hba_file).before-poolward
section files
! at_server test -f "$previous" </dev/null || printf '%s\n' "$previous"
printf '%s\n' "$secrets" | sed "s#^#$state_dir/secrets/#" | while IFS= read -r file; do
    if [ -f "$file" ] || [ -f "$file.part" ]; then printf '%s\n' "$file"; fi
done
section end
