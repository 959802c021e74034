"""A fleet brought to life on scratch processes, and what its server's log says of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property

from poolward import budget, render, userlist
from poolward.bill import Bill
from poolward.desired import pooler_config
from poolward.fleet import AUTH_ENTRY_SINCE, AUTH_POOL_SIZE, AUTH_ROLE, USER_LINES_SINCE, Entry, Fleet, Pooler
from poolward.pools import EntryPools, process_bound
from poolward.settings import Version
from poolward.userlist import Secrets
from tests.lab.connection_log import Backend, Place, Span, backends, held, peak, spans
from tests.lab.fleet_load import Door
from tests.lab.random_fleets import ROLES, auth_database, databases
from tests.lab.scratch import ScratchPooler, ScratchServer
from tests.unit.samples import server_state

# 1.18 ends with a FATAL where a cancel request meets the end of the connection it is for (pgbouncer#815, #846, #849).
SURVIVES_CANCELS_SINCE = Version(1, 19, 1)


@dataclass(frozen=True)
class Staged:
    """A fleet whose poolers run. The databases are its own: all that the log says of them is of this fleet."""

    name: str
    fleet: Fleet
    versions: Mapping[str, Version]
    server: ScratchServer
    poolers: tuple[ScratchPooler, ...]

    def doors(self) -> list[Door]:
        """Every way in that the roles have."""
        return [
            Door(
                pooler.address,
                pooler.config.port,
                entry.name,
                role,
                self.server.passwords[role],
                single_statements=_mode(pooler, entry, role) == "statement",
                cancels=pooler.config.version >= SURVIVES_CANCELS_SINCE,
            )
            for pooler in self.poolers
            for entry in pooler.config.pooler.entries
            for role in _roles(self.fleet, pooler.config.pooler)
        ]

    @cached_property
    def bill(self) -> Bill:
        recorded = server_state()
        state = replace(recorded, roles=dict.fromkeys(ROLES, recorded.roles["worker"]))
        return budget.bill(self.fleet, "db1", state, self.versions)

    def console(self, command: str) -> None:
        """Say it to every pooler."""
        for pooler in self.poolers:
            pooler.console(command)

    def backends(self) -> list[Backend]:
        """What PostgreSQL has had of it so far."""
        return backends(self.server.log_of(self.name))

    def peak_so_far(self) -> int:
        """The most PostgreSQL has had of it at once."""
        return peak(self.backends())

    def outcome(self, told: Mapping[str, int] | None = None) -> Outcome:
        """How it looks now."""
        told_of: dict[Place, list[Span]] = {}
        for pooler in self.poolers:
            told_of |= spans(pooler.log())
        addresses = {pooler.name: pooler.address for pooler in self.poolers}
        seen = self.backends()
        return Outcome(
            self.name, self.fleet, self.versions, self.bill, addresses, held(seen, told_of), seen, told or {}
        )


@dataclass(frozen=True)
class Outcome:
    """What was declared, and what PostgreSQL had."""

    name: str
    fleet: Fleet
    versions: Mapping[str, Version]
    bill: Bill
    addresses: Mapping[str, str]
    backends: list[Backend]
    """Each until its pooler hung up."""
    in_the_log: list[Backend]
    """The same, each until PostgreSQL had ended it."""
    told: Mapping[str, int] = field(default_factory=dict)
    """What the clients did."""

    def share(self, pooler: str, database: str | None = None) -> int:
        """What the bill gives a pooler, in all or in one database."""
        if database == auth_database(self.name):
            return AUTH_POOL_SIZE * self.fleet.servers["db1"].auth_query
        lines = [line for line in self.bill.takes if line.pooler == pooler]
        reached = {entry.name for entry in self.fleet.poolers[pooler].entries if entry.dbname == database}
        return sum(line.connections for line in lines if database is None or line.entry in reached)

    def peak(self, pooler: str | None = None, database: str | None = None) -> int:
        """The most there were at once, in all or of one pooler or of one pooler in one database."""
        return peak(
            backend
            for backend in self.backends
            if (pooler is None or backend.address == self.addresses[pooler]) and database in (None, backend.database)
        )

    @property
    def filled(self) -> float:
        """The peak, as a share of what can be reached."""
        return self.peak() / sum(map(self.reachable, self.fleet.poolers))

    def reconnects(self, pooler: str) -> int:
        """One was said, and a RELOAD, which is another for some versions."""
        return budget.reconnects(self.versions[pooler])

    def reachable(self, pooler: str, reconnects: int = 0) -> int:
        """What one process can reach with the roles there are, by PgBouncer's own rules."""
        declared, version = self.fleet.poolers[pooler], self.versions[pooler]
        asks = self.fleet.servers["db1"].auth_query
        roles = _roles(self.fleet, declared)
        inside = (AUTH_ROLE,) if asks and version < AUTH_ENTRY_SINCE else ()
        entries = [_pools(declared, entry, (*roles, *inside), reconnects) for entry in declared.entries]
        if asks and not inside:
            lookups = EntryPools(AUTH_ROLE, AUTH_POOL_SIZE, 0, AUTH_POOL_SIZE, (AUTH_ROLE,), reconnects=reconnects)
            entries.append(lookups)
        # Before 1.23 it counts over all entries for those in userlist.txt alone.
        counted = (*roles, AUTH_ROLE) if version >= USER_LINES_SINCE or not asks else (AUTH_ROLE,)
        return process_bound(entries, {role: declared.user_limit(role) for role in counted})

    def __str__(self) -> str:
        poolers = self.fleet.poolers.values()
        declared = {found.name: (found.settings, found.entries, found.users) for found in poolers}
        peaks = f"peak {self.peak()}, {peak(self.in_the_log)} until PostgreSQL had ended them"
        return f"{self.name}: {declared}, {self.bill.takes}, {peaks}, clients {dict(self.told)}"


