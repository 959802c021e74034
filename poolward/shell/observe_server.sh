# variables: port, databases (one per line), auth_role, own_roles, server_sql, passwords_sql, hba_sql, database_sql
query() { ask "$1" -v auth_role="$auth_role" -v own_roles="$own_roles" -f -; }

query postgres <<SQL
\echo @server
$server_sql
\echo @passwords
$passwords_sql
\echo @hba
$hba_sql
\echo @hba_loaded
SELECT to_json(pg_conf_load_time() >= modification) FROM pg_stat_file(current_setting('hba_file'));
SQL
existing=$(ask postgres -c 'SELECT datname FROM pg_database WHERE datallowconn')
printf '%s\n' "$databases" | while read -r database; do
    printf '%s\n' "$existing" | grep -qFx -e "$database" || continue
    section "database $database"
    printf '%s\n' "$database_sql" | query "$database"
done
section hba_block
text=$(hba_text)
printf '%s\n' "$text" | hba_block
section hba_closed
printf '%s\n' "$text" | hba_block "closed direct paths"
section end
