# Lead to a Unix socket as a service's own user, who may be the only one its directory lets in and whom the pooler may ask
# for (peer).
# variables: unit (whose user it is; empty for root), path
user=root
if [ -n "$unit" ]; then
    pid=$(systemctl show "$unit" -p MainPID --value)
    [ "$pid" = 0 ] || user=$(stat -c %U "/proc/$pid")
fi
exec runuser -u "$user" -- perl -e "$relay" "$path"
