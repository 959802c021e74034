# Restart one service and nothing else; prints how long it took, in seconds.
# variables: the service's, restart_seconds (it may take), event
alone 15
"$process_by"
journal "$event" || :
start=$(date +%s.%N)
restart_process
awk -v start="$start" -v end="$(date +%s.%N)" 'BEGIN { printf "%.3f\n", end - start }'
