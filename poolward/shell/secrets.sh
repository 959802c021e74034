# The pooler's own secrets, one file each, made once on the database host and readable by root alone.
# variables: port, names (one per line), create
directory=/var/lib/poolward/secrets
if [ -n "$create" ]; then
    mkdir -p "$directory"
    chmod 0700 /var/lib/poolward "$directory"
fi
printf '%s\n' "$names" | while read -r name; do
    [ -n "$name" ] || continue
    file=$directory/$name
    if [ ! -s "$file" ] && [ -n "$create" ]; then
        # 32 random bytes; a link is atomic and never replaces a secret another run has made meanwhile.
        head -c 32 /dev/urandom | base64 -w0 | tr '+/' '-_' | tr -d '=' >"$file.part"
        printf '\n' >>"$file.part"
        sync "$file.part"
        ln "$file.part" "$file" || :
        rm -f "$file.part"
    fi
    section "secret $name"
    [ ! -s "$file" ] || indented <"$file"
    section "verifier $name"
    printf "SELECT rolpassword FROM pg_authid WHERE rolname = :'name'" |
        ask postgres -v name="$name" -f -
done
section end
