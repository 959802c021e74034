# The switch went well but the proof that followed did not: put the last proved files back.
put_files_back
case $(cat "$unproved") in
start) put_to_rest ;;
reload) systemctl reload-or-restart pgbouncer.service ;; # it may have died meanwhile
*) systemctl restart pgbouncer.service ;;
esac
rm -rf "$staging"
