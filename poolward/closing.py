"""The direct path of what has moved: who used it, and the lines of pg_hba.conf that would close it. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from poolward import evidence
from poolward.evidence import Seen
from poolward.service import Service

Path = tuple[str, str, str]
"""Server, role and client address."""


def paths(seen: Seen, services: Iterable[Service]) -> set[Path]:
    """The paths on which these services are connected directly."""
    return {
        (session.server, session.backend.role, session.backend.peer.address)
        for declared in services
        if declared.unit and declared.host in seen.sockets
        for session in evidence.census(seen, declared.host, declared.unit).direct
        if session.backend.peer is not None
    }


def unused(before: Iterable[Path], seen: Seen) -> list[Path]:
    """Those of the paths that nobody is connected on any more; never one that a pooler on the same host needs."""
    servers = [server for traffic in seen.traffic.values() for server in traffic.servers]
    pooled = {server.pid for server in servers}
    poolers = {server.local.address for server in servers if server.local}
    used = {
        (server, backend.role, backend.peer.address)
        for server, sessions in seen.sessions.items()
        for backend in sessions.backends
        if backend.pid not in pooled and backend.peer is not None
    }
    return sorted(path for path in set(before) - used if path[2] not in poolers)


def offer(closable: Iterable[Path]) -> list[str]:
    """What to write to close these paths, and how to open them again; nothing where there is none."""
    told: list[str] = []
    by_server: dict[str, list[str]] = {}
    for server, role, address in closable:
        width = ipaddress.ip_address(address).max_prefixlen
        quoted = role.replace('"', '""')
        by_server.setdefault(server, []).append(f'host  all  "{quoted}"  {address}/{width}  reject')
    for server, lines in by_server.items():
        told.append(
            f"Nobody uses the direct path of what has moved. To close it, write these lines at the beginning of "
            f"pg_hba.conf on {server} and say SELECT pg_reload_conf(); without them it is open again, which a rollback "
            "needs:"
        )
        told += [f"  {line}" for line in lines]
    return told


def multiplexing(seen: Seen) -> dict[str, float]:
    """Clients per server connection, by pooler; a pooler without either is left out."""
    return {
        name: round(len(traffic.clients) / len(traffic.servers), 1)
        for name, traffic in seen.traffic.items()
        if traffic.clients and traffic.servers
    }
