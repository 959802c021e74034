"""Services to their pooler, or back, one at a time; each ends, proved or taken back, before the next begins."""

from __future__ import annotations

from pyinfra.api import Host, State, deploy
from pyinfra.context import ctx_host, ctx_state

from poolward.deploys import itinerary
from poolward.moves import Goal
from poolward.operations import service, stage


@deploy("Cutover")
def cutover() -> None:
    """Every declared service that is still direct, in the declared order, to its pooler."""
    _move("pooled")


@deploy("Rollback")
def rollback() -> None:
    """Every service that goes through a pooler, the last one moved first, back to its server."""
    _move("direct")


def _move(goal: Goal) -> None:
    state: State = ctx_state.get()
    host: Host = ctx_host.get()
    run = itinerary.of(state, goal)
    for planned in host.loop(run.moves):
        if host.name == planned.service.host:
            service.moved(run, planned, name=f"{planned.service.name} is {goal}, proved by its sessions")
        stage.complete(name=f"{planned.service.name}: done")
    stage.finished(name="The run has come to its end")
