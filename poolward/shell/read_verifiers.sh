# Verifiers of roles as the server has them, byte for byte.
# variables: port, roles (JSON array), sql
section verifiers
printf '%s\n' "$sql" | ask postgres -v roles="$roles" -f -
section end
