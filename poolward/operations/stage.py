"""The line between two stages of a deploy."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

from pyinfra import host, state

from poolward.operations._step import Change, step
from poolward.operations.receipt import RECEIPT


@step
def complete() -> Generator[Change, None, None]:
    """Registered on every host, it keeps any host from starting the next stage before all have ended this one.

    Operations of disjoint groups of hosts would interleave otherwise. It changes nothing; a host that failed has
    already stopped the run (`FAIL_PERCENT = 0` in config.py).
    """
    yield from ()


@step
def finished() -> Generator[Change, None, None]:
    """The last stage: every host that comes this far says so to whoever started the run.

    pyinfra exits 0 after Ctrl-C or an empty `--limit`; `poolward run` believes only in this receipt.
    """
    receipt = os.environ.get(RECEIPT)
    if receipt and state.is_executing:
        with Path(receipt).open("a") as file:
            file.write(f"{host.name}\n")
    yield from ()
