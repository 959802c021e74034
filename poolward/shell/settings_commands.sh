# Settings that only the operator's own commands know. What belongs to a move lies in a directory of root's; what the
# commands say for themselves is shown nowhere, because it may be the settings.
# variables: name, read_command, write_command (each quoted for eval)
settings_commands() {
    path=$state_dir/services/$name
    before=$path/before
    first=$path/first
    unproved=$path/unproved
    # The text that is being written: as long as it is there, nobody knows what was written of it.
    writing=$path/writing
    # Its time is when the settings were changed last.
    changed=$path/changed

    read_settings() {
        eval "set -- $read_command"
        as_given timeout -k 5 15 "$@" </dev/null 2>/dev/null 8>&-
    }

    show_settings() {
        if ! now=$(encoded read_settings); then
            section "unreadable $name"
            printf 'read_command failed or took longer than 15 s\n'
        else
            section "settings $name"
            printf -- '- - -\n'
            [ ! -f "$changed" ] && printf '0\n' || find "$changed" -printf '%T@\n'
            printf '%s\n' "$now"
        fi
        section "unfinished $name"
        file "$writing"
    }
    make_room() {
        mkdir -p "$path"
        cd "$path"
    }
    settings_are() { [ "$(encoded read_settings || printf '!')" = "$1" ]; }
    keep_settings() { printf '%s' "$expected" | base64 -d >before.part; }

    put_settings() { # put_settings WANTED
        wanted=$1
        printf '%s' "$wanted" | base64 -d >"$writing.part"
        sync "$writing.part"
        mv -f "$writing.part" "$writing"
        eval "set -- $write_command"
        status=0
        as_given timeout -k 5 30 "$@" <"$writing" >/dev/null 2>&1 8>&- || status=$?
        if [ "$status" = 0 ] && settings_are "$wanted"; then
            settings_changed
            return
        fi
        if settings_are "$expected"; then rm -f "$writing"; fi
        case $status in
        0) fail "write_command ended well, but read_command prints something else than was written" ;;
        124 | 137) fail "write_command took longer than 30 s" ;;
        *) fail "write_command ended with $status" ;;
        esac
    }

    settings_changed() {
        touch "$changed"
        sync "$changed" || :
        rm -f "$writing"
    }

    return_settings() { # return_settings WANTED
        [ -f "$before" ] || fail "$before is not there"
        original=$1
        [ "$original" != - ] || original=$(base64 -w0 "$before")
        if settings_are "$original"; then
            [ ! -f "$writing" ] || settings_changed
        else
            put_settings "$original"
        fi
        rm -f "$before"
    }
    tidy_settings() { # without the mark nothing was begun, and an empty directory is nothing to keep
        rm -f "$path"/*.part
        rmdir "$path" "${path%/*}" 2>/dev/null || :
    }
    forget_settings() { rm -f "$before" "$first" "$changed"; }
}

encoded() { # encoded COMMAND...: what it prints, in base64; fails where it does
    { ended=$({ { "$@" && printf 0 >&4 || printf 1 >&4; } | base64 -w0 >&3; } 4>&1); } 3>&1
    [ "$ended" = 0 ]
}
