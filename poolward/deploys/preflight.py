"""Everything that can be known before the first change: the fleet, typed and rendered, against what the hosts say."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar, cast
from weakref import WeakKeyDictionary

from gevent.lock import RLock
from pyinfra import logger
from pyinfra.api import State
from pyinfra.api.exceptions import DeployError

from poolward import advice, apply, auth_users, budget, handing_over, inventory, refusals, survey
from poolward.bill import MAY_LEAVE
from poolward.desired import pooler_config
from poolward.errors import PoolwardError, Refused
from poolward.fleet import Fleet
from poolward.lease import Lease
from poolward.survey import Survey

T = TypeVar("T")


@dataclass(frozen=True)
class Plan:
    """What a run works on: the fleet as it was seen, and who carries the operations of each server."""

    seen: Survey
    acting_hosts: Mapping[str, str]
    """Per server the host of the run that carries its operations: its own, or a pooler when --limit left it out."""
    waves: tuple[tuple[str, ...], ...]
    """The poolers of the run in the order they are configured."""

    @property
    def fleet(self) -> Fleet:
        return self.seen.fleet

    def databases_meanwhile(self, server: str) -> dict[str, list[str]]:
        """By pooler what pg_hba.conf has to let in during the run: what is declared, and what is still served."""
        declared = advice.databases_by_pooler(self.fleet, self.fleet.servers[server])
        wanted = {name: {*declared.get(name, ()), *self.seen.serves(name, server)} for name in self.fleet.poolers}
        return {name: sorted(databases) for name, databases in wanted.items() if databases}

    def databases_afterwards(self, server: str) -> dict[str, list[str]]:
        """The same after the run: what is declared alone, for the poolers this run configures."""
        declared = advice.databases_by_pooler(self.fleet, self.fleet.servers[server])
        configured = {name for wave in self.waves for name in wave}
        meanwhile = self.databases_meanwhile(server)
        return {name: found for name, found in meanwhile.items() if name not in configured} | {
            name: databases for name, databases in declared.items() if name in configured
        }

    def narrows(self, server: str) -> bool:
        """Whether a pooler of this run lets go of a database, or has done so before."""
        return server in self.seen.released or self.databases_afterwards(server) != self.databases_meanwhile(server)


_lock = RLock()
_made: WeakKeyDictionary[State, dict[Callable[[State], object], object]] = WeakKeyDictionary()


def plan(state: State) -> Plan:
    """The plan of this run, made once for all its hosts; raises DeployError, and nothing was changed."""
    return once(state, _make)


def seen(state: State) -> Survey:
    """What is there, without judging it; made once for all hosts of the run, raises DeployError."""
    return once(state, _look)


def once(state: State, make: Callable[[State], T]) -> T:
    """pyinfra runs a deploy once per host, in parallel; this part of it is the same for all of them.

    Raises DeployError for a PoolwardError, on every host.
    """
    with _lock:
        made = _made.setdefault(state, {})
        if make not in made:
            try:
                made[make] = make(state)
            except PoolwardError as error:
                made[make] = DeployError(str(error))
        found = made[make]
    if isinstance(found, DeployError):
        raise found
    return cast(T, found)


def _look(state: State) -> Survey:
    fleet = inventory.read_fleet(state.inventory)
    names = [name for name in fleet.poolers if inventory.in_limit(state, name)]
    in_run = [name for name in fleet.servers if inventory.in_limit(state, name)]
    if not names and not in_run:
        raise PoolwardError("--limit leaves neither a pooler nor a database host in the run.", "Name at least one.")
    # Without a pooler in the run the database side is still that of all of them.
    return survey.take(state, fleet, names or fleet.poolers)


def _make(run: State) -> Plan:
    seen = _look(run)
    if problems := refusals.of(seen, run.inventory, seen.servers):
        for name in seen.servers:
            if seen.fleet.servers[name].hostless and (sql := handing_over.sql(seen, name)):
                logger.info(f"The SQL for the owner of {name}:\n{sql}")
        raise Refused("This cannot be deployed; no host was changed.", problems)
    _judge_budget(seen)
    for name, state in seen.servers.items():
        for line in advice.notes(seen.fleet.servers[name], state, seen.addresses(name)):
            logger.warning(line)
    for name, found in seen.poolers.items():
        for line in auth_users.notes(seen.fleet.poolers[name], found.package_version or found.candidate):
            logger.warning(line)
    pending = _announce(seen)
    _refuse_beside_a_cutover(run, seen, pending)
    poolers = [name for name in seen.poolers if inventory.in_limit(run, name)]
    acting: dict[str, str] = {}
    for name in (*seen.servers, *seen.released):
        if inventory.in_limit(run, name):
            acting[name] = name
        elif poolers:
            acting[name] = poolers[0]
    return Plan(seen, acting, _waves(poolers, pending))


def _refuse_beside_a_cutover(run: State, seen: Survey, pending: set[str]) -> None:
    """A pooler that changes while a service moves to it would have that move fail, or its proof mean nothing.

    A deploy speaks to no application host: where one keeps the lease, nobody is asked.
    """
    keeper = seen.fleet.keeper
    if keeper in {*seen.servers, *seen.poolers} and any(seen.poolers[name].active for name in pending):
        Lease(inventory.host(run, keeper), uuid.uuid4().hex, "deploy PgBouncer").refuse_if_held()


def _waves(poolers: list[str], pending: set[str]) -> tuple[tuple[str, ...], ...]:
    """Poolers that are in for a change go one by one, each proved before the next, so that one always serves.

    The others only have to be looked at, all at once.
    """
    settled = tuple(name for name in poolers if name not in pending)
    return (*((name,) for name in poolers if name in pending), *([settled] if settled else []))


def _judge_budget(seen: Survey) -> None:
    """Refuse what may exhaust a server, unless the operator said to go on."""
    for name, found in budget.bills(seen).items():
        for note in found.staying:
            logger.warning(f"{name}: {note}")
        if found.fits:
            continue
        sentence = f"{name}: the poolers may open {found.worst_case} connections, and {found.left} are left for them."
        if found.refused and not seen.fleet.allow_overcommit:
            lines = "".join(f"\n  {line.connections:>6}  {line.what}" for line in (*found.has, *found.takes))
            raise PoolwardError(
                f"{sentence}{lines}\n  {found.smallest_change}",
                "Change it in pgbouncer_databases, or set pgbouncer_allow_overcommit = True to go on all the same.",
            )
        why = "because of pgbouncer_allow_overcommit" if found.refused else MAY_LEAVE
        logger.warning(f"{sentence} It goes on {why}. {found.smallest_change}")


def _announce(seen: Survey) -> set[str]:
    """Say before it happens what each running pooler is in for; returns the poolers that are in for something."""
    pending: set[str] = set()
    for name, state in seen.poolers.items():
        runtime, wanted = seen.fleet.poolers[name].runtime, seen.fleet.poolers[name].package_version
        if state.active and (not state.installed or wanted not in (None, state.package_version)):
            versions = f" from {state.package_version} to {wanted}" if state.installed else ""
            logger.warning(f"{name}: the {runtime.product} changes{versions}: {apply.EFFECT[runtime.upgrade]}")
            pending.add(name)
        # Without psql on the host its console was not asked yet.
        silent = state.console is None and state.active and state.packages["postgresql-client"][1] == "installed"
        version = seen.version(name)
        if state.version is None or version is None or (state.console is None and not silent):
            pending.add(name)
        else:
            config = pooler_config(seen.fleet, name, version)
            found = [*apply.unfinished(state), *apply.differences(config, state)]
            for difference in found:
                logger.warning(f"{name}: {difference}")
            if found:
                pending.add(name)
                logger.warning(f"{name}: this takes {apply.effect_of(found)}.")
    return pending
