"""Which hosts a run may begin without: pyinfra connects before it reads a deploy, so config.py gives it the answer."""

from __future__ import annotations

import sys
from pathlib import Path

from pyinfra import logger
from pyinfra.api import State
from pyinfra.api.state import StateStage

from poolward import inventory, remote, route
from poolward.deploys import itinerary
from poolward.errors import PoolwardError


def failed_hosts_end_the_run(state: State) -> bool:
    """What pyinfra asks where more hosts failed than `FAIL_PERCENT` allows: yes, but for a rollback that needs none.

    A way back leads past the poolers, and one whose host is gone is a good reason for it. Nor does it need the hosts of
    services that it leaves as they are.
    """
    if state.current_stage != StateStage.Connect or "rollback.py" not in {Path(word).name for word in sys.argv}:
        return True
    try:
        fleet = inventory.read_fleet(state.inventory)
        going_back = route.chosen(fleet, itinerary.options(state))
    except PoolwardError:
        return True
    gone = {host.name for host in state.failed_hosts}
    if gone & {*fleet.servers, fleet.keeper}:
        return True
    if gone & {declared.host for declared in going_back}:
        if others := [declared.name for declared in going_back if declared.host not in gone]:
            logger.error(f"Without {', '.join(sorted(gone))} there is a way back for: --data only={','.join(others)}")
        return True
    for host in state.failed_hosts:
        logger.warning(f"{host.name} cannot be reached: the way back leads past it.")
        remote.give_up(host)
    # What was left out has not failed: pyinfra's exit code tells of the services alone.
    state.failed_hosts.clear()
    return False
