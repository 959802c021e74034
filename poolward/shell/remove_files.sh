# variables: files (one per line)
printf '%s\n' "$files" | while IFS= read -r file; do [ -z "$file" ] || rm -f "$file" "$file.part"; done
rmdir "$state_dir/secrets" "$state_dir" 2>/dev/null || :
