# Who logged in through this pooler, from its log: each client's end of the connection.
# variables: since (seconds of the epoch on this host)
section logins
log_since "$since" | sed -n 's/.*C-[^ ]* [^ ]*@\([^ ]*\) login attempt.*/\1/p' || :
section end
