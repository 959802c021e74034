# Debian's package starts and enables its service at once, with a configuration nobody can log in to. A mask set before
# the installation prevents that; only a proven configuration takes it off again.
# variables: version (the Debian version of PgBouncer that is wanted, or empty for whichever there is)
if [ "$(package_status pgbouncer)" != installed ]; then
    note pgbouncer
    systemctl mask --quiet pgbouncer.service pgbouncer.socket
fi
export DEBIAN_FRONTEND=noninteractive
# An installation that was cut off; one that is under way holds dpkg's lock.
if [ -n "$(dpkg --audit)" ]; then
    deadline=$(($(date +%s) + 120))
    until said=$(dpkg --configure -a 2>&1); do
        case $said in *lock*) [ "$(date +%s)" -lt "$deadline" ] || fail "$said" ;; *) fail "$said" ;; esac
        sleep 1
    done
fi

# What is installed stays as it is: upgrading PgBouncer in passing would restart it.
missing=
for package in pgbouncer postgresql-client iproute2; do
    [ "$(package_status "$package")" != installed ] || continue
    missing="$missing $package"
    note "$package"
done
if [ -n "$version" ]; then missing="$missing pgbouncer=$version"; fi
install() {
    # shellcheck disable=SC2086 # a list of words on purpose
    apt-get -o DPkg::Lock::Timeout=120 -o Dpkg::Options::=--force-confold -o Dpkg::Options::=--force-confdef \
        install -y -q --no-install-recommends --allow-change-held-packages --allow-downgrades $missing >/dev/null
}
if [ -n "$missing" ]; then
    # The package lists may be old; they are refreshed only when they do not serve.
    install 2>/dev/null || { apt-get -o DPkg::Lock::Timeout=120 update -q >/dev/null && install; }
fi
# An unattended upgrade would restart the pooler at an hour nobody chose.
apt-mark hold pgbouncer >/dev/null
