# A refused candidate goes; the mark that the live files are not proved yet stays.
rm -f "$staging/userlist.txt" "$staging/pgbouncer.ini" "$staging/pg_hba.conf" "$staging/poolward.conf"
rmdir "$staging" 2>/dev/null || :
