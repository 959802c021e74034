"""The one module that knows pyinfra's inventory, so that the command line and `pyinfra` itself see the same fleet."""

from __future__ import annotations

from pyinfra.api import Host, Inventory, State

from poolward import fleet
from poolward.fleet import Fleet


def read_fleet(inventory: Inventory) -> Fleet:
    """The fleet of a loaded inventory; raises Refused with every problem in it."""
    hosts = {host.name: host.data.dict() for host in inventory}
    groups = {name: [host.name for host in members] for name, members in inventory.groups.items()}
    return fleet.read(hosts, groups)


def in_limit(state: State, name: str) -> bool:
    """Whether the run includes this host."""
    return bool(state.is_host_in_limit(state.inventory.get_host(name)))


def host(state: State, name: str) -> Host:
    """A host of the inventory, in the run or not."""
    return state.inventory.get_host(name)
