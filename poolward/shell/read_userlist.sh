section userlist
[ ! -f "$userlist" ] || indented <"$userlist"
section end
