# Put a service's settings back as they were before the move. A link needs no room: a full disk is a reason to come here.
# variables: path, event
before=$path.before-poolward
[ -f "$before" ] || fail "$before is not there"
rm -f "$path.poolward-new" "$before.part" "$path.unproved-poolward.part"
ln "$before" "$path.poolward-new"
mv -f "$path.poolward-new" "$path"
sync "${path%/*}" || :
journal "$event" || :
