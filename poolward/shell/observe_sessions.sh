# variables: port, sql
printf '%s\n' "$sql" | as_postgres env PGCONNECT_TIMEOUT=5 PGAPPNAME=poolward \
    PGOPTIONS='-c default_transaction_read_only=on -c statement_timeout=5000 -c lock_timeout=1000' \
    psql -X -qAt -w -v ON_ERROR_STOP=1 -p "$port" -d postgres -f -
