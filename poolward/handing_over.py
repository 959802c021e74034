"""`poolward handover`: what a server without a host lacks, read by its connection string, and SQL for its owner."""

from __future__ import annotations

from dataclasses import dataclass

from poolward import inventory, survey  # isort: skip - inventory loads pyinfra, which must come before paramiko
from pyinfra.api import State

from poolward import auth, secrets
from poolward.errors import PoolwardError, Problem, Refused
from poolward.handover import Handover
from poolward.survey import Survey


@dataclass(frozen=True)
class Handed:
    """What one server's owner is to run."""

    server: str
    sql: str
    """Empty where there is nothing to do."""


def make(path: str, name: str | None, *, remove: bool) -> Handed:
    """The SQL for one server of an inventory; `remove`: the way back. Raises PoolwardError where several have one."""
    with inventory.opened(path) as state:
        return _made(state, name, remove=remove)


def of(seen: Survey, name: str) -> Handover:
    """What was seen of one server, with a login of the poolers' own roles where their secrets are in reach."""
    server, state = seen.fleet.servers[name], seen.servers[name]
    # As a deploy will leave them: it cannot come back to the owner in its middle.
    versions = {
        pooler: lasting or seen.fleet.poolers[pooler].declared_version or seen.poolers[pooler].candidate_version
        for pooler, lasting in seen.lasting_versions().items()
    }
    lookups = auth.databases_with_lookup(seen.fleet, server, versions)
    wrong = secrets.turned_away(server, state.roles)
    return Handover(seen.fleet, server, state, lookups, seen.networks(name), tuple(wrong))


def sql(seen: Survey, name: str) -> str:
    """The SQL for the owner of a server; empty where there is nothing to do, or nobody can tell what."""
    try:
        found = of(seen, name)
        return found.script if found.pending else ""
    except PoolwardError:
        return ""


def _made(state: State, name: str | None, *, remove: bool) -> Handed:
    fleet = inventory.read_fleet(state.inventory)
    hostless = [server.name for server in fleet.servers.values() if server.hostless]
    if not hostless:
        raise PoolwardError(
            "No server of this inventory is known by its connection string alone (postgresql_dsn).",
            "A deploy does on their hosts what has to be done.",
        )
    if name is None and len(hostless) == 1:
        name = hostless[0]
    if name not in hostless:
        raise PoolwardError("Each server has an owner and a script of its own.", f"--server {' or '.join(hostless)}")
    seen = survey.take(state, fleet, fleet.poolers)
    if name not in seen.servers:
        raise PoolwardError(f"No pooler has an entry on {name}.", "pgbouncer_databases says which server each is on.")
    found = of(seen, name)
    if not remove:
        return Handed(name, found.script if found.pending else "")
    if running := [pooler for pooler, one in seen.poolers.items() if one.active]:
        raise Refused(
            "What is in use is not to be taken back.",
            [Problem(pooler, "PgBouncer runs there", "first deploy/remove.py") for pooler in running],
        )
    return Handed(name, found.way_back if found.removable else "")
