"""Whose session is what, told by sockets and never by names: direct, pooled, or past the pooler. Pure.

A pooled and a direct session look alike by role and application_name. The two ends of a TCP connection do not: a socket
of the service that PostgreSQL names as a client is direct, one that PgBouncer names as a client is pooled. Of a client
on its Unix socket PgBouncer names the process.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from poolward.fleet import PROBE_ROLE
from poolward.observed.sessions import Backend, PooledClient, Sessions, Traffic
from poolward.observed.sockets import Endpoint, LocalSocket, Socket


@dataclass(frozen=True)
class Seen:
    """One look at all sides, taken within a second or two."""

    sockets: Mapping[str, Sequence[Socket]]
    """By application host."""
    sessions: Mapping[str, Sessions]
    """By server."""
    traffic: Mapping[str, Traffic]
    """By pooler."""
    owners: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    """By application host, whose each process of a service is: its unit. A client on a Unix socket is told by that."""
    local_sockets: Mapping[str, Sequence[LocalSocket]] = field(default_factory=dict)
    """By application host that is a server's, too: connections to it over its Unix socket."""


@dataclass(frozen=True)
class DirectSession:
    """A backend whose client is a process on an application host."""

    server: str
    backend: Backend
    socket: Socket | LocalSocket

    def __str__(self) -> str:
        program = self.socket.program or "a process that has ended"
        where = f" in the container {self.socket.container}" if self.socket.container else ""
        client = f"pid {self.socket.pid} {program}{where} at {self.socket.local}"
        return f"{client}, backend {self.backend.pid} on {self.server}"


@dataclass(frozen=True)
class Census:
    """The sessions of one service."""

    direct: tuple[DirectSession, ...] = ()
    pooled: tuple[PooledClient, ...] = ()
    unmatched: tuple[Socket, ...] = ()
    """Sockets neither side names: one that is just being made, or an address that is translated on its way."""

    @property
    def waiting(self) -> tuple[PooledClient, ...]:
        """Its clients that wait for a server connection."""
        return tuple(client for client in self.pooled if client.waiting)

    @property
    def longest_wait(self) -> float:
        """Seconds the one that waits longest has waited."""
        return max((client.wait for client in self.waiting), default=0.0)


@dataclass(frozen=True)
class Bypass:
    """A session that reaches a server from an application host and belongs to no declared service there."""

    session: DirectSession | Backend
    server: str
    host: str = field(default="")

    def __str__(self) -> str:
        if isinstance(self.session, DirectSession):
            return f"{self.session} as {self.session.backend.role}"
        return f"backend {self.session.pid} on {self.server} as {self.session.role} from {self.session.peer}"


def census(seen: Seen, host: str, unit: str) -> Census:
    """The sessions of a unit on an application host."""
    direct: list[DirectSession] = []
    pooled: list[PooledClient] = []
    unmatched: list[Socket] = []
    backends, clients = _backends(seen), _clients(seen)
    # Processes that were forked share their parent's sockets; each socket is one session.
    mine = {(socket.local, socket.peer): socket for socket in seen.sockets[host] if socket.unit == unit}
    for (local, peer), socket in mine.items():
        # One local port may serve two connections to different peers at once: then the pooler's port tells them apart.
        client = clients.get(local)
        through_pooler = client is not None and (local not in backends or peer.port == client.through)
        if client is not None and through_pooler:
            pooled.append(client)
        elif local in backends:
            server, backend = backends[local]
            direct.append(DirectSession(server, backend, socket))
        else:
            unmatched.append(socket)
    pooled += [client for client in _local_clients(seen, host) if seen.owners[host].get(client.pid) == unit]
    direct += _over_the_socket(seen, host, unit)
    return Census(tuple(direct), tuple(pooled), tuple(unmatched))


def _over_the_socket(seen: Seen, host: str, unit: str) -> Iterable[DirectSession]:
    """A unit's sessions on the server of its own host; a socket that forked processes share is one session."""
    mine = {one.backend: one for one in seen.local_sockets.get(host, ()) if one.unit == unit}
    if host in seen.sessions:
        for backend in seen.sessions[host].backends:
            if backend.peer is None and backend.pid in mine:
                yield DirectSession(host, backend, mine[backend.pid])


