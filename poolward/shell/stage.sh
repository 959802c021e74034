# Lay one file down beside the live ones, complete or not at all.
# variables: file (its name), group_readable
mkdir -p "$staging"
chown "root:$service_user" "$staging"
chmod 0750 "$staging"
trap 'rm -f "$staging/$file.part"' EXIT
cat >"$staging/$file.part"
chown "root:$service_user" "$staging/$file.part"
chmod 0640 "$staging/$file.part"
sync "$staging/$file.part"
mv -f "$staging/$file.part" "$staging/$file"