@contextmanager
def staged(server: ScratchServer, name: str, fleet: Fleet, versions: Mapping[str, Version]) -> Iterator[Staged]:
    """The fleet runs for a while, on the files the product renders."""
    server.create_databases([*databases(name), auth_database(name)])
    with ExitStack() as running:
        poolers = []
        for pooler in fleet.poolers.values():
            config = pooler_config(fleet, pooler.name, versions[pooler.name])
            users = userlist.entries(config, {"db1": Secrets(server.passwords, server.verifiers)}, {}, None)
            # What PgBouncer itself logs in with has to be there in clear, and of a forced user it is the operator's.
            forced = {str(entry.keys["user"]) for entry in pooler.entries if "user" in entry.keys}
            users |= {role: server.passwords[role] for role in forced}
            poolers.append(running.enter_context(ScratchPooler(server.lab, config).running(render.userlist_txt(users))))
        yield Staged(name, fleet, versions, server, tuple(poolers))


def _roles(fleet: Fleet, pooler: Pooler) -> tuple[str, ...]:
    """Who may log in there."""
    by_file = tuple(user.name for user in pooler.auth_users)
    return ROLES if fleet.servers["db1"].auth_query else by_file


def _pools(pooler: Pooler, entry: Entry, users: tuple[str, ...], reconnects: int) -> EntryPools:
    forced = entry.keys.get("user")
    reserved = bool(pooler.effective("reserve_pool_timeout"))  # 0 switches the reserve off
    return EntryPools(
        entry.name,
        pooler.entry_size(entry),
        pooler.entry_reserve(entry) * reserved,
        pooler.entry_limit(entry),
        (str(forced),) if forced else users,
        pooler.limits_per_user("pool_size"),
        pooler.limits_per_user("reserve_pool_size") if reserved else {},
        reconnects,
    )


def _mode(pooler: ScratchPooler, entry: Entry, role: str) -> object:
    """The pool mode a client of this role gets: its own, the entry's, or the pooler's."""
    declared = pooler.config.pooler
    own = declared.users.get(str(entry.keys.get("user", role)), {})
    return own.get("pool_mode") or entry.keys.get("pool_mode") or declared.effective("pool_mode")
