# Rewrite a service's settings file in one step. By standard input two lines of base64: what it holds now, as it was
# read, and what it shall hold.
# variables: path, mark (one line, what the move says of itself), keep (what is there now is the way back), event
read -r expected
read -r wanted
alone 15
new=$path.poolward-new
before=$path.before-poolward
unproved=$path.unproved-poolward
kept=
clean() {
    rm -f "$new" "$before.part" "$unproved.part"
    # Without the mark nothing was begun, and there is nothing to go back from.
    if [ -n "$kept" ] && [ ! -f "$unproved" ]; then rm -f "$before"; fi
}
trap clean EXIT
printf '%s' "$expected" | base64 -d | cmp -s - "$path" || fail "$path was changed by somebody else meanwhile"

# The way back first: the bytes with owner, mode and attributes, then the mark that says there is one to be taken.
if [ -n "$keep" ]; then
    cp --preserve=all "$path" "$before.part"
    sync "$before.part"
    mv -f "$before.part" "$before"
    kept=yes
fi
line "$mark" >"$unproved.part"
sync "$unproved.part"
mv -f "$unproved.part" "$unproved"
journal "$event"

cp --preserve=all "$path" "$new"
printf '%s' "$wanted" | base64 -d >"$new"
printf '%s' "$wanted" | base64 -d | cmp -s - "$new" || fail "$path could not be written whole"
sync "$new"
mv -f "$new" "$path"
sync "${path%/*}"
