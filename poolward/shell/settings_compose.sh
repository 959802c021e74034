# Settings in a file that Docker Compose reads: an env_file, or the Compose file itself, which other services share. So
# the way back is no whole file: kept are the values as they were, and the file for how it wrote them.
# variables: name, settings_file, compose_file, compose_service
settings_compose() {
    path=$(readlink -e -- "$settings_file") || path=$settings_file
    place=$state_dir/services/$name
    before=$place/before
    unproved=$place/unproved
    original=$place/original

    # Two inventories may each call a service so.
    if [ -f "$place/of" ] && [ "$(cat "$place/of")" != "$path: $compose_service" ]; then
        fail "$place is about another service called $name ($(cat "$place/of")): call one of them otherwise"
    fi

    show_settings() {
        section "written $name"
        file "$path"
        section "original $name"
        file "$original"
        if ! said=$(one_project 2>&1); then
            section "unreadable $name"
            printf '%s\n' "$said"
        elif rendered=$(encoded compose 15 --profile '*' config --format json 2>/dev/null); then
            section "rendered $name"
            printf '%s %s\n' "$compose_service" "$rendered"
        else
            section "unreadable $name"
            printf 'docker compose config fails for it\n'
        fi
    }
    make_room() {
        mkdir -p "$place"
        cd "$place"
        printf '%s\n' "$path: $compose_service" >of
    }
    settings_are() { printf '%s' "$1" | base64 -d | cmp -s - "$path"; }
    keep_settings() { # by standard input one more line: the values, as an environment file in base64
        read -r values
        cp --preserve=all "$path" original.part
        sync original.part
        mv -f original.part "$original"
        printf '%s' "$values" | base64 -d >before.part
    }
    put_settings() { write_in_place "$path" "$1"; }
    return_settings() { put_settings "$1"; }
    tidy_settings() {
        leave_room "$path"
        rm -f "$place"/*.part
        [ -f "$before" ] || [ -f "$unproved" ] || rm -f "$original" "$place/of"
        rmdir "$place" "${place%/*}" 2>/dev/null || :
    }
    forget_settings() { rm -f "$before" "$original"; }
}
