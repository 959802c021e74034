# Run the SQL that comes by standard input, as the operating system's postgres, in one transaction.
# variables: port, database (in PGDATABASE, because -d takes a name with = in it for a connection string)
as_postgres env "PGDATABASE=$database" PGCONNECT_TIMEOUT=5 PGAPPNAME=poolward \
    PGOPTIONS='-c statement_timeout=15000 -c lock_timeout=5000 -c client_min_messages=warning' \
    psql -X -qAt -w -v ON_ERROR_STOP=1 --single-transaction -p "$port" -f - >/dev/null
