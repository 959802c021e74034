# What names mean on this host. variables: names (one per line)
printf '%s\n' "$names" | while read -r name; do
    [ -z "$name" ] || printf '%s %s\n' "$name" "$(getent ahosts "$name" | awk '{ print $1 }' | sort -u | tr '\n' ' ')"
done
