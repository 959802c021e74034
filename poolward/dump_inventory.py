"""`python -m poolward.dump_inventory INVENTORY`: an inventory as pyinfra loads it, as JSON, for other programs.

For those that cannot live in pyinfra's own process, which is patched for gevent. What it prints holds what host data
holds, a sudo password too: it is for a pipe, not for a screen.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from poolward import inventory
from poolward.errors import PoolwardError


def dumped(path: str) -> dict[str, Any]:
    """Every host's data, group data included, and every group's hosts."""
    loaded = inventory.load(path).inventory
    return {
        "hosts": {host.name: host.data.dict() for host in loaded},
        "groups": {name: [host.name for host in hosts] for name, hosts in loaded.groups.items()},
    }


if __name__ == "__main__":
    try:
        json.dump(dumped(sys.argv[1]), sys.stdout, default=str)
    except PoolwardError as error:
        sys.exit(str(error))
