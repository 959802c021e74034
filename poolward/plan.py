"""What a deploy would change and what each change means; decided by the same functions that a deploy uses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from poolward import inventory, survey  # isort: skip - inventory loads pyinfra, which must come before paramiko
from pyinfra.api import Host, State
from rich.console import Console

from poolward import (
    advice,
    apply,
    auth,
    auth_users,
    budget,
    hba,
    refusals,
    secrets,
    tables,
    unseen,
    vulnerabilities,
)
from poolward.apply import Difference
from poolward.bill import MAY_LEAVE, Bill
from poolward.desired import PoolerConfig, pooler_config
from poolward.errors import PoolwardError, Problem, Refused
from poolward.observed import ServerState
from poolward.survey import Survey
from poolward.terminal import led
from poolward.unseen import Unseen

_UNNOTICED = "no client notices"
_HBA_RELOAD = "a reload of PostgreSQL; sessions stay"


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
    """The bill of every server, every change, and what was not seen."""

    seen: Survey
    bills: dict[str, Bill]
    changes: list[Change]
    unseen: list[Unseen]
    problems: list[Problem]
    """For which a deploy would be refused."""

    @property
    def differs(self) -> bool:
        """Whether there is something to do, or something in the way of a deploy."""
        return bool(self.changes or self.problems or self._over)

    @property
    def _over(self) -> list[str]:
        """The servers for whose bill a deploy would be refused."""
        overcommit = self.seen.fleet.allow_overcommit
        return [] if overcommit else [name for name, bill in self.bills.items() if bill.refused]

    def show(self, console: Console) -> None:
        """Print it for a person."""
        for name, bill in self.bills.items():
            direct = budget.direct_now(self.seen, name)
            console.print(tables.bill(bill, direct), "")
            left = auth.left_behind(self.seen.fleet.servers[name], self.seen.servers[name])
            for note in (*bill.staying, *bill.notes, *self._vulnerable(), *filter(None, [left])):
                console.print(f"  · {note}")
            if name in self._over:
                console.print(led("bold red", "A deploy would be refused.", f" {bill.smallest_change}"))
            elif not bill.fits:
                why = "because of pgbouncer_allow_overcommit" if bill.refused else MAY_LEAVE
                console.print(led("bold red", f"A deploy goes on {why}.", f" {bill.smallest_change}"))
            console.print("")
        if self.unseen:
            console.print(tables.unseen(self.unseen), "")
        if self.problems:
            refused = Refused("A deploy would be refused:", self.problems)
            console.print(str(refused), style="bold red")
            console.print("")
        if not self.differs:
            told = "in what could be seen a" if self.unseen else "a"
            console.print(led("bold green", "Nothing to do:", f" {told} deploy would change nothing."))
            return
        if not self.changes:
            return
        console.print(tables.changes(self.changes), "")
        count = f"{len(self.changes)} changes" if len(self.changes) > 1 else "One change"
        console.print(led("bold", f"{count} pending.", " The deploy: pyinfra -y INVENTORY deploy/pgbouncer.py"))

    def _vulnerable(self) -> list[str]:
        found = {name: state.package_version for name, state in self.seen.poolers.items() if state.package_version}
        sentences = [told for package in sorted({*found.values()}) if (told := vulnerabilities.sentence(package))]
        poolers = self.seen.fleet.poolers
        return sentences + [note for name in found for note in auth_users.notes(poolers[name], found[name])]

    def document(self) -> dict[str, Any]:
        """The same for a machine."""
        return {
            "clean": not (self.differs or self.unseen),
            "changes": self.changes,
            "problems": self.problems,
            "unseen": self.unseen,
            "bills": {name: b.document() for name, b in self.bills.items()},
        }


def make(path: str, limit: tuple[str, ...] = (), dsns: Mapping[str, str] | None = None) -> Planned:
    """Look at the hosts of an inventory and plan; raises PoolwardError when any of them cannot be read.

    `dsns` are connection strings by server, for those that are not asked on their hosts.
    """
    with inventory.opened(path, limit) as state:
        return _made(state, dsns)


def _made(state: State, dsns: Mapping[str, str] | None) -> Planned:
    fleet = inventory.read_fleet(state.inventory, dsns)
    poolers = [name for name in fleet.poolers if inventory.in_limit(state, name)]
    seen = survey.take(state, fleet, poolers or fleet.poolers)
    looks: dict[str, Callable[[], list[Change]]] = {}
    looks |= {f"server {name}": partial(_server, state, seen, name) for name in seen.servers}
    looks |= {
        f"pg_hba.conf of server {name}": partial(_access, seen, name, found) for name, found in seen.released.items()
    }
    looks |= {f"pooler {name}": partial(_pooler, state, seen, name) for name in seen.poolers}
    changes = survey.together(looks)
    return Planned(
        seen,
        budget.bills(seen),
        [change for look in looks for change in changes[look]],
        unseen.of(seen),
        refusals.of(seen, state.inventory, [name for name in seen.servers if fleet.servers[name].deployable]),
    )


def _server(state: State, seen: Survey, name: str) -> list[Change]:
    server, found = seen.fleet.servers[name], seen.servers[name]
    if server.hostless:  # what it lacks is its owner's to change: it stands among the problems
        return []
    lookups = auth.databases_with_lookup(seen.fleet, server, seen.versions())
    changes = [
        Change(name, "roles and lookup function", difference, "as declared", _UNNOTICED)
        for difference in auth.differences(server, found, lookups)
    ]
    if server.dsn is None:
        own = secrets.read(inventory.host(state, name), server)
        if not own.complete:
            changes.append(Change(name, "the pooler's own secrets", "missing", "made on the host", _UNNOTICED))
        elif own.differing:
            changes.append(Change(name, "the stored passwords", "others", "the poolers' own", _UNNOTICED))
    return changes + _access(seen, name, found)


def _access(seen: Survey, name: str, found: ServerState) -> list[Change]:
    server = seen.fleet.servers[name]
    if not server.manage_hba or found.hba_block is None:
        return []
    wanted = advice.databases_by_pooler(seen.fleet, server)
    block = hba.block_of(wanted, seen.networks(name), found.hba_block, seen.poolers)
    missing, stray = hba.block_differences(block, found.hba_block)
    changes = [Change(name, "pg_hba.conf", "lacks a line", line, _HBA_RELOAD) for line in missing]
    changes += [Change(name, "pg_hba.conf", line, "removed", _HBA_RELOAD) for line in stray]
    if found.hba_loaded is False:
        changes.append(Change(name, "pg_hba.conf", "changed on disk", "loaded", _HBA_RELOAD))
    return changes


def _pooler(state: State, seen: Survey, name: str) -> list[Change]:
    found, declared = seen.poolers[name], seen.fleet.poolers[name]
    wanted, runtime = declared.package_version, declared.runtime
    version = seen.version(name)
    takes = apply.EFFECT[runtime.upgrade if found.installed or found.active else "start"]
    if version is None:
        return [Change(name, "PgBouncer", "not installed", "what apt offers after an update", takes)]
    changes: list[Change] = []
    if not found.installed or found.package_version != (wanted or found.package_version):
        new = str(wanted or found.candidate or version)
        changes.append(Change(name, runtime.product, found.package_version or "none", new, takes))
    elif not found.held:
        changes.append(Change(name, runtime.product, "not held", "held", apply.EFFECT["none"]))
    try:
        config = pooler_config(seen.fleet, name, version)
    except Refused:
        return changes  # why is among the refusals
    differences = [*apply.unfinished(found), *apply.differences(config, found)]
    differences += _userlist(inventory.host(state, name), config)
    starts = apply.action_for(differences) == "start"
    for difference in differences:
        effect = apply.EFFECT["start"] if starts else difference.effect
        changes.append(Change(name, difference.what, difference.is_now, difference.should_be, effect))
    return changes


def _userlist(target: Host, config: PoolerConfig) -> list[Difference]:
    """What differs in userlist.txt, as far as the secrets in it are in reach."""
    if not all(server.secrets_in_reach for server in config.servers):
        return []
    live = secrets.live_userlist(target, config)
    try:
        known = secrets.of_servers(target.inventory, config.servers)
    except PoolwardError:
        return [Difference("userlist.txt", "differs", "holds the secret that is still to be made", "reload")]
    return [
        *apply.userlist_differences(config, secrets.wanted_userlist(target, config, known, live), live),
        *apply.probe_file_differences(config, secrets.of_probe(known), secrets.live_probe_file(target, config)),
    ]
