"""What the numbers of a bill do not show: roles, limits and sessions that an operator should know of. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from poolward.fleet import AUTH_ENTRY_SINCE, PROBE_ROLE, USER_LINES_SINCE, Fleet, Pooler
from poolward.observed import ServerState
from poolward.settings import Version

# It ends with a FATAL where the two meet (pgbouncer#815, #846, #849).
_SURVIVES_CANCELS_SINCE = Version(1, 19, 1)


def of(
    fleet: Fleet,
    name: str,
    state: ServerState,
    versions: Mapping[str, Version | None],
    roles: Sequence[str],
) -> list[str]:
    """Sentences to print under the bill of a server; `roles` are those that may log in through a pooler today."""
    return [
        *_today(fleet, state),
        *_superusers(fleet, name, state),
        *_limits_of_roles(fleet, name, state, roles),
        *_limits_of_databases(fleet, name, state),
        *_left_running(name, state),
        *_poolers(fleet, name, versions),
    ]


def _today(fleet: Fleet, state: ServerState) -> Iterable[str]:
    """What the services may open while all of them are direct: the incident, where it is more than the server has."""
    counted = [declared for declared in fleet.services if declared.connections is not None]
    has = state.max_connections - state.superuser_reserved_connections - state.reserved_connections
    may = sum(declared.connections or 0 for declared in counted)
    if len(fleet.servers) == 1 and may > has:
        yield (
            f"All direct, the {len(counted)} services that say so may open {may} connections, {may - has} more than "
            f"the {has} for applications."
        )


def _superusers(fleet: Fleet, name: str, state: ServerState) -> Iterable[str]:
    pooled = [
        role for role in fleet.servers[name].allow_superusers if role in state.roles and state.roles[role].superuser
    ]
    if pooled:
        yield (
            f"The {state.superuser_reserved_connections} connections kept for superusers are not safe: "
            f"{', '.join(pooled)} is pooled and superuser."
        )


def _limits_of_roles(fleet: Fleet, name: str, state: ServerState, roles: Sequence[str]) -> Iterable[str]:
    """A role's CONNECTION LIMIT holds for all poolers together; PostgreSQL does not apply it to superusers."""
    for role in roles:
        found = state.roles[role]
        most = sum(_most_of_role(pooler, name, role) for pooler in fleet.poolers.values())
        if 0 <= found.connection_limit < most and not found.superuser and role != PROBE_ROLE:
            yield (
                f"{role} has CONNECTION LIMIT {found.connection_limit}, and its pools may open {most} "
                "(all entries of all poolers): beyond that its logins fail."
            )


def _most_of_role(pooler: Pooler, server: str, role: str) -> int:
    pools = sum(
        min(pooler.entry_size(entry) + pooler.entry_reserve(entry), pooler.entry_limit(entry))
        for entry in pooler.entries
        if entry.server == server and entry.keys.get("user", role) == role
    )
    return min(pools, pooler.user_limit(role) or pools)


def _limits_of_databases(fleet: Fleet, name: str, state: ServerState) -> Iterable[str]:
    for database in fleet.pooled_databases[name]:
        limit = state.databases[database].connection_limit if database in state.databases else -1
        most = sum(
            pooler.entry_limit(entry)
            for pooler in fleet.poolers.values()
            for entry in pooler.entries
            if (entry.server, entry.dbname) == (name, database)
        )
        if 0 <= limit < most:
            yield (
                f"The database {database} has CONNECTION LIMIT {limit}, and the poolers may open {most} on it: "
                "beyond that logins fail, but a superuser's."
            )


def _left_running(name: str, state: ServerState) -> Iterable[str]:
    """PgBouncer hangs up when a client leaves in the middle of a statement; PostgreSQL only sees it when that ends."""
    if state.client_connection_check_interval in (None, "0"):
        since = "" if state.client_connection_check_interval else " (from PostgreSQL 14 on)"
        yield (
            f"A statement whose client has gone runs on to its end on {name}, beyond all that is counted here: its "
            f"pooler has hung up and opens another connection. client_connection_check_interval = '2s'{since} ends it."
        )


def _poolers(fleet: Fleet, name: str, versions: Mapping[str, Version | None]) -> Iterable[str]:
    own = [one for one, pooler in fleet.poolers.items() if any(entry.server == name for entry in pooler.entries)]
    for pooler, version in versions.items():
        if version is not None and pooler in own:
            yield from _old(fleet.poolers[pooler], version)
        if pooler in own and fleet.servers[name].auth_query and version is not None and version < AUTH_ENTRY_SINCE:
            yield (
                f"{pooler} has PgBouncer {version}: it looks up verifiers inside each entry, so an entry whose "
                "connections are all busy lets nobody log in until one is free."
            )
    if len(own) == 1 and not fleet.poolers[own[0]].app_local:
        yield f"{own[0]} is the only pooler of {name}: while it is down, nobody reaches the database."


def _old(pooler: Pooler, version: Version) -> Iterable[str]:
    if version < _SURVIVES_CANCELS_SINCE:
        yield (
            f"{pooler.name} has PgBouncer {version}, which dies when a request to cancel a query meets the end of that "
            "query's connection (pgbouncer#815, #846): systemd starts it again within a second, and every client is "
            f"cut. {_SURVIVES_CANCELS_SINCE} does not."
        )
    if version < USER_LINES_SINCE and int(str(pooler.effective("max_user_connections") or 0)):
        yield (
            f"{pooler.name} has PgBouncer {version}, which counts max_user_connections in each entry anew for roles "
            f"that auth_query admits; from {USER_LINES_SINCE} on it counts over all entries."
        )
