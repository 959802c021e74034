# What sessions of a server hold beyond their transactions, over a window; read-only by the server's word.
# variables: port, samples, interval (seconds, fractions allowed), sample_sql, temporary_sql, login_settings_sql,
#   statements_sql
databases_in_use() {
    ask postgres -f - <<'SQL'
SELECT 'postgres' UNION
SELECT a.datname FROM pg_stat_activity AS a JOIN pg_database AS d ON d.oid = a.datid
WHERE backend_type = 'client backend' AND datallowconn AND NOT datistemplate
SQL
}

statements_schema() { # statements_schema DATABASE: where pg_stat_statements is installed there, if it can be read at all
    ask "$1" -f - <<'SQL'
SELECT quote_ident(nspname) FROM pg_extension JOIN pg_namespace ON pg_namespace.oid = extnamespace
WHERE extname = 'pg_stat_statements' AND current_setting('shared_preload_libraries') ~ '\mpg_stat_statements\M'
SQL
}

temporary_tables() {
    section temporary
    in_use=$(databases_in_use)
    printf '%s\n' "$in_use" | while IFS= read -r name; do
        printf '%s\n' "$temporary_sql" | ask "$name" -f -
    done
}

temporary_tables
section samples
{
    sample=0
    while [ "$sample" -lt "$samples" ]; do
        printf '%s\n' "$sample_sql"
        sleep "$interval"
        sample=$((sample + 1))
    done
} | ask postgres -f -
temporary_tables
section login_settings
printf '%s\n' "$login_settings_sql" | ask postgres -f -
# Wherever it is installed, it counts for the whole server.
section statements
printf '%s\n' "$in_use" | while IFS= read -r name; do
    schema=$(statements_schema "$name")
    [ -n "$schema" ] || continue
    printf '%s\n' "$statements_sql" | ask "$name" -v schema="$schema" -f -
    break
done
section end
