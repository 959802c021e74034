# A move, or its way back, is at its end.
# variables: the service's, forget (the settings before the move are not needed any more), event
alone 5
"$settings_by"
rm -f "$unproved"
[ -z "$forget" ] || forget_settings
tidy_settings
journal "$event" || :
