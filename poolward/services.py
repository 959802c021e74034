"""Where every declared service stands: `poolward services`. It reads, and changes nothing."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any, Literal

from poolward import inventory  # isort: skip - inventory loads pyinfra, which must come before paramiko
from pyinfra.api import State
from rich.console import Console

from poolward import evidence, moving, names, tables, target, watch, witness
from poolward.errors import PoolwardError
from poolward.evidence import Bypass, Census
from poolward.fleet import Fleet
from poolward.observed import ServiceState
from poolward.service import Service
from poolward.terminal import led

Standing = Literal["pooled", "pooled, not proved", "direct", "mixed", "half-moved", "left direct", "unknown"]


@dataclass(frozen=True)
class Row:
    """One service."""

    name: str
    host: str
    unit: str
    standing: Standing
    direct: int | None
    """Its sessions; None where its host could not be asked, as below."""
    pooled: int | None
    since: float | None
    """When its process was started, in seconds of the epoch."""
    note: str = ""


@dataclass(frozen=True)
class Services:
    """All of them, and whoever connects past the pooler."""

    rows: tuple[Row, ...]
    bypasses: tuple[Bypass, ...]
    clock: float

    unseen = ()
    """A server or pooler that cannot be read is an error, and of a service's host it is said in its row."""

    @property
    def differs(self) -> bool:
        """Whether a service is not where it is declared to be, or somebody else connects from their hosts."""
        return any(row.standing not in ("pooled", "left direct") for row in self.rows) or bool(self.bypasses)

    def show(self, console: Console) -> None:
        """Print it for a person."""
        console.print(tables.standings(self.rows, self.clock), "")
        for bypass in self.bypasses:
            console.print(led("yellow", "past the pooler:", f" {bypass}"))
        unproved = [row.name for row in self.rows if row.standing == "pooled, not proved"]
        unknown = [row.name for row in self.rows if row.standing == "unknown"]
        there = ("pooled", "left direct", "pooled, not proved", "unknown")
        pending = [row.name for row in self.rows if row.standing not in there]
        if pending:
            console.print(led("bold", f"Not moved: {', '.join(pending)}.", " pyinfra -y INVENTORY deploy/cutover.py"))
        if unproved:
            todo = " Run each of them, and while it has sessions: pyinfra -y INVENTORY deploy/cutover.py"
            console.print(led("bold", f"Not proved: {', '.join(unproved)}.", todo))
        if unknown:
            console.print(led("bold red", f"Not known: {', '.join(unknown)}.", " The last column says why."))
        if not pending and not unproved and not unknown:
            console.print(led("bold green", "Every service is where it is declared to be."))

    def document(self) -> dict[str, Any]:
        """The same for a machine."""
        return {
            "clean": not self.differs,
            "services": [asdict(row) for row in self.rows],
            "bypasses": [str(bypass) for bypass in self.bypasses],
        }


def make(path: str) -> Services:
    """Look at the hosts of an inventory; raises PoolwardError when one of them cannot be read.

    A service's own host may be gone: nothing is known of its services then, and the others are shown.
    """
    with inventory.opened(path) as state:
        return _look(state, inventory.read_fleet(state.inventory))


def _look(state: State, fleet: Fleet) -> Services:
    if not fleet.services:
        raise PoolwardError("No service is declared.", "Declare `services` in group_data, in the order they move.")
    seen = watch.look(state, fleet, witness.asked(fleet.services), without_applications=True)
    there = [declared for declared in fleet.services if declared.host not in seen.gone]
    states = {s.name: seen.applications[s.host].services[s.name] for s in there if s.owner}
    resolved = names.resolved(state, [s for s in there if s.moves], states, fleet)
    rows: list[Row] = []
    for declared in fleet.services:
        if why := seen.gone.get(declared.host):
            rows.append(Row(declared.name, declared.host, declared.unit, "unknown", None, None, None, why))
        elif declared.owner:
            census = evidence.census(seen.seen, declared.host, declared.owner)
            rows.append(_row(declared, states[declared.name], census, fleet, resolved.get(declared.name, {})))
    units: dict[str, list[str]] = {}
    for declared in fleet.services:
        units.setdefault(declared.host, []).append(declared.owner)
    for name, pooler in fleet.poolers.items():
        if pooler.app_local:  # what it opens between two looks is its own
            units.setdefault(name, []).append(pooler.runtime.service)
    return Services(tuple(rows), tuple(evidence.bypasses(seen.seen, units)), time.time())


def _row(declared: Service, state: ServiceState, census: Census, fleet: Fleet, resolved: target.Resolved) -> Row:
    standing, note = _standing(declared, state, census, fleet, resolved)
    since = state.process.started if state.process else None
    return Row(
        declared.name, declared.host, declared.unit, standing, len(census.direct), len(census.pooled), since, note
    )


def _standing(
    declared: Service, state: ServiceState, census: Census, fleet: Fleet, resolved: target.Resolved
) -> tuple[Standing, str]:
    """By settings and sessions together: a service is pooled only where both say so."""
    if not declared.moves:
        return "left direct", declared.direct
    cut_off = "an earlier run was cut off; run deploy/cutover.py or deploy/rollback.py again"
    if state.unproved is not None and (not declared.now_and_then or state.unfinished is not None):
        return "half-moved", cut_off
    try:
        says = target.standing(declared, moving.variables(declared, state), fleet, resolved)
    except PoolwardError as error:
        return "unknown", error.message
    if says == "pooled" and census.direct:
        return "mixed", f"{len(census.direct)} sessions past the pooler: {census.direct[0]}"
    if says == "direct" and census.pooled:
        return "mixed", "its settings name the server, but it has sessions through a pooler"
    if state.unproved is not None:
        if says != "pooled":
            return "half-moved", cut_off
        if not moving.is_restarted(declared, state):
            return "half-moved", "its settings were changed after it was started"
        seen = "its sessions are seen now" if census.pooled else "nobody has seen it run since it was moved"
        return "pooled, not proved", seen
    return says, ""
