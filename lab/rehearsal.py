"""The incident, the cutover and the same peak again, with a table at the end: `python -m lab rehearse`."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from rich.table import Table

from lab import hosts
from lab.counting import Counted, backends, counting
from lab.progress import console, say, step
from lab.topology import REPOSITORY, Lab
from lab.wait import until
from poolward.errors import PoolwardError

INVENTORY = "inventories/lab.py"
TOO_MANY = "53300"
_PEAK_SECONDS = 12
_QUIET = 90
"""Fewer backends than this: 47 of the services, and what idles in the poolers' pools."""


def rehearse(lab: Lab, soak: float, inventory: str = INVENTORY) -> None:
    """Raises PoolwardError where the story does not come out as it should."""
    with step("every service is connected directly"):
        hosts.set_flag(lab, "peak", False)
        _poolward("rollback", inventory, soak=1, quiet=True)
    say("\n(a) The peak, with every service connected directly")
    before = _peak(lab, until_refused=True)

    say(f"\n(b) The cutover, under the usual load, {soak:g} s of soak for each service")
    with counting(lab) as during:
        _poolward("cutover", inventory, soak=soak)

    say("\n(c) The same peak again")
    after = _peak(lab, until_refused=False)
    console.print("", _table(before, during, after), "")
    if after.failures or after.refused or during.failures:
        raise PoolwardError("There were failures where there should be none; see the table.")


def _poolward(deploy: str, inventory: str, *, soak: float, quiet: bool = False) -> None:
    command = [str(Path(sys.executable).with_name("poolward")), "run", deploy, inventory, "--data", f"soak={soak:g}"]
    done = subprocess.run(command, cwd=REPOSITORY, check=False, capture_output=quiet, text=True)
    if done.returncode:
        raise PoolwardError(f"The {deploy} failed; the reason stands above.", (done.stderr or "")[-2000:])


def _peak(lab: Lab, *, until_refused: bool) -> Counted:
    try:
        with step(f"peak on for {_PEAK_SECONDS} s"), counting(lab) as counted:
            hosts.set_flag(lab, "peak", True)
            time.sleep(_PEAK_SECONDS)  # the length of the peak itself, the same both times
            if until_refused:
                until("connections are refused with 53300", lambda: counted.refused[TOO_MANY] > 0, timeout=30)
    finally:
        hosts.set_flag(lab, "peak", False)
    with step("peak off, until the services are back at their usual size"):
        until("the peak's connections are gone", lambda: backends(lab) < _QUIET, timeout=30)
    return counted


def _table(before: Counted, during: Counted, after: Counted) -> Table:
    table = Table(title="The same peak, before and after", title_justify="left", show_edge=False)
    table.add_column("")
    for column in ("peak, all direct", "while moving", "peak, pooled"):
        table.add_column(column, justify="right")
    parts = (before, during, after)
    table.add_row("connections the services held, at most", *(str(part.wanted) for part in parts))
    table.add_row("backends on db1, at most (max_connections 100)", *(str(part.most_backends) for part in parts))
    table.add_row("connections refused (SQLSTATE 53300)", *(str(part.refused[TOO_MANY]) for part in parts))
    table.add_row("transactions", *(str(part.succeeded.total()) for part in parts))
    table.add_row("transactions that failed", *(_by_state(part) for part in parts))
    return table


def _by_state(counted: Counted) -> str:
    states = ", ".join(f"{code}: {count}" for code, count in sorted(counted.failures.items()))
    return f"{counted.failures.total()}" + (f" ({states})" if states else "")
