"""What is true on a fleet right now, gathered live and shown: the end of `make demo` and all of `poolward verify`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from poolward import inventory, survey  # isort: skip - inventory loads pyinfra, which must come before paramiko
from pyinfra.api import State
from rich.console import Console

from poolward import budget, examine, tables, unseen
from poolward.bill import Bill
from poolward.survey import Survey
from poolward.terminal import led
from poolward.unseen import Unseen
from poolward.verify import Finding


@dataclass(frozen=True)
class Report:
    """Everything that was seen, what is wrong with it, and what was not seen."""

    seen: Survey
    findings: list[Finding]
    bills: dict[str, Bill]
    unseen: list[Unseen]

    @property
    def differs(self) -> bool:
        """Whether anything is not as declared."""
        return not all(finding.ok for finding in self.findings)

    def show(self, console: Console) -> None:
        """Print it for a person."""
        console.print(tables.poolers(self.seen.poolers), "")
        for name, server in self.seen.servers.items():
            console.print(tables.backends(name, server), "")
            direct = budget.direct_now(self.seen, name)
            console.print(tables.bill(self.bills[name], direct), "")
        console.print(tables.findings(self.findings), "")
        if self.unseen:
            console.print(tables.unseen(self.unseen), "")
        wrong = sum(len(finding.wrong) for finding in self.findings)
        if wrong:
            count = f"{wrong} differences" if wrong > 1 else "One difference"
            mending = " A deploy mends what is Poolward's: deploy/pgbouncer.py on the same inventory."
            console.print(led("bold red", f"{count}.", mending))
        else:
            seen = "What could be seen" if self.unseen else "Everything"
            console.print(led("bold green", f"{seen} is as declared", f" ({len(self.findings)} things looked at)."))

    def document(self) -> dict[str, Any]:
        """The same for a machine."""
        return {
            "clean": not (self.differs or self.unseen),
            "findings": self.findings,
            "unseen": self.unseen,
            "bills": {name: bill.document() for name, bill in self.bills.items()},
            "poolers": {
                name: {"version": str(state.version), "listeners": state.listeners}
                for name, state in self.seen.poolers.items()
            },
            "backends": {name: list(state.backends) for name, state in self.seen.servers.items()},
        }


def make(path: str, limit: tuple[str, ...] = (), dsns: Mapping[str, str] | None = None) -> Report:
    """Look at the hosts of an inventory; raises PoolwardError when any of them cannot be read.

    `dsns` are connection strings by server, for those that are not asked on their hosts.
    """
    with inventory.opened(path, limit) as state:
        return _made(state, dsns)


def _made(state: State, dsns: Mapping[str, str] | None) -> Report:
    fleet = inventory.read_fleet(state.inventory, dsns)
    poolers = [name for name in fleet.poolers if inventory.in_limit(state, name)]
    seen = survey.take(state, fleet, poolers or fleet.poolers)
    hosts = [name for name in {**seen.servers, **seen.released, **seen.poolers} if inventory.in_limit(state, name)]
    looks: dict[str, Callable[[], list[Finding]]] = {
        name: partial(examine.host, inventory.host(state, name), seen) for name in hosts
    }
    found = survey.together(looks)
    return Report(seen, [finding for name in hosts for finding in found[name]], budget.bills(seen), unseen.of(seen))
