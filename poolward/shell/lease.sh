# The fleet's one lock, as a lease: it expires by this host's clock unless it is renewed.
# variables: action (look, take, renew or release), token, holder (one line of JSON), seconds,
#   instead_of (a token to replace)
file=$state_dir/lease
read_lease() {
    now=$(date +%s)
    expires=0 owner='' says=''
    if [ -f "$file" ]; then { read -r expires owner && IFS= read -r says; } <"$file" || expires=0; fi
}
say_whether_held() { # instead_of: whoever holds it with that token is no obstacle
    [ -n "$owner" ] && [ "$owner" != "$token" ] && [ "$owner" != "$instead_of" ] && [ "$expires" -gt "$now" ] || return 1
    printf 'held %s %s\n%s\n' "$((expires - now))" "$owner" "$says"
}

if [ "$action" = look ]; then # a deploy that is refused leaves nothing behind, not even a folder
    read_lease
    say_whether_held || printf 'free 0 -\n\n'
    exit 0
fi
mkdir -p "$state_dir"
# The folder itself is locked, so that nothing has to stay for the lock's sake.
exec 9<"$state_dir"
flock -w 5 9 || fail "the lease is being changed by somebody else"
read_lease

write() {
    line "$((now + seconds)) $token
$holder" >"$file.part"
    mv -f "$file.part" "$file"
}

case $action in
take)
    if say_whether_held; then exit 0; fi
    write
    if [ -n "$owner" ] && [ "$owner" != "$token" ]; then printf 'after %s %s\n%s\n' "$((now - expires))" "$owner" "$says"; else printf 'free 0 -\n\n'; fi
    ;;
renew)
    if [ -n "$owner" ] && [ "$owner" != "$token" ]; then printf 'lost\n%s\n' "$says"; else write; fi
    ;;
release)
    [ "$owner" != "$token" ] || rm -f "$file"
    rmdir --ignore-fail-on-non-empty "$state_dir"
    ;;
esac
