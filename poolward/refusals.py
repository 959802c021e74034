"""Why a deploy would be refused before its first change: one list, for `plan` and for the deploy itself."""

from __future__ import annotations

from collections.abc import Iterable

from pyinfra.api import Inventory

from poolward import advice, auth_role, auth_users, handing_over, secrets
from poolward.desired import pooler_config
from poolward.errors import PoolwardError, Problem, Refused
from poolward.fleet import Pooler
from poolward.inventory import in_limit
from poolward.survey import Survey


def of(seen: Survey, inventory: Inventory, servers: Iterable[str]) -> list[Problem]:
    """Everything that speaks against what is declared, given what was seen; runs the operator's password commands.

    `servers` are those whose readiness is judged: `plan` leaves out the ones it asks by a connection string.
    """
    problems: list[Problem] = []
    for name in seen.poolers:
        problems += _misfits(seen, name)
        problems += _forced_users(seen.fleet.poolers[name])
        problems += auth_users.problems(seen.fleet, name, seen.servers)
    problems += secrets.user_problems(inventory, seen.fleet, seen.poolers)
    for name in servers:
        server, state = seen.fleet.servers[name], seen.servers[name]
        problems += advice.problems(seen.fleet, server, state, seen.networks(name), list(seen.poolers))
        problems += _auth_role(seen, inventory, name)
        if server.hostless:
            problems += _handed_over(seen, name)
    return problems


def _auth_role(seen: Survey, inventory: Inventory, name: str) -> list[Problem]:
    """Read its secret, where it decides."""
    server, state = seen.fleet.servers[name], seen.servers[name]
    run = [pooler for pooler in seen.fleet.poolers if in_limit(inventory.state, pooler)]
    outside = auth_role.served_from_outside(seen.fleet, server, run)
    unknown = auth_role.unknown(server, state)
    if server.hostless or not (unknown or outside):
        return auth_role.somebody_elses(server, state, None)
    try:
        own = secrets.read(inventory.get_host(name), server)
    except PoolwardError as error:
        return [Problem(name, error.message, error.hint)]
    return [*auth_role.somebody_elses(server, state, own), *auth_role.left_behind(server, own, outside)]


def _handed_over(seen: Survey, name: str) -> list[Problem]:
    try:
        return handing_over.of(seen, name).problems()
    except PoolwardError as error:
        return [Problem(name, error.message, error.hint)]


def _forced_users(pooler: Pooler) -> Iterable[Problem]:
    """Entries with one role for all server logins: PgBouncer needs its password in clear, no verifier logs in."""
    for entry in pooler.entries:
        if "user" in entry.keys:
            yield Problem(
                f'{pooler.name}: pgbouncer_databases["{entry.name}"]',
                f"with `user` PgBouncer logs in as {entry.keys['user']} by its password in clear, which Poolward "
                "writes to no file: every login through this entry would fail",
                "leave `user` out: each client is then logged in as the role it named",
            )


def _misfits(seen: Survey, name: str) -> tuple[Problem, ...]:
    """Render a pooler's files for the version it has or will get."""
    version = seen.version(name)
    try:
        if version is not None:
            _ = pooler_config(seen.fleet, name, version).ini
    except Refused as refused:
        return refused.problems
    return ()
