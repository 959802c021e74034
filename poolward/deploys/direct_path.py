"""The direct path of what has moved: closed, so that nobody goes past the pooler by mistake; and open again."""

from __future__ import annotations

from pyinfra import logger
from pyinfra.api import Host, State, deploy
from pyinfra.context import ctx_host, ctx_state

from poolward import direct_path, inventory, route
from poolward.deploys import itinerary, preflight
from poolward.direct_path import Action, DirectPaths
from poolward.errors import PoolwardError, Refused
from poolward.journal import Journal
from poolward.lease import Lease
from poolward.moving import Run
from poolward.operations import direct_path as operations
from poolward.operations import stage
from poolward.operations._step import say


@deploy("Close the direct path")
def close() -> None:
    """pg_hba.conf turns away who connects as a moved service did before, wherever nobody needs that any more."""
    _change("close")


@deploy("Open the direct path")
def open_again() -> None:
    """Poolward's lines that close a direct path are out of pg_hba.conf."""
    _change("open")


def _change(action: Action) -> None:
    state: State = ctx_state.get()
    host: Host = ctx_host.get()
    plan = preflight.once(state, _to_close if action == "close" else _to_open)
    acting = {name: name if inventory.in_limit(state, name) else _anyone(state) for name in plan.changed}
    for name, actor in host.loop(acting.items()):
        if host.name == actor:
            operations.changed(plan, name, name=f"{name}: the direct path of what has moved, {action}")
        stage.complete(name=f"{name}: done")
    stage.finished(name="The run has come to its end")


def _anyone(state: State) -> str:
    return next(host.name for host in state.inventory if inventory.in_limit(state, host.name))


def _to_close(state: State) -> DirectPaths:
    return _planned(state, "close")


def _to_open(state: State) -> DirectPaths:
    return _planned(state, "open")


def _planned(state: State, action: Action) -> DirectPaths:
    """Look at everything and say what will happen; raises Refused where a service cannot be read."""
    fleet, options = inventory.read_fleet(state.inventory), itinerary.options(state)
    only = [declared.name for declared in route.chosen(fleet, options)] if options.only else []
    every = route.every_move(state, fleet, "pooled", options, say)
    if problems := [problem for found in every.problems.values() for problem in found]:
        raise Refused("It is not known whose path is whose; nothing was changed.", problems)
    journal = Journal(what=action, inventory=options.inventory)
    held = Lease(inventory.host(state, fleet.keeper), journal.run, f"{action} the direct path")
    run = Run(state, fleet, held, journal, say)
    if action == "close":
        if not every.done:
            raise PoolwardError("No service goes through a pooler.", "Run deploy/cutover.py first.")
        plan = direct_path.closable(run, every.moves, every.states, every.done, only)
    else:
        plan = direct_path.openable(run, every.moves, every.states, only)
    for line in plan.announcement():
        logger.info(line)
    return plan
