"""The bill: what a PostgreSQL server really has, and what the poolers may open on it at worst. Pure.

An upper bound, judged by the state after all declared moves. Each pooler host counts for itself: nothing is shared
between PgBouncer processes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from poolward import caveats
from poolward.bill import Bill, Line
from poolward.fleet import (
    AUTH_ENTRY_SINCE,
    AUTH_POOL_SIZE,
    PROBE_CONNECTION_LIMIT,
    PROBE_ROLE,
    Entry,
    Fleet,
    Pooler,
    Server,
)
from poolward.observed import ServerState
from poolward.pools import EntryPools, process_bound
from poolward.settings import Version
from poolward.staying import Sessions

_WALSENDERS_COUNT_BEFORE = 120000
# Failing over, or changing a connection string by a deploy, is one; a pool may meet it with all its connections busy.
_RECONNECTS = 1
# PgBouncer 1.18 takes a RELOAD for a change of every connection string (tests/lab/test_budget_under_load.py), and each
# deploy says one. 1.24 does not; the versions in between were not tried, and count as if they did.
RELOAD_IS_NO_RECONNECT_SINCE = Version(1, 24)


class Seen(Protocol):
    """What was seen of a fleet (`survey.Survey`)."""

    @property
    def fleet(self) -> Fleet: ...
    @property
    def servers(self) -> Mapping[str, ServerState]: ...
    def addresses(self, server: str) -> Mapping[str, str]: ...
    def versions(self) -> Mapping[str, Version | None]: ...
    def opened(self, server: str) -> Mapping[str, int]: ...


def bill(
    fleet: Fleet,
    name: str,
    state: ServerState,
    versions: Mapping[str, Version | None],
    addresses: Mapping[str, str] | None = None,
    opened: Mapping[str, int] | None = None,
) -> Bill:
    """The bill of one server; `versions`, `addresses` and `opened` by pooler, each where it was seen.

    A pooler nobody looked at counts as declared.
    """
    roles = passing_roles(fleet, name, state)
    takes: list[Line] = []
    for pooler in fleet.poolers.values():
        version = versions.get(pooler.name) or pooler.declared_version
        takes += _pooler_lines(pooler, fleet.servers[name], version, roles)
    takes.append(Line(PROBE_ROLE, 0, f"at most {PROBE_CONNECTION_LIMIT}, counted inside the entries"))
    sessions = Sessions(fleet, name, state, addresses or {}, opened or {})
    stays = [Line(f"stays direct: {one.who}", -one.connections, one.source, sure=one.sure) for one in sessions.stays()]
    return Bill(
        name,
        state.version,
        (*_server_lines(state), *stays),
        tuple(takes),
        tuple(caveats.of(fleet, name, state, versions, roles)),
        tuple(sessions.notes()),
    )


def bills(seen: Seen) -> dict[str, Bill]:
    """The bill of every server that was seen."""
    return {
        name: bill(seen.fleet, name, state, seen.versions(), seen.addresses(name), seen.opened(name))
        for name, state in seen.servers.items()
    }


def direct_now(seen: Seen, name: str) -> int:
    """Client backends of a server that do not come from a pooler, as seen now."""
    return Sessions(seen.fleet, name, seen.servers[name], seen.addresses(name), seen.opened(name)).direct_now()


def passing_roles(fleet: Fleet, name: str, state: ServerState) -> list[str]:
    """The roles of a server that may log in through a pooler today, or might, where their password was not seen."""
    server = fleet.servers[name]
    return sorted(
        role
        for role, found in state.roles.items()
        if found.login
        and found.password in ("scram-sha-256", None)
        and role != server.auth_role
        and (server.auth_query or role in server.auth_users)
        and (not (found.superuser or found.replication) or role in server.allow_superusers)
    )


def reconnects(version: Version | None) -> int:
    """How often a pool may be reconnected while all its connections are busy."""
    return _RECONNECTS + (version is not None and version < RELOAD_IS_NO_RECONNECT_SINCE)


def entry_pools(
    pooler: Pooler, entry: Entry, by_file: Iterable[str] | None = None, version: Version | None = None
) -> EntryPools:
    """An entry's pools; `by_file` are the roles that may log in where userlist.txt alone decides.

    Where auth_query is asked they are not bounded, because it admits every role that may log in.
    """
    forced = entry.keys.get("user")
    users = (str(forced),) if forced else None if by_file is None else (*by_file, PROBE_ROLE)
    probe = {PROBE_ROLE: PROBE_CONNECTION_LIMIT - reconnects(version)}, {PROBE_ROLE: 0}
    return EntryPools(
        name=entry.name,
        pool_size=pooler.entry_size(entry),
        reserve_pool_size=pooler.entry_reserve(entry),
        max_db_connections=pooler.entry_limit(entry),
        users=users,
        user_pool_size=pooler.limits_per_user("pool_size") | probe[0],
        user_reserve_pool_size=pooler.limits_per_user("reserve_pool_size") | probe[1],
        reconnects=reconnects(version),
    )


def _pooler_lines(pooler: Pooler, server: Server, version: Version | None, roles: Sequence[str]) -> list[Line]:
    by_file = None if server.auth_query else [user.name for user in pooler.auth_users if user.name in roles]
    entries = [entry_pools(pooler, entry, by_file, version) for entry in pooler.entries if entry.server == server.name]
    lines = [
        Line(f"{pooler.name}  {pools.name}", pools.bound, _source(pools, len(roles)), pooler.name, pools.name)
        for pools in entries
    ]
    by_entry = sum(line.connections for line in lines)
    limits = {user: pooler.user_limit(user) for pools in entries for user in pools.users or ()}
    if (by_user := process_bound(entries, limits)) < by_entry:
        lines.append(
            Line(
                f"{pooler.name}  limits of roles",
                by_user - by_entry,
                "max_user_connections, over all entries",
                pooler.name,
            )
        )
    if lines and server.auth_query and (version is None or version >= AUTH_ENTRY_SINCE):
        lines.append(Line(f"{pooler.name}  lookup of verifiers", AUTH_POOL_SIZE, "an entry of its own", pooler.name))
    return lines


def _source(pools: EntryPools, roles: int) -> str:
    each = f"{pools.pool_size} + {pools.reserve_pool_size}"
    when = "a RECONNECT" if pools.reconnects == _RECONNECTS else "a RELOAD and a RECONNECT"
    after = f"{each} + {pools.reconnects} at {when}"
    if pools.users and PROBE_ROLE in pools.users:
        total = sum(map(pools.pool, pools.users))
        pooled = f"{len(pools.users) - 1} of userlist.txt × ({after}) and the probe = {total}"
        return f"max_db_connections; {pooled} without it" if pools.bound < total else pooled
    if pools.users is not None:
        return f"one pool of {after}, as {', '.join(pools.users)}, up to max_db_connections"
    without = roles * (pools.pool_size + pools.reserve_pool_size)
    return f"max_db_connections; {roles} roles × ({each}) = {without} without it"


def _server_lines(state: ServerState) -> list[Line]:
    lines = [
        Line("max_connections", state.max_connections),
        Line("kept for superusers", -state.superuser_reserved_connections, "superuser_reserved_connections"),
    ]
    if state.reserved_connections:
        lines.append(Line("kept for pg_use_reserved_connections", -state.reserved_connections, "reserved_connections"))
    if state.version_num < _WALSENDERS_COUNT_BEFORE and state.max_wal_senders:
        lines.append(Line("walsenders, which count before 12", -state.max_wal_senders, "max_wal_senders"))
    return lines
