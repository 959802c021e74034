cmp -s "$userlist" -
