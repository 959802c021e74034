"""The way back from a deploy: PgBouncer and its side of every database go, once nobody is pooled any more."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from pyinfra import logger
from pyinfra.api import Host, State, deploy
from pyinfra.context import ctx_host, ctx_state

from poolward import inventory, remains, removal
from poolward.deploys import preflight
from poolward.errors import PoolwardError, Problem, Refused
from poolward.fleet import Fleet
from poolward.lease import Lease
from poolward.operations import removal as operations
from poolward.operations import stage
from poolward.remains import Remains


@dataclass(frozen=True)
class Plan:
    """What a removal works on."""

    fleet: Fleet
    poolers: tuple[str, ...]
    acting_hosts: Mapping[str, str]
    """Per server the host of the run that carries its operation: its own, or a pooler when --limit left it out."""
    lease: Lease
    any: bool
    """Whether there is anything left of Poolward's."""

    @property
    def whole(self) -> bool:
        """Whether no pooler is left afterwards: only then the database side goes as well."""
        return set(self.poolers) == set(self.fleet.poolers)


@deploy("Remove")
def remove() -> None:
    """Refuse; then the poolers; and when they are gone, what they had on the servers."""
    state: State = ctx_state.get()
    host: Host = ctx_host.get()
    plan = preflight.once(state, _make)

    if plan.any and host.name == plan.poolers[0]:
        operations.begun(plan.lease, name="The fleet is held: no service moves meanwhile")
    stage.complete(name="The fleet is held")

    if host.name in plan.poolers:
        operations.pooler(host, plan.fleet, plan.lease, name="PgBouncer stopped and taken off")
    stage.complete(name="No pooler of this run is left")

    for name, acting in plan.acting_hosts.items():
        if host.name == acting:
            target, server = inventory.host(state, name), plan.fleet.servers[name]
            if plan.whole:
                operations.server(target, server, plan.poolers, plan.lease, name=f"{name} without its poolers")
            else:
                operations.host_based_access(
                    target,
                    server,
                    plan.poolers,
                    plan.lease,
                    name=f"{name}: pg_hba.conf without {', '.join(plan.poolers)}",
                )
    stage.complete(name="The servers are without them")

    if plan.any and host.name == plan.poolers[0]:
        operations.ended(plan.lease, name="The fleet is free again")
    stage.finished(name="Everything is removed")


def _make(state: State) -> Plan:
    """Look at everything, refuse with every reason at once, and say what will go."""
    fleet = inventory.read_fleet(state.inventory)
    poolers = tuple(name for name in fleet.poolers if inventory.in_limit(state, name))
    if not poolers:
        raise PoolwardError(
            "--limit leaves no pooler in the run, and a removal begins with the poolers.",
            "Name at least one, or leave --limit out.",
        )
    seen = remains.look(state, fleet, poolers)
    acting = {name: name if inventory.in_limit(state, name) else poolers[0] for name in seen.servers}
    held = Lease(inventory.host(state, fleet.keeper), uuid.uuid4().hex, "remove its poolers")
    anything = any(found.any for found in seen.poolers.values()) or any(found.any for found in seen.servers.values())
    plan = Plan(fleet, poolers, acting, held, anything)
    if problems := [*remains.users(state, fleet, seen), *(_obstacles(state, plan, seen) if plan.whole else ())]:
        raise Refused("This is still in use, or is not Poolward's to remove; no host was changed.", problems)
    _announce(plan, seen)
    return plan


def _obstacles(state: State, plan: Plan, seen: Remains) -> list[Problem]:
    found = remains.others(state, plan.fleet, seen)
    for name, traces in seen.servers.items():
        found += removal.obstacles(plan.fleet.servers[name], traces, plan.poolers)
    return found


def _announce(plan: Plan, seen: Remains) -> None:
    poolers = plan.fleet.poolers
    lines = [line for name, traces in seen.poolers.items() for line in removal.gone_from_pooler(poolers[name], traces)]
    for name, traces in seen.servers.items():
        lines += removal.gone_from_server(plan.fleet.servers[name], traces, plan.poolers, whole=plan.whole)
    if plan.whole and plan.any:
        lines += [line for server in plan.fleet.servers.values() for line in removal.left_to_its_owner(server)]
    for line in lines:
        logger.warning(line)
    if lines:
        logger.warning("A removal cannot be taken back; a deploy brings all of it back, with new secrets.")
