"""The connection arithmetic: what the poolers may open on a server, against what the server really has. Pure.

An upper bound: PgBouncer counts per process and per `[databases]` entry, and `max_db_connections`, which every entry
gets, bounds all pools of an entry together, the lookups of verifiers inside it included.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from poolward.fleet import AUTH_ENTRY_SINCE, AUTH_POOL_SIZE, PROBE_CONNECTION_LIMIT, PROBE_ROLE, Fleet
from poolward.observed import ServerState
from poolward.settings import Version


@dataclass(frozen=True)
class Line:
    """One line of the bill: what, how many connections, and where the number comes from."""

    what: str
    connections: int
    source: str = ""


@dataclass(frozen=True)
class Bill:
    """What a server has, and what each pooler may take of it."""

    server: str
    version: str
    has: tuple[Line, ...]
    takes: tuple[Line, ...]

    @property
    def left(self) -> int:
        """Connections left for the poolers."""
        return sum(line.connections for line in self.has)

    @property
    def worst_case(self) -> int:
        """Connections the poolers may open together."""
        return sum(line.connections for line in self.takes)

    @property
    def fits(self) -> bool:
        return self.worst_case <= self.left

    @property
    def verdict(self) -> str:
        """The sentence under the bill."""
        if self.fits:
            return f"fits, {self.left - self.worst_case} to spare"
        return f"does NOT fit: {self.worst_case - self.left} too many"


def bill(fleet: Fleet, name: str, state: ServerState, versions: Mapping[str, Version | None]) -> Bill:
    """The bill of one server, after all declared moves: services declared `direct` and strangers stay as seen now.

    `versions` by pooler; a pooler this run did not see counts with what it is declared to have.
    """
    has = [
        Line("max_connections", state.max_connections),
        Line("kept for superusers", -state.superuser_reserved_connections, "superuser_reserved_connections"),
    ]
    if state.reserved_connections:
        has.append(Line("kept for pg_use_reserved_connections", -state.reserved_connections, "reserved_connections"))
    takes: list[Line] = []
    for pooler in fleet.poolers.values():
        entries = [entry for entry in pooler.entries if entry.server == name]
        takes += [
            Line(f"{pooler.name}  {entry.name}", pooler.entry_limit(entry), "max_db_connections") for entry in entries
        ]
        version = versions.get(pooler.name) or pooler.declared_version
        if entries and (version is None or version >= AUTH_ENTRY_SINCE):
            takes.append(Line(f"{pooler.name}  lookup of verifiers", AUTH_POOL_SIZE, "an entry of its own"))
    takes.append(Line(PROBE_ROLE, 0, f"at most {PROBE_CONNECTION_LIMIT}, counted inside the entries"))
    return Bill(name, state.version, tuple(has), tuple(takes))


def direct_now(fleet: Fleet, state: ServerState, addresses: Mapping[str, str]) -> int:
    """Client backends that do not come from a pooler, as seen now."""
    poolers = {addresses[name] for name in fleet.poolers if name in addresses}
    return sum(int(row["count"]) for row in state.backends if row["address"] not in poolers)
