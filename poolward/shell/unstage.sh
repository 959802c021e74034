# A refused candidate goes; the mark that the live files are not proved yet stays.
unstage
rmdir "$staging" 2>/dev/null || :
