"""Is everything as declared? Reads, compares, logs in as the probe, changes nothing; a difference fails its host."""

from __future__ import annotations

from pyinfra.api import Host, State, deploy
from pyinfra.context import ctx_host, ctx_state

from poolward.deploys import preflight
from poolward.operations import stage, verification


@deploy("Verify")
def verify() -> None:
    """Every host of the run against what is declared, in one operation, so that no host hides another's problems."""
    state: State = ctx_state.get()
    host: Host = ctx_host.get()
    verification.as_declared(host, preflight.seen(state), name="As declared")
    stage.finished(name="Everything was looked at")
