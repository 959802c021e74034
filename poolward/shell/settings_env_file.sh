# Settings in a file that the service reads: the way back and the mark of an unproved move lie beside it.
# variables: env_file
settings_env_file() {
    path=$(readlink -e -- "$env_file") || path=$env_file
    before=$path.before-poolward
    first=$path.first-poolward
    unproved=$path.unproved-poolward

    show_settings() {
        section "settings $name"
        file "$path"
    }
    make_room() { enter_room "$path"; }
    settings_are() { printf '%s' "$1" | base64 -d | cmp -s - "$path"; }
    keep_settings() { cp --preserve=all "$path" before.part; }

    put_settings() { write_in_place "$path" "$1"; }

    return_settings() { # return_settings WANTED: what was kept by one rename, which needs no room on a full disk
        if [ "$1" != - ]; then
            put_settings "$1"
            rm -f "$before"
            return
        fi
        [ -f "$before" ] || fail "$before is not there"
        # The time of its last change is what tells a process that was started with it from one that was not.
        touch -ah "$before" || :
        mv -fT "$before" "$path"
        sync "${path%/*}" || :
    }
    tidy_settings() { leave_room "$path"; }
    forget_settings() { rm -f "$before" "$first"; }
}

write_in_place() { # write_in_place PATH BASE64: in one step, with owner, mode and attributes as they are
    enter_room "$1"
    cp --preserve=all "$1" new
    printf '%s' "$2" | base64 -d >new
    printf '%s' "$2" | base64 -d | cmp -s - new || fail "$1 could not be written whole"
    sync new
    mv -fT new "$1"
    sync "${1%/*}"
}

# enter_room FILE: a new directory beside it for what is to take its place. The folder may be the service's user's, who
# could put a link there for root to write through; in here nobody else can, and whoever replaces it changes no more.
enter_room() {
    leave_room "$1"
    mkdir -m 700 "$1.poolward-new"
    cd "$1.poolward-new"
    [ "$(find . -maxdepth 0 -user "$(id -u)" ! -perm /077 -empty)" = . ] ||
        fail "somebody else has changed $1.poolward-new"
}
leave_room() {
    cd /
    rm -rf "$1.poolward-new"
}
