# What names mean on this host, or in a container of it.
# variables: names (one per line), container (an id; empty for the host itself)
look_up() { if [ -n "$container" ]; then look_up_in "$container" "$1"; else getent ahosts "$1"; fi; }
printf '%s\n' "$names" | while read -r name; do
    [ -z "$name" ] || printf '%s %s\n' "$name" "$(look_up "$name" | awk '{ print $1 }' | sort -u | tr '\n' ' ')"
done
