# Put a service's settings back. By standard input two lines of base64: what they are now, as they were read (- where
# that is nobody's), and what they shall be (- for what was kept before the move, as it was).
# variables: the service's, event
read -r expected
read -r wanted
alone 15
first=
"$settings_by"
tidy_settings
trap tidy_settings EXIT
journal "$event" || :
[ "$expected" = - ] || settings_are "$expected" || fail "its settings were changed by somebody else meanwhile"
return_settings "$wanted"
first_again
