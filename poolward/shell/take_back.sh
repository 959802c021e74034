# The switch went well but the proof that followed did not: put the last proved files back.
put_files_back
was=$(cat "$unproved")
case $was in
start) put_to_rest ;;
reload) if runs; then take reload; else take restart; fi ;; # it may have died meanwhile
*) take "$was" ;;
esac
rm -rf "$staging"
