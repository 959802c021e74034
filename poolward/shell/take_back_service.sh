# Put a service's settings back as they were before the move, in one rename: it needs no room, and a full disk is a
# reason to come here.
# variables: path, event
alone 15
before=$path.before-poolward
[ -f "$before" ] || fail "$before is not there"
rm -f "$path.poolward-new" "$before.part" "$path.unproved-poolward.part"
journal "$event" || :
# The time of its last change is what tells a process that was started with it from one that was not.
touch -a "$before" || :
mv -f "$before" "$path"
sync "${path%/*}" || :
