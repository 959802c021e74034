# variables: files (one per line): secrets on the host, and the previous pg_hba.conf where PostgreSQL has its own
printf '%s\n' "$files" | while IFS= read -r file; do
    case $file in
    '') ;;
    "$state_dir"/*) rm -f "$file" "$file.part" ;;
    *) at_server rm -f "$file" "$file.part" </dev/null ;;
    esac
done
rmdir "$state_dir/secrets" "$state_dir" 2>/dev/null || :
