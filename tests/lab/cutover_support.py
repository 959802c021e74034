"""What tests of a cutover share: services as their hosts and the server see them, past Poolward's own eyes."""

from __future__ import annotations

from lab.topology import SERVICES, Lab, Service, host_named
from tests.lab.support import Run, console, on, psql, pyinfra

CUTOVER, ROLLBACK = "deploy/cutover.py", "deploy/rollback.py"


def cutover(*names: str, soak: float = 1, deploy: str = CUTOVER, **data: object) -> Run:
    """Move these services (all without names), with a short soak."""
    only = {"only": ",".join(names)} if names else {}
    return pyinfra("--json", data={**only, "soak": soak, **data}, deploy=deploy)


def rollback(*names: str, soak: float = 1) -> Run:
    return cutover(*names, soak=soak, deploy=ROLLBACK)


def service_named(name: str) -> Service:
    return next(service for service in SERVICES if service.name == name)


def direct(lab: Lab, name: str) -> int:
    """Backends whose client socket belongs to the service's processes, as the application host's kernel says."""
    service = service_named(name)
    ports = sockets(lab, name, 5432)
    if not ports:
        return 0
    address = lab.address(host_named(service.host))
    listed = ",".join(map(str, ports))
    return int(
        psql(
            lab, f"SELECT count(*) FROM pg_stat_activity WHERE client_addr = '{address}' AND client_port IN ({listed})"
        )
    )


def pooled(lab: Lab, name: str, pooler: str) -> int:
    """Clients of the pooler whose port is one of the service's sockets."""
    ports = set(map(str, sockets(lab, name, 6432)))
    if not ports:
        return 0
    rows = [line.split("|") for line in console(lab, pooler, "SHOW CLIENTS").splitlines()]
    return sum(1 for row in rows if ports & set(row[4:8]))


def sockets(lab: Lab, name: str, port: int) -> list[int]:
    """The local ports of a service's connections to a port; none where it does not run, as on a host that boots."""
    service = service_named(name)
    script = f"""
        pids=$(cat /sys/fs/cgroup/system.slice/{service.unit}/cgroup.procs 2>/dev/null || :)
        ss -Htnp state established "( dport = :{port} )" | while read -r line; do
            for pid in $pids; do
                case $line in *"pid=$pid,"*)
                    printf '%s\\n' "$line" | awk '{{ print $3 }}' | sed 's/.*://'
                    break ;;
                esac
            done
        done
    """
    return sorted({int(line) for line in on(lab, service.host, script).split()})


def settings_file(lab: Lab, name: str) -> tuple[str, str]:
    """Owner, group and mode of a service's settings file, and its text."""
    path = f"/etc/{name}/env"
    host = service_named(name).host
    return on(lab, host, f"stat -c '%U:%G %a' {path}").strip(), on(lab, host, f"cat {path}")


def beside(lab: Lab, name: str) -> list[str]:
    """Every file beside a service's settings."""
    return sorted(on(lab, service_named(name).host, f"ls -A /etc/{name}").split())
