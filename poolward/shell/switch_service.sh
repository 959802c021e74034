# Rewrite a service's settings. By standard input two lines of base64: what they are now, as they were read (- where a
# write broke off, and what is there is nobody's), and what they shall be.
# variables: the service's, mark (one line, what the move says of itself), keep (what is there now is the way back),
#   again (what is there now is another pooler's, and there is a way back from that already), event
read -r expected
read -r wanted
alone 15
first=
"$settings_by"
kept=
# On its way from one pooler to another a service has two ways back: to that one, and to the server as it was.
set_first_aside() {
    [ -n "$first" ] || return 0
    [ -n "$again" ] || rm -f "$first"
    if [ -n "$again" ] && [ -f "$before" ] && [ ! -f "$first" ]; then ln -T "$before" "$first"; fi
}
clean() {
    # Without the mark nothing was begun, and there is nothing to go back from.
    if [ -n "$kept" ] && [ ! -f "$unproved" ]; then
        rm -f "$before"
        first_again
    fi
    tidy_settings
}
trap clean EXIT
[ "$expected" = - ] || settings_are "$expected" || fail "its settings were changed by somebody else meanwhile"

# The way back first: the bytes with owner, mode and attributes, then the mark that says there is one to be taken. Each
# is made in a folder of root's own.
make_room
if [ -n "$keep" ]; then
    keep_settings
    sync before.part
    set_first_aside
    mv -fT before.part "$before"
    kept=yes
fi
line "$mark" >unproved.part
sync unproved.part
mv -fT unproved.part "$unproved"
journal "$event"
put_settings "$wanted"
