"""Who holds the connections of a server: services, other programs, poolers, told by sockets. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from poolward.evidence import Seen, census, hosts_by_address
from poolward.fleet import Fleet
from poolward.observed.sessions import Backend
from poolward.observed.sockets import Endpoint, Socket

Kind = Literal["service", "pooler", "program", "address", "server"]
Session = tuple[str, Endpoint | int]
"""A session by its server and its client's end; by its backend's pid where it came over a Unix socket."""
Place = tuple[str, str]
"""A host and a unit on it."""


class Login(NamedTuple):
    """Who a session is to its server."""

    server: str
    role: str
    database: str


@dataclass(frozen=True)
class Owner:
    """Whose a session is, as well as its socket tells."""

    name: str
    kind: Kind
    program: str = ""
    host: str = ""
    """The application host it comes from."""


@dataclass(frozen=True)
class Holder:
    """Sessions of one owner that are alike."""

    owner: Owner
    role: str
    superuser: bool
    database: str
    application: str
    address: str
    sessions: int
    states: Mapping[str, int]
    idle: float
    """Seconds the one that has been idle longest has been so; 0 where none is."""


@dataclass(frozen=True)
class Presence:
    """The sessions of a service over all looks."""

    direct: int = 0
    """The most at once that went straight to a server."""
    pooled: int = 0
    superuser: bool = False
    logins: tuple[Login, ...] = ()


@dataclass(frozen=True)
class Identities:
    """Whose every session was over all looks, and who was seen under which login."""

    owners: Mapping[Session, Owner]
    hosts: Mapping[str, str]
    """Application hosts by the addresses their connections come from."""
    presence: Mapping[str, Presence]
    """By service."""
    strangers: Mapping[Login, frozenset[str]]
    """Who else was seen under a login; poolers are not, because those behind them are."""

    def owner(self, server: str, pid: int, peer: Endpoint | None) -> Owner:
        """Whose a session is; one that was in no look is told by its address alone."""
        known = self.owners.get((server, peer or pid))
        return known or (_by_address(peer, self.hosts) if peer else Owner(f"{server} itself", "server"))


def identify(fleet: Fleet, looks: Sequence[Seen], services: Mapping[str, Place]) -> Identities:
    """Put the looks together; `services` gives each service's host and unit by its name."""
    owned: dict[Session, Owner] = {}
    strangers: dict[Login, set[str]] = {}
    for seen in looks:
        found = owners(seen, services)
        owned |= found
        for server, sessions in seen.sessions.items():
            for backend in sessions.backends:
                owner = found[session_of(server, backend)]
                if owner.kind not in ("service", "pooler"):
                    strangers.setdefault(Login(server, backend.role, backend.database), set()).add(owner.name)
    return Identities(
        owned,
        {address: min(hosts) for seen in looks for address, hosts in hosts_by_address(seen).items()},
        {name: _presence(fleet, looks, *place) for name, place in services.items()},
        {login: frozenset(names) for login, names in strangers.items()},
    )


def owners(seen: Seen, services: Mapping[str, Place]) -> dict[Session, Owner]:
    """The owner of every backend that was seen."""
    sockets = {socket.local: (host, socket) for host, found in seen.sockets.items() for socket in found}
    names = {place: name for name, place in services.items() if place[1]}
    pooled: dict[Endpoint | int, str] = {
        server.local or server.pid: pooler for pooler, traffic in seen.traffic.items() for server in traffic.servers
    }

    def owner(server: str, backend: Backend) -> Owner:
        if pooler := pooled.get(backend.peer or backend.pid):
            return Owner(pooler, "pooler", "pgbouncer")
        if backend.peer is None:
            return Owner(f"{server} itself", "server")
        if backend.peer not in sockets:
            return _by_address(backend.peer, {one: min(hosts) for one, hosts in hosts_by_address(seen).items()})
        return _by_socket(*sockets[backend.peer], names)

    return {
        session_of(server, backend): owner(server, backend)
        for server, sessions in seen.sessions.items()
        for backend in sessions.backends
    }


def session_of(server: str, backend: Backend) -> Session:
    """What a session is known by."""
    return server, backend.peer or backend.pid


def holders(server: str, backends: Iterable[Backend], owned: Mapping[Session, Owner]) -> list[Holder]:
    """The sessions of one server, those alike together, the most first."""
    groups: dict[tuple[Owner, str, bool, str, str, str], list[Backend]] = {}
    for backend in backends:
        address = backend.peer.address if backend.peer else "local"
        who = (owned[session_of(server, backend)], backend.role, backend.superuser)
        groups.setdefault((*who, backend.database, backend.application, address), []).append(backend)
    found = [
        Holder(
            *alike,
            sessions=len(members),
            states=dict(Counter(backend.state for backend in members).most_common()),
            idle=max((backend.idle for backend in members if backend.state.startswith("idle")), default=0.0),
        )
        for alike, members in groups.items()
    ]
    return sorted(found, key=lambda holder: (-holder.sessions, holder.owner.name, holder.role))


def _by_socket(host: str, socket: Socket, names: Mapping[Place, str]) -> Owner:
    if service := names.get((host, socket.unit)):
        return Owner(service, "service", socket.program, host)
    return Owner(f"{socket.unit or socket.program or 'a process'} on {host}", "program", socket.program, host)


def _by_address(peer: Endpoint, hosts: Mapping[str, str]) -> Owner:
    host = hosts.get(peer.address, "")
    return Owner(f"a process on {host}" if host else peer.address, "address", host=host)


def _presence(fleet: Fleet, looks: Sequence[Seen], host: str, unit: str) -> Presence:
    found = [census(seen, host, unit) for seen in looks] if unit else []
    direct = [session for one in found for session in one.direct]
    mine = {client for one in found for client in one.pooled}
    logins = {Login(session.server, session.backend.role, session.backend.database) for session in direct}
    for seen in looks:
        for name, traffic in seen.traffic.items():
            entries = {entry.name: entry for entry in fleet.poolers[name].entries}
            logins |= {
                Login(entries[client.database].server, client.role, entries[client.database].dbname)
                for client in traffic.clients
                if client in mine and client.database in entries
            }
    return Presence(
        direct=max((len(one.direct) for one in found), default=0),
        pooled=max((len(one.pooled) for one in found), default=0),
        superuser=any(session.backend.superuser for session in direct),
        logins=tuple(sorted(logins)),
    )
