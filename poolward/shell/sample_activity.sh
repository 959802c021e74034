# Many samples in one remote command and one session, read-only by the server's word.
# variables: port, sql, samples, interval (seconds, fractions allowed)
{
    sample=0
    while [ "$sample" -lt "$samples" ]; do
        printf '%s\n' "$sql"
        sleep "$interval"
        sample=$((sample + 1))
    done
} | PGOPTIONS='-c default_transaction_read_only=on -c statement_timeout=5000 -c lock_timeout=1000' PGCONNECT_TIMEOUT=5 \
    PGAPPNAME=poolward runuser -u postgres -- psql -X -qAt -v ON_ERROR_STOP=1 -p "$port" -d postgres -f -
