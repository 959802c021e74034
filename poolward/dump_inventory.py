"""`python -m poolward.dump_inventory INVENTORY`: an inventory as pyinfra loads it, as JSON, for other programs.

A process of its own, because importing pyinfra's command line patches the whole process for gevent. The output holds
what host data holds, secrets too: it is for a pipe, not for a screen.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def dumped(path: str) -> dict[str, Any]:
    """Every host's data, group data included, and every group's hosts."""
    from pyinfra.api import State
    from pyinfra.context import ctx_state
    from pyinfra_cli.inventory import make_inventory  # patches the process: never at this module's top

    ctx_state.set(State())
    inventory = make_inventory(path, cwd=str(Path.cwd()))
    return {
        "hosts": {host.name: host.data.dict() for host in inventory},
        "groups": {name: [host.name for host in hosts] for name, hosts in inventory.groups.items()},
    }


if __name__ == "__main__":
    json.dump(dumped(sys.argv[1]), sys.stdout, default=str)
