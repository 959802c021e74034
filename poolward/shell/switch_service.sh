# Rewrite a service's settings. By standard input two lines of base64: what they are now, as they were read (- where a
# write broke off, and what is there is nobody's), and what they shall be.
# variables: the service's, mark (one line, what the move says of itself), keep (what is there now is the way back),
#   event
read -r expected
read -r wanted
alone 15
"$settings_by"
kept=
clean() {
    # Without the mark nothing was begun, and there is nothing to go back from.
    if [ -n "$kept" ] && [ ! -f "$unproved" ]; then rm -f "$before"; fi
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
    mv -fT before.part "$before"
    kept=yes
fi
line "$mark" >unproved.part
sync unproved.part
mv -fT unproved.part "$unproved"
journal "$event"
put_settings "$wanted"
