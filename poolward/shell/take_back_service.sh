# Put a service's settings back as they were before the move.
# variables: the service's, event
alone 15
"$settings_by"
tidy_settings
rm -f "$before.part" "$unproved.part"
journal "$event" || :
return_settings
