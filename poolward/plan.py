"""What a deploy would change and what each change means; decided by the same functions that a deploy uses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from poolward import inventory, survey  # isort: skip - inventory loads pyinfra, which must come before paramiko
from pyinfra.api import State
from rich.console import Console

from poolward import advice, apply, auth, budget, hba, proof, secrets, tables, vulnerabilities
from poolward.apply import Action
from poolward.budget import Bill
from poolward.desired import pooler_config
from poolward.errors import PoolwardError
from poolward.survey import Survey

_UNNOTICED = "no client notices"


@dataclass(frozen=True)
class Change:
    """One thing a deploy would change on a host."""

    where: str
    what: str
    is_now: str
    will_be: str
    effect: str
    """What it means for whoever is connected."""


@dataclass(frozen=True)
class Planned:
    """The bill of every server, and every change."""

    seen: Survey
    bills: dict[str, Bill]
    changes: list[Change]

    @property
    def clean(self) -> bool:
        """Whether there is nothing to do."""
        return not self.changes

    def show(self, console: Console) -> None:
        """Print it for a person."""
        for name, bill in self.bills.items():
            direct = budget.direct_now(self.seen.fleet, self.seen.servers[name], self.seen.addresses)
            console.print(tables.bill(bill, direct), "")
            for note in (*bill.notes, *self._vulnerable()):
                console.print(f"  · {note}", highlight=False)
            if not bill.fits:
                console.print(f"[bold red]A deploy would be refused.[/] {bill.smallest_change}")
            console.print("")
        if self.clean:
            console.print("[bold green]Nothing to do:[/] a deploy would change nothing.")
            return
        console.print(tables.changes(self.changes), "")
        count = f"{len(self.changes)} changes" if len(self.changes) > 1 else "One change"
        console.print(f"[bold]{count} pending.[/] The deploy: pyinfra -y INVENTORY deploy/pgbouncer.py")

    def _vulnerable(self) -> list[str]:
        packages = {state.package_version for state in self.seen.poolers.values() if state.package_version}
        return [sentence for package in sorted(packages) if (sentence := vulnerabilities.sentence(package))]

    def document(self) -> dict[str, Any]:
        """The same for a machine."""
        return {
            "clean": self.clean,
            "changes": self.changes,
            "bills": {name: b.document() for name, b in self.bills.items()},
        }


def make(path: str, limit: tuple[str, ...] = ()) -> Planned:
    """Look at the hosts of an inventory and plan; raises PoolwardError when any of them cannot be read."""
    state = inventory.load(path, limit)
    fleet = inventory.read_fleet(state.inventory)
    poolers = [name for name in fleet.poolers if inventory.in_limit(state, name)]
    seen = survey.take(state, fleet, poolers or fleet.poolers)
    looks: dict[str, Callable[[], list[Change]]] = {}
    looks |= {f"server {name}": partial(_server, state, seen, name) for name in seen.servers}
    looks |= {f"pooler {name}": partial(_pooler, state, seen, name) for name in seen.poolers}
    changes = survey.together(looks)
    return Planned(seen, budget.bills(seen), [change for look in looks for change in changes[look]])


def _server(state: State, seen: Survey, name: str) -> list[Change]:
    server, found = seen.fleet.servers[name], seen.servers[name]
    lookups = auth.databases_with_lookup(seen.fleet, server, seen.versions())
    changes = [
        Change(name, "roles and lookup function", difference, "as declared", _UNNOTICED)
        for difference in auth.differences(server, found, lookups)
    ]
    own = secrets.read(inventory.host(state, name), server)
    if not own.complete:
        changes.append(Change(name, "the pooler's own secrets", "missing", "made on the host", _UNNOTICED))
    elif not (own.auth_matches and own.probe_matches):
        changes.append(Change(name, "the stored passwords", "others", "the poolers' own", _UNNOTICED))
    if server.manage_hba:
        wanted = advice.databases_by_pooler(seen.fleet, server)
        block = hba.block_of(wanted, seen.addresses, found.hba_block, seen.poolers)
        changes += [
            Change(name, "pg_hba.conf", "lacks a line", line, "a reload of PostgreSQL; sessions stay")
            for line in block
            if line not in found.hba_block and not line.startswith("#")
        ]
    return changes


def _pooler(state: State, seen: Survey, name: str) -> list[Change]:
    found, wanted = seen.poolers[name], seen.fleet.poolers[name].package_version
    version = seen.version(name)
    if version is None:
        return [Change(name, "PgBouncer", "not installed", "what apt offers after an update", apply.EFFECT["start"])]
    changes: list[Change] = []
    if found.package_version != (wanted or found.package_version or found.candidate):
        effect: Action = "restart" if found.installed else "start"
        changes.append(
            Change(
                name, "package", found.package_version or "none", str(wanted or found.candidate), apply.EFFECT[effect]
            )
        )
    elif not found.held:
        changes.append(Change(name, "package", "not held", "held", apply.EFFECT["none"]))
    config = pooler_config(seen.fleet, name, version)
    try:
        auth_secrets, _ = secrets.of_servers(state.inventory, config.servers)
        matches: bool | None = proof.userlist_matches(inventory.host(state, name), config.userlist(auth_secrets))
    except PoolwardError:
        matches = False  # a secret is still to be made, and the file with it
    differences = [*apply.unfinished(found), *apply.differences(config, found, userlist_matches=matches)]
    starts = apply.action_for(differences) == "start"
    for difference in differences:
        takes = apply.EFFECT["start"] if starts else difference.effect
        changes.append(Change(name, difference.what, difference.is_now, difference.should_be, takes))
    return changes
