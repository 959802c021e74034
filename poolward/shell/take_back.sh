# The switch went well but the proof that followed did not: put the previous files back.
# variables: action (what takes them: start means that nothing ran before)
for file in "$ini" "$userlist" "$drop_in"; do
    if [ -f "$file.previous" ]; then
        cp -p "$file.previous" "$file.part"
        mv -f "$file.part" "$file"
    else
        rm -f "$file"
    fi
done
systemctl daemon-reload
case $action in
start) systemctl stop pgbouncer.service; systemctl disable --quiet pgbouncer.service; systemctl mask --quiet pgbouncer.service ;;
reload) systemctl reload pgbouncer.service ;;
*) systemctl restart pgbouncer.service ;;
esac
