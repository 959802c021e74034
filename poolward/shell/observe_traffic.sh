# Who is connected through this pooler, and what it said of clients lately.
# variables: since (seconds of the epoch on this host, 0 for nothing of the log)
pid=$(main_pid)
if [ "$pid" = 0 ]; then
    # Where it does not run nobody is connected through it: that is known, and no reason to see nothing at all.
    section clock
    date +%s.%N
    section stopped
    section end
    exit 0
fi
where=$(console_of "$pid")
[ -n "$where" ] || fail "PgBouncer has no Unix socket to ask it by"
section clock
date +%s.%N
console ${where% *} ${where##* } -c '\echo @clients' -c 'SHOW CLIENTS' -c '\echo @servers' -c 'SHOW SERVERS' \
    -c '\echo @pools' -c 'SHOW POOLS'
section log
# Where its log goes to a journal a line begins with C-, else with the time, the process and the level.
if [ "$since" != 0 ]; then
    log_since "$since" | tail -n 2000 | grep -E 'C-[^ ]* .*(pooler error|login failed)|ERROR|FATAL' | tail -n 200 || :
fi
section end
