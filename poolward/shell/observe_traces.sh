# What of Poolward's is on a pooler host, and whether PgBouncer runs there.
section process
main_pid
section packages
left_installed
section files
traces
section end
