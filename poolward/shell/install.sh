# Debian's package starts and enables its service at once, with a configuration nobody can log in to. A mask set before
# the installation prevents that; only a proven configuration takes it off again.
# variables: version (a Debian version to ask for, or empty)
if ! dpkg-query -W -f='${db:Status-Status}' pgbouncer 2>/dev/null | grep -qx installed; then
    systemctl mask --quiet pgbouncer.service pgbouncer.socket
fi
export DEBIAN_FRONTEND=noninteractive
install() {
    apt-get -o DPkg::Lock::Timeout=120 -o Dpkg::Options::=--force-confold -o Dpkg::Options::=--force-confdef \
        install -y -q --no-install-recommends --allow-change-held-packages \
        "pgbouncer${version:+=$version}" postgresql-client iproute2 >/dev/null
}
# The package lists may be old; refresh them only when they do not serve.
install 2>/dev/null || { apt-get -o DPkg::Lock::Timeout=120 update -q >/dev/null && install; }
# An unattended upgrade would restart the pooler at an hour nobody chose.
apt-mark hold pgbouncer >/dev/null
