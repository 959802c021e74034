"""Whose session is what, told by sockets and never by names: direct, pooled, or past the pooler. Pure.

A pooled and a direct session look alike by role and application_name. The two ends of a TCP connection do not: a socket
of the service that PostgreSQL names as a client is direct, one that PgBouncer names as a client is pooled.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from poolward.observed.sessions import Backend, Endpoint, PooledClient, Sessions, Socket, Traffic


@dataclass(frozen=True)
class Seen:
    """One look at all sides, taken within a second or two."""

    sockets: Mapping[str, Sequence[Socket]]
    """By application host."""
    sessions: Mapping[str, Sessions]
    """By server."""
    traffic: Mapping[str, Traffic]
    """By pooler."""


@dataclass(frozen=True)
class DirectSession:
    """A backend whose client is a process on an application host."""

    server: str
    backend: Backend
    socket: Socket

    def __str__(self) -> str:
        program = self.socket.program or "a process that has ended"
        return f"pid {self.socket.pid} {program} at {self.socket.local}, backend {self.backend.pid} on {self.server}"


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
    return Census(tuple(direct), tuple(pooled), tuple(unmatched))


def bypasses(seen: Seen, units: Mapping[str, Collection[str]]) -> list[Bypass]:
    """Sessions from application hosts that belong to none of the units declared there; `units` by host.

    Backends whose client is a pooler are told by the pooler's own list of them (SHOW SERVERS), not by their address.
    """
    pooled = {server.pid for traffic in seen.traffic.values() for server in traffic.servers}
    pooled_ends = {server.local for traffic in seen.traffic.values() for server in traffic.servers if server.local}
    owners: dict[Endpoint, tuple[str, Socket]] = {}
    addresses: dict[str, str] = {}
    for host, sockets in seen.sockets.items():
        for socket in sockets:
            owners[socket.local] = host, socket
            addresses[socket.local.address] = host
    found: list[Bypass] = []
    for local, (server, backend) in _backends(seen).items():
        if backend.pid in pooled or local in pooled_ends or local.address not in addresses:
            continue
        if local not in owners:
            found.append(Bypass(backend, server, addresses[local.address]))
            continue
        host, socket = owners[local]
        if socket.unit not in units.get(host, ()):
            found.append(Bypass(DirectSession(server, backend, socket), server, host))
    return found


def complaints(log: Iterable[str], census_of_service: Census, others: Iterable[Census], address: str) -> list[str]:
    """The lines of a pooler's log that speak of this service.

    PgBouncer names a client by its end of the connection. A line from the service's host whose port belongs to no
    other service counts as this one's: a login that failed has no session to tell it by.
    """
    foreign = {client.peer for census in others for client in census.pooled}
    mine = {client.peer for client in census_of_service.pooled}
    found: list[str] = []
    for line in log:
        end = _client_end(line)
        if end is not None and (end in mine or (end.address == address and end not in foreign)):
            found.append(line)
    return found


def _client_end(line: str) -> Endpoint | None:
    """Read `C-0x55…: tracksolid_db/app@10.0.0.31:41234 …`."""
    word = next((word for word in line.split() if "@" in word), "")
    try:
        return Endpoint.parse(word.rpartition("@")[2])
    except ValueError:
        return None


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
