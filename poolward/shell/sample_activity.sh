# Many samples in one remote command and one session, read-only by the server's word.
# variables: port, sql, samples, interval (seconds, fractions allowed)
{
    sample=0
    while [ "$sample" -lt "$samples" ]; do
        printf '%s\n' "$sql"
        sleep "$interval"
        sample=$((sample + 1))
    done
} | streaming=yes ask postgres -f -
