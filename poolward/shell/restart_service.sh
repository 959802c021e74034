# Restart one service and nothing else; prints how long it took, in seconds.
# variables: unit, event
alone 15
journal "$event" || :
start=$(date +%s.%N)
systemctl reset-failed "$unit" 2>/dev/null || :
if ! systemctl restart "$unit"; then
    systemctl show "$unit" -p ActiveState -p Result -p ExecMainStatus | tr '\n' ' ' >&2
    fail "journalctl -u $unit says why"
fi
awk -v start="$start" -v end="$(date +%s.%N)" 'BEGIN { printf "%.3f\n", end - start }'
