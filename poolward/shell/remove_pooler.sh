# Take Poolward off a pooler host: the service first, then what a deploy installed and wrote. What was here before stays,
# or comes back. Cut off anywhere, it is run again to its end: the list of packages and the kept files go last.
status() { dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null || printf 'not-installed'; }
purged_with() { apt-get -s purge "$@" | awk '$1 == "Purg" { print $2 }'; }

systemctl unmask --quiet pgbouncer.service pgbouncer.socket
loaded=$(systemctl show pgbouncer.service -p LoadState --value)
[ "$loaded" = not-found ] || systemctl stop pgbouncer.service
# Also of a package somebody purged: its unit may be gone, and the link that started it not.
systemctl disable --quiet pgbouncer.service || [ "$loaded" = not-found ]
[ "$(main_pid)" = 0 ] || fail "PgBouncer still runs after systemctl stop"
[ "$(status pgbouncer)" = not-installed ] || apt-mark unhold pgbouncer >/dev/null

section stays
packages=
for package in $(cat "$installed" 2>/dev/null || :); do
    [ "$(status "$package")" = not-installed ] || packages="$packages $package"
done
# shellcheck disable=SC2086 # a list of words on purpose
if [ "$(purged_with $packages | wc -w)" != "$(printf '%s' "$packages" | wc -w)" ]; then
    printf '%s: something else needs one of them by now\n' "${packages# }"
    packages=$(printf '%s' "$packages" | grep -ow pgbouncer || :)
fi
if [ -n "$packages" ]; then
    DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 purge -y -q $packages >/dev/null
fi

section restored
traces | while read -r file; do
    case $file in "$installed" | "$kept") ;; *) rm -rf "$file" ;; esac
done
for file in "$ini" "$userlist" "$hba"; do
    copy=$kept/${file##*/}
    if [ -f "$copy" ]; then
        cp -p "$copy" "$file.part"
        mv -f "$file.part" "$file"
        printf '%s\n' "$file"
    fi
done
rmdir "${drop_in%/*}" 2>/dev/null || :
systemctl daemon-reload
systemctl reset-failed pgbouncer.service 2>/dev/null || :
rm -f "$installed"
rm -rf "$kept"
rmdir "$state_dir" "$config_dir" 2>/dev/null || :

section left
[ ! -d "$config_dir" ] || find "$config_dir" -mindepth 1
section end
