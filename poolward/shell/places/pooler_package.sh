# PgBouncer from Debian's package, under systemd. Everything it does, it does as the user postgres; only this user is let
# into the console without a password.
root=root:root owner=root:postgres user_word=%U group_word=%G mode=0640 run_as=postgres:postgres
service_file=/etc/systemd/system/pgbouncer.service.d/poolward.conf service_file_name=poolward.conf more_files=
show_log="journalctl -u pgbouncer"
prepare_directory() { :; } # the package has made it

main_pid() { systemctl show pgbouncer.service -p MainPID --value; }
runs() { systemctl is-active --quiet pgbouncer.service; }
in_its_network() { shift && "$@"; }
as_pooler() { runuser -u postgres -- "$@"; }
as_client() { "$@"; }

enable() {
    systemctl unmask --quiet pgbouncer.service pgbouncer.socket
    systemctl daemon-reload
    systemctl enable --quiet pgbouncer.service
}

take() {
    case $1 in
    reload) systemctl reload pgbouncer.service ;;
    *) systemctl restart pgbouncer.service ;;
    esac
}

# As it was before the first deploy.
put_to_rest() {
    systemctl stop pgbouncer.service
    systemctl disable --quiet pgbouncer.service
    systemctl mask --quiet pgbouncer.service
}

files_are_back() { systemctl daemon-reload; }
raise_limit() { runuser -u postgres -- prlimit --pid "$(main_pid)" --nofile="$1:"; }
log_since() { journalctl -u pgbouncer --since "@$1" -o cat; }
fits() { :; }

begin_trial() {
    # setpriv becomes PgBouncer; runuser would stay its parent, and killing that leaves PgBouncer running for ever.
    setpriv --reuid postgres --regid postgres --init-groups -- \
        /usr/sbin/pgbouncer "$trial/trial.ini" >"$trial/log" 2>&1 &
    trial_pid=$!
}
trial_runs() { kill -0 "$trial_pid" 2>/dev/null; }
trial_log() { cat "$trial/log"; }
end_trial() { [ -z "${trial_pid:-}" ] || kill -KILL "$trial_pid" 2>/dev/null || :; }

show_packages() {
    command -v dpkg-query >/dev/null || fail "this host has no dpkg: Poolward installs Debian packages"
    for package in pgbouncer postgresql-client iproute2; do
        known=$(dpkg-query -W -f='${db:Status-Want} ${db:Status-Status} ${Version}' "$package" 2>/dev/null) ||
            known='unknown not-installed -'
        case $known in *' ') known="$known-" ;; esac # a purged package has no version
        printf '%s %s\n' "$package" "$known"
    done
}

show_candidate() { apt-cache policy pgbouncer | awk '$1 == "Candidate:" { print $2 }'; }

show_service() {
    systemctl show pgbouncer.service -p LoadState -p ActiveState -p SubState -p UnitFileState -p MainPID \
        -p NeedDaemonReload -p Result -p FragmentPath -p DropInPaths -p ExecStart -p LimitNOFILESoft
}

show_address() { # ADDRESS, what it resolves to, where connections to it come from
    resolved=$(getent ahosts "$1" | awk 'NR == 1 { print $1 }')
    source=$(ip -o route get "${resolved:-$1}" 2>/dev/null | sed -n 's/.* src \([^ ]*\).*/\1/p')
    printf '%s %s %s\n' "$1" "${resolved:--}" "${source:--}"
}

package_status() { dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null || printf 'not-installed'; }

drop_superseded() { :; }

left_installed() { # what a deploy installed and is not gone yet
    for package in $(cat "$installed" 2>/dev/null || :); do
        [ "$(package_status "$package")" = not-installed ] || printf '%s\n' "$package"
    done
}

retire() {
    systemctl unmask --quiet pgbouncer.service pgbouncer.socket
    loaded=$(systemctl show pgbouncer.service -p LoadState --value)
    [ "$loaded" = not-found ] || systemctl stop pgbouncer.service
    # Also of a package somebody purged: its unit may be gone, and the link that started it not.
    systemctl disable --quiet pgbouncer.service || [ "$loaded" = not-found ]
    [ "$(main_pid)" = 0 ] || fail "PgBouncer still runs after systemctl stop"
    [ "$(package_status pgbouncer)" = not-installed ] || apt-mark unhold pgbouncer >/dev/null
}

uninstall() { # prints what stays, and why
    packages=
    for package in $(left_installed); do packages="$packages $package"; done
    # shellcheck disable=SC2086 # a list of words on purpose
    purged=$(apt-get -s purge $packages | awk '$1 == "Purg" { print $2 }' | wc -w)
    if [ "$purged" != "$(printf '%s' "$packages" | wc -w)" ]; then
        printf '%s: something else needs one of them by now\n' "${packages# }"
        packages=$(printf '%s' "$packages" | grep -ow pgbouncer || :)
    fi
    if [ -n "$packages" ]; then
        # shellcheck disable=SC2086
        DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 purge -y -q $packages >/dev/null
    fi
}

files_are_gone() {
    rmdir "${service_file%/*}" 2>/dev/null || :
    systemctl daemon-reload
    systemctl reset-failed pgbouncer.service 2>/dev/null || :
}
