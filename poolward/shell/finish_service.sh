# A move, or its way back, is proved.
# variables: path, forget (the settings before the move are not needed any more), event
rm -f "$path.unproved-poolward"
[ -z "$forget" ] || rm -f "$path.before-poolward"
journal "$event" || :
