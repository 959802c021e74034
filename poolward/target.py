"""Where a service's connections go: to a server, to a pooler, or to neither; and where they are to go. Pure.

An address is told by its port and by what its name resolves to on the service's own host. What cannot be told is not
guessed: a service that reaches its server by a name nobody knows is not moved.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from poolward.app_local import is_loopback
from poolward.dsn import Connection
from poolward.dsn_sockets import is_socket, no_socket_in_jdbc
from poolward.entries import entry_taken, pool_mode
from poolward.errors import PoolwardError, Problem, Refused
from poolward.fleet import Fleet, Pooler, Server
from poolward.moves import Settings
from poolward.service import Address, Service, settings_of

Resolved = Mapping[str, Collection[str]]
"""Addresses by host name, as the service's own host resolves them."""


@dataclass(frozen=True)
class Target:
    """Where a connection is to go."""

    address: Address
    entry: str
    pool_mode: str
    poolers: tuple[str, ...]
    """The pooler there; where the address stands in front of several, each of them."""
    server: str


def target(service: Service, fleet: Fleet, connection: Connection, resolved: Resolved | None = None) -> Target:
    """The pooler, its address and its entry for what this connection uses today, in the pool that is wanted.

    Raises PoolwardError where the connection's server is none of the fleet's, or no entry serves it.
    """
    server, dbname = _server_of(service, fleet, connection, resolved or {})
    host, port, poolers = _front(service, fleet)
    entries = {pooler.name: entry_taken(service, pooler, server, dbname, connection.user) for pooler in poolers}
    names = {entry.name for entry in entries.values()}
    if len(names) > 1:
        told = ", ".join(f"{entry.name} on {pooler}" for pooler, entry in entries.items())
        raise PoolwardError(
            f"Behind {service.pooler} the entry has different names: {told}.", 'Name one in "pool" that all have.'
        )
    entry, pooler = next(iter(entries.values())), poolers[0]
    if is_socket(host) and connection.shape == "jdbc":
        raise no_socket_in_jdbc()
    return Target(Address(host, port, entry.name), entry.name, pool_mode(pooler, entry), tuple(entries), server.name)


def targets(
    service: Service, fleet: Fleet, connections: Mapping[str, Connection], resolved: Resolved | None = None
) -> dict[str, Target]:
    """The target of each of a service's connections, by variable; raises Refused with all that is wrong."""
    found: dict[str, Target] = {}
    problems: list[Problem] = []
    for name, connection in connections.items():
        try:
            found[name] = target(service, fleet, connection, resolved)
        except PoolwardError as error:
            problems.append(Problem(service.where, f"{name}: {error.message}", error.hint))
    if problems:
        raise Refused("A service cannot be moved.", problems)
    return found


def standing(
    service: Service, variables: Mapping[str, str], fleet: Fleet, resolved: Resolved | None = None
) -> Settings:
    """Where the settings say that the service is: `pooled` is where it is declared to be, and nowhere else.

    `mixed` is everything between: some of its connections moved, or all through another pooler or entry. Raises
    Refused where the settings cannot be read.
    """
    found = {
        _stands(service, fleet, connection, resolved or {}) for connection in settings_of(service, variables).values()
    }
    if not found or "unknown" in found:
        return "unknown"
    return found.pop() if len(found) == 1 else "mixed"


def reached(
    service: Service, variables: Mapping[str, str], fleet: Fleet, resolved: Resolved | None = None
) -> set[str] | None:
    """The poolers the settings name today; None where a connection goes to neither a server nor a pooler known here.

    Raises Refused where the settings cannot be read.
    """
    found = paths(service, variables, fleet, resolved)
    return None if found is None else {pooler for pooler, _ in found.entries}


@dataclass(frozen=True)
class Paths:
    """Where a service's sessions go, as its settings say."""

    direct: bool
    """Whether any goes to a server."""
    entries: frozenset[tuple[str, str]]
    """The poolers, each with the entry, that the others go through."""


def paths(
    service: Service, variables: Mapping[str, str], fleet: Fleet, resolved: Resolved | None = None
) -> Paths | None:
    """Where the settings lead, declared so or not; None where a connection goes to nothing known here.

    Raises Refused where the settings cannot be read.
    """
    direct, entries = False, set()
    for connection in settings_of(service, variables).values():
        if connection.others:
            return None
        if _server_at(service, fleet, connection, resolved or {}):
            direct = True
            continue
        poolers = _poolers_at(service, fleet, connection, resolved or {})
        if not poolers:
            return None
        entries |= {(pooler.name, connection.database) for pooler in poolers}
    return Paths(direct, frozenset(entries))


def _stands(service: Service, fleet: Fleet, connection: Connection, resolved: Resolved) -> Settings:
    if connection.others:
        return "unknown"
    if _server_at(service, fleet, connection, resolved):
        return "direct"
    at_pooler = any(
        _same(service, connection.host, host, inventory_name, resolved)
        for host, _, inventory_name in _fronts(service, fleet)
    )
    if not at_pooler:
        return "unknown"
    if not service.moves:
        return "pooled"
    try:
        wanted = target(service, fleet, connection, resolved).address
    except PoolwardError:
        return "mixed"
    there = (connection.port, connection.database) == (wanted.port, wanted.database)
    there = there and is_socket(connection.host) == is_socket(wanted.host)
    return "pooled" if there and _same(service, connection.host, wanted.host, service.pooler, resolved) else "mixed"


