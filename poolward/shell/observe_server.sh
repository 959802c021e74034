# variables: port, databases (one per line), auth_role, own_roles, server_sql, database_sql
query() { # query DATABASE SQL: read-only by the server's word, not by ours
    # PGDATABASE and not -d, which takes a name with = in it for a connection string
    printf '%s\n' "$2" | PGDATABASE=$1 PGOPTIONS='-c default_transaction_read_only=on -c statement_timeout=15000 -c lock_timeout=3000' \
        PGCONNECT_TIMEOUT=5 PGAPPNAME=poolward runuser -u postgres -- psql -X -qAt -v ON_ERROR_STOP=1 -p "$port" \
        -v auth_role="$auth_role" -v own_roles="$own_roles" -f -
}
section server
query postgres "$server_sql"
existing=$(query postgres 'SELECT datname FROM pg_database WHERE datallowconn')
printf '%s\n' "$databases" | while read -r database; do
    printf '%s\n' "$existing" | grep -qFx -e "$database" || continue
    section "database $database"
    query "$database" "$database_sql"
done
section hba_block
hba_file=$(query postgres 'SHOW hba_file')
awk '$0 == "# BEGIN poolward" { on = 1; block = ""; next } $0 == "# END poolward" && on { printf "%s", block; exit }
    on { block = block $0 "\n" }' "$hba_file" | indented
section end
