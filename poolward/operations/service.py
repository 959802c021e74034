"""What a cutover does to a service: one operation, one transaction."""

from __future__ import annotations

from collections.abc import Generator
from functools import partial

from poolward.cutover import Cutover
from poolward.moving import Move
from poolward.operations._step import Change, step


@step
def moved(run: Cutover, planned: Move) -> Generator[Change, None, None]:
    """The service is where the run wants it, proved by its sessions; else it is as it was, and the run ends."""
    yield partial(run.carry_out, planned)
