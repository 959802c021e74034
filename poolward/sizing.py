"""Samples every database server of an inventory for a while and proposes pool sizes; it never writes."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from poolward import inventory, survey  # isort: skip - inventory loads pyinfra, which must come before paramiko
from pyinfra.api import State
from rich.console import Console

from poolward import direct, observe, remote, shell, size, tables
from poolward.errors import PoolwardError
from poolward.fleet import PROBE_ROLE, Server
from poolward.size import Need


@dataclass(frozen=True)
class Proposal:
    """What was sampled, and the sizes it suggests."""

    window: float
    interval: float
    needs: Mapping[str, list[Need]]

    differs = False
    unseen = ()

    def show(self, console: Console) -> None:
        """Print it for a person."""
        for name, needs in self.needs.items():
            console.print(tables.sizes(name, needs, self.window, self.interval), "")
        console.print(size.limits())

    def document(self) -> dict[str, Any]:
        """The same for a machine."""
        servers = {
            name: [{**vars(need), "pool_size": need.pool_size} for need in needs] for name, needs in self.needs.items()
        }
        return {"window": self.window, "interval": self.interval, "servers": servers, "limits": size.limits()}


def make(path: str, window: float, interval: float, dsns: Mapping[str, str] | None = None) -> Proposal:
    """Sample all servers in parallel for `window` seconds, every `interval` seconds; `dsns` by server."""
    count = samples(window, interval)
    with inventory.opened(path) as state:
        servers = inventory.read_servers(state.inventory, dsns)
        jobs = {name: partial(_sample, state, server, count, interval) for name, server in servers.items()}
        return Proposal(window, interval, survey.together(jobs))


def samples(window: float, interval: float) -> int:
    """How many samples a window holds (both in seconds); raises PoolwardError for a window out of bounds."""
    if not 0 < interval <= window <= 3600:
        raise PoolwardError("The window is at most 3600 seconds, the interval within it.", "--window 60 --interval 0.5")
    return max(1, math.floor(window / interval))


def _sample(state: State, server: Server, count: int, interval: float) -> list[Need]:
    lines = _lines(state, server, count, interval, math.ceil(count * interval) + 30)
    if len(lines) != count:
        raise PoolwardError(f"{server.name} answered {len(lines)} of {count} samples.", "Run it again.")
    read: list[Sequence[Mapping[str, object]]] = [json.loads(line) for line in lines]
    own = (server.auth_role, PROBE_ROLE)
    return [need for need in size.needs(read) if need.role not in own]


def _lines(state: State, server: Server, count: int, interval: float, timeout: int) -> list[str]:
    if server.dsn:
        output = direct.sample(server, count, interval, timeout)
        if not output.succeeded:
            why = remote.last_lines(output.stderr)
            raise PoolwardError(f"{server.name}: could not be sampled: {why}", observe.what_helps(output.stderr))
        return output.stdout.splitlines()
    command = shell.script(
        "sample_activity",
        "sample pg_stat_activity",
        timeout,
        server.place,
        sql=shell.sql("sample_activity"),
        samples=count,
        interval=f"{interval:g}",
    )
    return remote.must(inventory.host(state, server.name), command).splitlines()
