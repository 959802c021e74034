# Take Poolward off a pooler host: the service first, then what a deploy installed and wrote. What was here before stays,
# or comes back. Cut off anywhere, it is run again to its end: the list of what was installed and the kept files go last.
retire

section stays
uninstall

section restored
traces | while read -r file; do
    case $file in "$installed" | "$kept") ;; *) rm -rf "$file" ;; esac
done
for file in "$ini" "$userlist" "$hba"; do
    copy=$kept/${file##*/}
    if [ -f "$copy" ]; then
        cp -p "$copy" "$file.part"
        mv -f "$file.part" "$file"
        printf '%s\n' "$file"
    fi
done
files_are_gone
rm -f "$installed"
rm -rf "$kept"
rmdir "$state_dir" "$config_dir" 2>/dev/null || :

section left
[ ! -d "$config_dir" ] || find "$config_dir" -mindepth 1
section end
