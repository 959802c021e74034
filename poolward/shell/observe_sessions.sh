# variables: port, sql
printf '%s\n' "$sql" | PGOPTIONS='-c default_transaction_read_only=on -c statement_timeout=5000 -c lock_timeout=1000' \
    PGCONNECT_TIMEOUT=5 PGAPPNAME=poolward runuser -u postgres -- psql -X -qAt -v ON_ERROR_STOP=1 -p "$port" -d postgres -f -