def _server_of(service: Service, fleet: Fleet, connection: Connection, resolved: Resolved) -> tuple[Server, str]:
    """The server and database a connection ends at, directly or through a pooler's entry."""
    if connection.others:
        raise PoolwardError("It names several hosts, to be tried in turn.", "Name the one that the service needs.")
    if server := _server_at(service, fleet, connection, resolved):
        return server, connection.database
    for pooler in _poolers_at(service, fleet, connection, resolved):
        for entry in pooler.entries:
            if entry.name == connection.database:
                return fleet.servers[entry.server], entry.dbname
        known = ", ".join(entry.name for entry in pooler.entries)
        raise PoolwardError(f"{pooler.name} has no entry {connection.database!r}.", f"Its entries: {known}.")
    known = ", ".join(
        [
            *(f"{server.address}:{server.port} ({name})" for name, server in fleet.servers.items()),
            *(f"{host}:{port}" for host, port, _ in _fronts(service, fleet)),
        ]
    )
    raise PoolwardError(
        f"{connection.host or 'The local Unix socket'}, port {connection.port}, is neither a server nor a pooler of "
        f"the fleet as far as its name and addresses tell.",
        f"Known: {known}. Declare the server's own address (postgresql_address), or correct the service's settings.",
    )


def _server_at(service: Service, fleet: Fleet, connection: Connection, resolved: Resolved) -> Server | None:
    return next(
        (
            server
            for server in fleet.servers.values()
            if server.port == connection.port and _same(service, connection.host, server.address, server.name, resolved)
        ),
        None,
    )


def _poolers_at(service: Service, fleet: Fleet, connection: Connection, resolved: Resolved) -> tuple[Pooler, ...]:
    """The poolers a connection reaches: the one at that address, or those behind the service's own."""
    for pooler in _reachable(service, fleet):
        for host in _hostnames(service, pooler):
            if pooler.port == connection.port and _same(service, connection.host, host, pooler.name, resolved):
                return (pooler,)
    if service.pooler and service.pooler not in fleet.poolers:
        host, port, poolers = _front(service, fleet)
        if port == connection.port and _same(service, connection.host, host, "", resolved):
            return poolers
    return ()


def _reachable(service: Service, fleet: Fleet) -> tuple[Pooler, ...]:
    """The poolers that a service can connect to: an app-local one serves its own host alone."""
    return tuple(one for one in fleet.poolers.values() if not one.app_local or one.name == service.host)


def _fronts(service: Service, fleet: Fleet) -> list[tuple[str, int, str]]:
    """Every address of a pooler that this service may name, with the pooler's name in the inventory."""
    own = [(*split_address(service.pooler), "")] if service.pooler and service.pooler not in fleet.poolers else []
    reachable = _reachable(service, fleet)
    return [*((host, one.port, one.name) for one in reachable for host in _hostnames(service, one)), *own]


def _hostnames(service: Service, pooler: Pooler) -> list[str]:
    """How a service may call a pooler, its own way first: a container calls one beside it by its name."""
    beside = service.compose_service and service.host == pooler.name and pooler.runtime.network_name
    return [pooler.runtime.network_name, pooler.hostname] if beside else [pooler.hostname]


def _front(service: Service, fleet: Fleet) -> tuple[str, int, tuple[Pooler, ...]]:
    """The address the service is to use, and the poolers that answer there."""
    if pooler := fleet.poolers.get(service.pooler):
        host = _hostnames(service, pooler)[0]
        if _is_own(host) and (pooler.name != service.host or service.compose_service):
            raise PoolwardError(
                f"{pooler.name} is known as {pooler.hostname} only, which is no address of it on {service.host}.",
                f'Give {pooler.name} an "address" in the inventory, or write "pooler": "host:port".',
            )
        return host, pooler.port, (pooler,)
    host, port = split_address(service.pooler)
    poolers = _reachable(service, fleet)
    at = tuple(pooler for pooler in poolers if host in (pooler.name, pooler.hostname, pooler.address))
    return host, port, at or poolers


def split_address(text: str) -> tuple[str, int]:
    """host:port or [address]:port; raises ValueError."""
    host, _, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError("not host:port")
    if host.startswith("[") != (":" in host):
        raise ValueError("an IPv6 address stands in [ ]")
    return host.strip("[]"), int(port)


def _same(service: Service, host: str, address: str, inventory_name: str, resolved: Resolved) -> bool:
    """Whether a name in the settings is this machine; by addresses where both have them, else by its name."""
    if _is_own(host):
        # In a container this is the container.
        return inventory_name == service.host and not service.compose_service
    mine, theirs = _addresses(host, resolved), _addresses(address, resolved)
    if mine and theirs:
        return bool(mine & theirs)
    return host.lower() in {address.lower(), inventory_name.lower()}


def _addresses(host: str, resolved: Resolved) -> set[str]:
    known = {host, *resolved.get(host, ())}
    return {address for name in known if (address := _literal(name))}


def _literal(host: str) -> str:
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return ""


def _is_own(host: str) -> bool:
    """Whether this means the machine itself: a loopback address or a Unix socket."""
    return host.lower() in ("", "localhost") or is_socket(host) or is_loopback(host)
