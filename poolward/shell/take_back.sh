# The switch went well but the proof that followed did not: put the last proved files back.
for file in "$ini" "$userlist" "$drop_in"; do
    if [ -f "$file.previous" ]; then
        cp -p "$file.previous" "$file.part"
        mv -f "$file.part" "$file"
    else
        rm -f "$file"
    fi
done
systemctl daemon-reload
case $(cat "$unproved") in
start) put_to_rest ;;
reload) systemctl reload pgbouncer.service ;;
*) systemctl restart pgbouncer.service ;;
esac
rm -rf "$staging"
