# Log in over a Unix socket as a service will: with its credentials, and as its own user, because the directory of the
# socket may let in nobody else. The service file with the password comes by standard input and is handed on the same way.
# variables: unit (whose user it is; empty for root), sql (asked three times, each in a transaction of its own)
file=$(cat)
user=root
if [ -n "$unit" ]; then
    pid=$(systemctl show "$unit" -p MainPID --value)
    [ "$pid" = 0 ] || user=$(stat -c %U "/proc/$pid")
fi
command -v psql >/dev/null || fail "there is no psql on this host, which a deploy of its pooler installs"
# The inner cat: libpq opens the pipe by name, and only whoever made it may.
login='cat | PGSERVICEFILE=/dev/stdin PGSERVICE=trial PGCONNECT_TIMEOUT=15 timeout 20 \
    psql -X -qAt -F "$(printf "\t")" -v ON_ERROR_STOP=1 -c "$1" -c "$1" -c "$1"'
began=$(date +%s%N)
if answer=$(printf '%s\n' "$file" | runuser -u "$user" -- sh -c "$login" sh "$sql" 2>&1); then
    section answer
    printf '%s\n' "$answer" | tail -n 1
else
    section failed
    printf '%s\n' "$answer"
fi
section milliseconds
printf '%s\n' "$((($(date +%s%N) - began) / 1000000))"
section end
