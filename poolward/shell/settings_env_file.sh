# Settings in a file that the service reads: the way back and the mark of an unproved move lie beside it.
# variables: env_file
settings_env_file() {
    path=$(readlink -e -- "$env_file") || path=$env_file
    before=$path.before-poolward
    unproved=$path.unproved-poolward

    show_settings() {
        section "settings $name"
        file "$path"
    }
    make_room() { :; }
    settings_are() { printf '%s' "$1" | base64 -d | cmp -s - "$path"; }
    keep_settings() { cp --preserve=all "$path" "$before.part"; }

    put_settings() { write_in_place "$path" "$1"; }

    return_settings() { # return_settings WANTED: what was kept by one rename, which needs no room on a full disk
        if [ "$1" != - ]; then
            put_settings "$1"
            rm -f "$before"
            return
        fi
        [ -f "$before" ] || fail "$before is not there"
        # The time of its last change is what tells a process that was started with it from one that was not.
        touch -a "$before" || :
        mv -f "$before" "$path"
        sync "${path%/*}" || :
    }
    tidy_settings() { rm -f "$path.poolward-new"; }
    forget_settings() { rm -f "$before"; }
}

write_in_place() { # write_in_place PATH BASE64: in one step, with owner, mode and attributes as they are
    cp --preserve=all "$1" "$1.poolward-new"
    printf '%s' "$2" | base64 -d >"$1.poolward-new"
    printf '%s' "$2" | base64 -d | cmp -s - "$1.poolward-new" || fail "$1 could not be written whole"
    sync "$1.poolward-new"
    mv -f "$1.poolward-new" "$1"
    sync "${1%/*}"
}
