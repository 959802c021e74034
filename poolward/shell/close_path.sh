# variables: unit
systemctl stop "$unit-*.service" 2>/dev/null || :
