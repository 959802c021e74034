# A move, or its way back, is at its end.
# variables: the service's, forget (the settings before the move are not needed any more), event
alone 5
first=
"$settings_by"
rm -f "$unproved"
if [ -n "$forget" ]; then forget_settings; else first_again; fi
tidy_settings
journal "$event" || :
