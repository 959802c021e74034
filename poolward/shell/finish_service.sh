# A move, or its way back, is proved.
# variables: path, forget (the settings before the move are not needed any more), event
alone 5
rm -f "$path.poolward-new" "$path.before-poolward.part" "$path.unproved-poolward.part" "$path.unproved-poolward"
[ -z "$forget" ] || rm -f "$path.before-poolward"
journal "$event" || :
