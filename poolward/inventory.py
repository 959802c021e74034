"""The one module that knows pyinfra's inventory, so that the command line and `pyinfra` itself see the same fleet.

`pyinfra_cli` is no documented API; this file depends on pyinfra 3.10 and is pinned to it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyinfra_cli.cli  # first: it patches the standard library for gevent, and paramiko must be loaded after that
from pyinfra.api import Config, Host, Inventory, State
from pyinfra.api.connect import disconnect_all
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.state import StateStage
from pyinfra.context import ctx_config, ctx_inventory, ctx_state
from pyinfra_cli.inventory import make_inventory

from poolward import declaration, hostless
from poolward.errors import PoolwardError
from poolward.fleet import Fleet, Server


def read_fleet(inventory: Inventory, dsns: Mapping[str, str] | None = None) -> Fleet:
    """The fleet of a loaded inventory; raises Refused with every problem in it.

    `dsns` are the connection strings of this run by server, which go before those of the inventory.
    """
    return declaration.read(*_hosts_and_groups(inventory, dsns or {}))


def read_servers(inventory: Inventory, dsns: Mapping[str, str] | None = None) -> Mapping[str, Server]:
    """The database servers alone, for what needs no pooler; raises Refused with every problem in them."""
    return declaration.read_servers(*_hosts_and_groups(inventory, dsns or {}))


def _hosts_and_groups(inventory: Inventory, dsns: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, list[str]]]:
    hosts = {host.name: host.data.dict() for host in inventory}
    groups = {name: [host.name for host in members] for name, members in inventory.groups.items()}
    known = groups.get("databases", [])
    if not dsns.keys() <= set(known):
        # What stands before the first = may be part of a password, so it is not repeated.
        raise PoolwardError(
            "--dsn begins with the name of a host of the group `databases` and an equals sign.",
            f'--dsn {known[0] if known else "db1"}="host=… user=… dbname=postgres"',
        )
    for name, dsn in dsns.items():
        hosts[name][declaration.LOOKED_AT_BY] = dsn
    return hosts, groups


def in_limit(state: State, name: str) -> bool:
    """Whether the run includes this host."""
    return bool(state.is_host_in_limit(state.inventory.get_host(name)))


def host(state: State, name: str) -> Host:
    """A host of the inventory, in the run or not."""
    return state.inventory.get_host(name)


@contextmanager
def opened(path: str, limit: tuple[str, ...] = ()) -> Iterator[State]:
    """`load`, and at the end a disconnect: only then does pyinfra remove what it laid down on a host for sudo."""
    state = load(path, limit)
    try:
        yield state
    finally:
        disconnect_all(state)


def load(path: str, limit: tuple[str, ...] = ()) -> State:
    """Load an inventory as `pyinfra` does, with the group data around it; no host is connected yet.

    Raises PoolwardError where pyinfra would go on with nothing: no config.py here, no such file, no host in it, or a
    `limit` that matches none.
    """
    if not Path("config.py").is_file():
        raise PoolwardError(
            "There is no config.py here, and without it pyinfra goes on after a failed host.",
            "Run this from the top of the clone.",
        )
    if not Path(path).is_file():
        raise PoolwardError(f"There is no inventory {path}.", "Give the path of a file such as inventories/prod.py.")

    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    state = State(check_for_changes=False)
    state.cwd = str(Path.cwd())
    ctx_state.set(state)
    config = Config(FAIL_PERCENT=0, CONNECT_TIMEOUT=10)
    ctx_config.set(config)
    try:
        inventory = make_inventory(path, cwd=state.cwd)
        ctx_inventory.set(inventory)
        limited = pyinfra_cli.cli._apply_inventory_limit(inventory, limit) if limit else None
    except (PyinfraError, OSError, SyntaxError, NameError, TypeError, ValueError) as error:
        raise PoolwardError(f"{path} cannot be loaded: {type(error).__name__}: {error}") from error
    if not len(inventory):
        raise PoolwardError(f"{path} names no host.", 'It needs groups such as poolers = [("pool1", {})].')
    if limit and not limited:
        raise PoolwardError(
            f"--limit {' '.join(limit)} matches no host of {path}.",
            "Its hosts: " + ", ".join(sorted(host.name for host in inventory)),
        )
    hostless.initialised(state)(inventory, config, initial_limit=limited)
    state.set_stage(StateStage.Connect)
    return state
