"""Which hosts a run may begin without: pyinfra connects before it reads a deploy, so config.py gives it the answer."""

from __future__ import annotations

import sys
from pathlib import Path

from pyinfra import logger
from pyinfra.api import State
from pyinfra.api.state import StateStage

from poolward import inventory, remote
from poolward.errors import PoolwardError


def failed_hosts_end_the_run(state: State) -> bool:
    """What pyinfra asks where more hosts failed than `FAIL_PERCENT` allows: yes, but for a rollback without poolers.

    A way back leads past them, and a pooler whose host is gone is a good reason for one.
    """
    if state.current_stage != StateStage.Connect or "rollback.py" not in {Path(word).name for word in sys.argv}:
        return True
    try:
        fleet = inventory.read_fleet(state.inventory)
    except PoolwardError:
        return True
    needed = {*fleet.servers, *(declared.host for declared in fleet.services)}
    if any(host.name in needed for host in state.failed_hosts):
        return True
    for host in state.failed_hosts:
        logger.warning(f"{host.name} cannot be reached: the way back leads past it.")
        remote.give_up(host)
    # What was left out has not failed: pyinfra's exit code tells of the services alone.
    state.failed_hosts.clear()
    return False
