"""What is true on a fleet right now, gathered live and shown: the end of `make demo` and all of `poolward verify`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from poolward import inventory, survey  # isort: skip - inventory loads pyinfra, which must come before paramiko
from rich.console import Console

from poolward import budget, examine, tables
from poolward.budget import Bill
from poolward.survey import Survey
from poolward.verify import Finding


@dataclass(frozen=True)
class Report:
    """Everything that was seen, and what is wrong with it."""

    seen: Survey
    findings: list[Finding]
    bills: dict[str, Bill]

    @property
    def clean(self) -> bool:
        return all(finding.ok for finding in self.findings)

    def show(self, console: Console) -> None:
        """Print it for a person."""
        console.print(tables.poolers(self.seen.poolers), "")
        for name, server in self.seen.servers.items():
            console.print(tables.backends(name, server), "")
            direct = budget.direct_now(self.seen.fleet, server, self.seen.addresses)
            console.print(tables.bill(self.bills[name], direct), "")
        console.print(tables.findings(self.findings), "")
        wrong = sum(len(finding.wrong) for finding in self.findings)
        if wrong:
            console.print(
                f"[bold red]{wrong} differences.[/] A deploy mends them: deploy/pgbouncer.py on the same inventory."
            )
        else:
            console.print(f"[bold green]Everything is as declared[/] ({len(self.findings)} things looked at).")

    def document(self) -> dict[str, Any]:
        """The same for a machine."""
        return {
            "clean": self.clean,
            "findings": self.findings,
            "bills": {
                name: {
                    "lines": [*bill.has, *bill.takes],
                    "left": bill.left,
                    "worst_case": bill.worst_case,
                    "fits": bill.fits,
                }
                for name, bill in self.bills.items()
            },
            "poolers": {
                name: {"version": str(state.version), "listeners": state.listeners}
                for name, state in self.seen.poolers.items()
            },
            "backends": {name: list(state.backends) for name, state in self.seen.servers.items()},
        }


def make(path: str, limit: tuple[str, ...] = ()) -> Report:
    """Look at the hosts of an inventory; raises PoolwardError when any of them cannot be read."""
    state = inventory.load(path, limit)
    fleet = inventory.read_fleet(state.inventory)
    poolers = [name for name in fleet.poolers if inventory.in_limit(state, name)]
    seen = survey.take(state, fleet, poolers or fleet.poolers)
    hosts = [name for name in {**seen.servers, **seen.poolers} if inventory.in_limit(state, name)]
    looks: dict[str, Callable[[], list[Finding]]] = {
        name: partial(examine.host, inventory.host(state, name), seen) for name in hosts
    }
    found = survey.together(looks)
    bills = {name: budget.bill(fleet, name, server, seen.versions()) for name, server in seen.servers.items()}
    return Report(seen, [finding for name in hosts for finding in found[name]], bills)
