# Lay one file down beside the live ones, complete or not at all.
# variables: file (its name)
prepare_directory
mkdir -p "$staging"
chown "$owner" "$staging"
chmod 0750 "$staging"
trap 'rm -f "$staging/$file.part"' EXIT
cat >"$staging/$file.part"
chown "$owner" "$staging/$file.part"
chmod "$mode" "$staging/$file.part"
sync "$staging/$file.part"
mv -f "$staging/$file.part" "$staging/$file"