def bypasses(seen: Seen, units: Mapping[str, Collection[str]]) -> list[Bypass]:
    """Sessions from application hosts that belong to none of the units declared there; `units` by host.

    Backends whose client is a pooler are told by the pooler's own list of them (SHOW SERVERS), not by their address.
    """
    pooled = {server.pid for traffic in seen.traffic.values() for server in traffic.servers}
    pooled_ends = {server.local for traffic in seen.traffic.values() for server in traffic.servers if server.local}
    owners = {socket.local: (host, socket) for host, sockets in seen.sockets.items() for socket in sockets}
    hosts = hosts_by_address(seen)
    found: list[Bypass] = []
    for local, (server, backend) in _backends(seen).items():
        claiming = hosts.get(local.address, set())
        host = local.host if local.host in seen.sockets else server if server in claiming else min(claiming, default="")
        if backend.pid in pooled or local in pooled_ends or not host:
            continue
        if local not in owners:
            found.append(Bypass(backend, server, host))
            continue
        host, socket = owners[local]
        if socket.unit not in units.get(host, ()):
            found.append(Bypass(DirectSession(server, backend, socket), server, host))
    return found


def hosts_by_address(seen: Seen) -> dict[str, set[str]]:
    """The application hosts by the addresses their connections come from, but for those that every host has.

    Two may claim one: the networks of containers begin with the same numbers everywhere.
    """
    found: dict[str, set[str]] = {}
    for host, sockets in seen.sockets.items():
        for socket in sockets:
            if not socket.local.host:
                found.setdefault(socket.local.address, set()).add(host)
    return found


def complaints(seen: Seen, host: str, unit: str, others: Collection[str]) -> list[str]:
    """The lines of the poolers' logs that speak of a unit on an application host; `others` are the units beside it.

    PgBouncer names a client by its end of the connection, on a Unix socket by its process. A line from the service's
    host that belongs to no other service counts as this one's: a login that failed has no session to tell it by.
    """
    mine = {client.peer for client in census(seen, host, unit).pooled}
    foreign = {client.peer for other in others for client in census(seen, host, other).pooled}
    # A container has an address of its own: what comes from one where only other services are is not this one's.
    elsewhere = {one.local.address for one in seen.sockets[host] if one.container and one.unit != unit}
    elsewhere -= {one.local.address for one in seen.sockets[host] if one.unit == unit or not one.container}
    claimed = hosts_by_address(seen)
    addresses = {address for address, where in claimed.items() if host in where} - elsewhere
    shared = {address for address in addresses if len(claimed[address]) > 1}
    units = seen.owners.get(host, {})
    found: list[str] = []
    for pooler, traffic in seen.traffic.items():
        for line in traffic.log:
            if f"/{PROBE_ROLE}@" in line:
                # The probe, as in a container's health check, ends its own server connection, and PgBouncer says so.
                continue
            end = _client_end(line, pooler)
            if isinstance(end, int):
                # A process that has ended meanwhile is nobody's any more.
                if pooler == host and units.get(end, unit) == unit:
                    found.append(line)
            elif end is not None:
                here = addresses if pooler == host else addresses - shared
                if end in mine or (_is_on(end, host, here) and end not in foreign):
                    found.append(line)
    return found


def _is_on(end: Endpoint, host: str, addresses: Collection[str]) -> bool:
    return end.host == host if end.host else end.address in addresses


def _client_end(line: str, pooler: str) -> Endpoint | int | None:
    """Read `C-0x55…: tracksolid_db/app@10.0.0.31:41234 …`, or `…@unix(4122):6432`, which is a process."""
    word = next((word for word in line.split() if "@" in word), "")
    end = word.rpartition("@")[2]
    if process := re.match(r"unix\((\d+)\):", end):
        return int(process[1])
    try:
        return Endpoint.parse(end).seen_on(pooler)
    except ValueError:
        return None


def _local_clients(seen: Seen, host: str) -> Iterable[PooledClient]:
    """Who is connected to the pooler on this host by its Unix socket."""
    if host not in seen.traffic or host not in seen.owners:
        return ()
    return (client for client in seen.traffic[host].clients if client.peer is None)


def _backends(seen: Seen) -> dict[Endpoint, tuple[str, Backend]]:
    return {
        backend.peer: (server, backend)
        for server, sessions in seen.sessions.items()
        for backend in sessions.backends
        if backend.peer is not None
    }


def _clients(seen: Seen) -> dict[Endpoint, PooledClient]:
    return {
        client.peer: client
        for traffic in seen.traffic.values()
        for client in traffic.clients
        if client.peer is not None
    }
