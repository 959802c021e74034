"""The main job: PgBouncer on every pooler, its side of every database, and the proof."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pyinfra.api import Host, State, deploy
from pyinfra.context import ctx_host, ctx_state

from poolward import inventory
from poolward.deploys import preflight
from poolward.operations import database, pooler, stage


@deploy("PgBouncer")
def pgbouncer() -> None:
    """Preflight, package, database side, configuration; each stage ends on every host before the next begins.

    Another version of a running PgBouncer restarts it: that waits for the pooler's turn to be configured and proved.
    """
    state: State = ctx_state.get()
    host: Host = ctx_host.get()
    plan = preflight.plan(state)
    mine = host.name in plan.seen.poolers and inventory.in_limit(state, host.name)

    changing = plan.seen.changing()
    if mine and host.name not in changing:
        _package(host, plan)
    stage.complete(name="Every pooler has its package")

    for name, acting in plan.acting_hosts.items():
        if host.name == acting and name in plan.seen.servers:
            _database_side(state, plan, name)
    stage.complete(name="Every database knows its poolers")

    for wave in host.loop(plan.waves):
        if host.name in wave:
            if host.name in changing:
                _package(host, plan)
            pooler.configuration(host, plan.fleet, name=f"Configuration applied and proved: {', '.join(wave)}")
        stage.complete(name=f"Proved: {', '.join(wave)}")

    for name, acting in plan.acting_hosts.items():
        if host.name == acting and plan.narrows(name):
            database.host_based_access(
                inventory.host(state, name),
                plan.fleet.servers[name],
                _access(plan, name, plan.databases_afterwards(name)),
                name=f"{name}: pg_hba.conf without what no pooler serves any more",
            )
    stage.finished(name="Every pooler is proved")


def _package(host: Host, plan: preflight.Plan) -> None:
    product = plan.fleet.poolers[host.name].runtime.product
    pooler.package(host, plan.fleet, name=f"{product.capitalize()} installed, held, and fit for the settings")


def _database_side(state: State, plan: preflight.Plan, name: str) -> None:
    server, target = plan.fleet.servers[name], inventory.host(state, name)
    versions, coming = plan.seen.lasting_versions(), plan.seen.changing()
    if server.hostless:
        database.handed_over(
            target, server, plan.fleet, versions, coming, name=f"{name} knows its poolers, as its owner made it"
        )
        return
    database.poolers_side(
        target,
        server,
        plan.fleet,
        versions,
        coming,
        _access(plan, name, plan.databases_meanwhile(name)),
        name=f"{name} knows its poolers",
    )


def _access(plan: preflight.Plan, server: str, databases: Mapping[str, Sequence[str]]) -> database.Access:
    return database.Access(databases, plan.seen.networks(server), frozenset(plan.seen.poolers))
