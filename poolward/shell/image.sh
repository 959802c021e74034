# The image is on the host, and has what it takes; which version of PgBouncer is in it is noted down.
# Standard input: the Dockerfile; empty for an image of the operator's own.
dockerfile=$(cat)
if [ -n "$(has_image)" ]; then
    :
elif [ -n "$dockerfile" ]; then
    note "$image"
    said=$(printf '%s\n' "$dockerfile" | docker build --quiet --tag "$image" - 2>&1) ||
        fail "the image cannot be built: $(printf '%s' "$said" | grep -v '^DEPRECATED\|buildx\|^ *$' | tail -n 6)"
else
    said=$(docker pull --quiet "$image" 2>&1) ||
        fail "the image $image is not on this host and cannot be pulled: $(printf '%s' "$said" | tail -n 1)"
fi
id=$(has_image)
asked='for tool in pgbouncer psql timeout; do
        command -v "$tool" >/dev/null || { echo "$tool is missing in it" >&2; exit 1; }
    done
    dpkg-query -W -f "\${Version}" pgbouncer 2>/dev/null || pgbouncer --version | sed -n "1s/^PgBouncer //p"'
version=$(docker run --rm --network none --read-only --cap-drop ALL --user "$run_as" --entrypoint sh "$image" -c "$asked" 2>&1) ||
    fail "the image $image does not serve: $(printf '%s' "$version" | tail -n 1)"
mkdir -p "$state_dir"
printf '%s %s\n' "$id" "$version" >>"$image_versions"
section image
printf '%s %s\n' "$id" "$version"
section end
