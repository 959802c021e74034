"""Everything that can be known before the first change: the fleet, typed and rendered, against what the hosts say."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar
from weakref import WeakKeyDictionary

from gevent.lock import RLock
from gevent.pool import Pool
from pyinfra import logger
from pyinfra.api import State
from pyinfra.api.exceptions import DeployError

from poolward import advice, apply, inventory, observe
from poolward.desired import pooler_config
from poolward.errors import PoolwardError, Problem, Refused
from poolward.fleet import Fleet, Server
from poolward.observed import PoolerState, ServerState
from poolward.settings import Version

T = TypeVar("T")


@dataclass(frozen=True)
class Plan:
    """What a run works on: the whole fleet, the hosts in the run, and what preflight saw of them."""

    fleet: Fleet
    poolers: Mapping[str, PoolerState]
    servers: Mapping[str, ServerState]
    acting_hosts: Mapping[str, str]
    """Per server the host of the run that carries its operations: its own, or a pooler when --limit left it out."""
    addresses: Mapping[str, str]
    """Per pooler the address its connections come from."""

    def versions(self) -> dict[str, Version]:
        """Per pooler in the run the version it has or will get; unknown ones count as the oldest supported."""
        return {name: _version(self.fleet, name, state) or Version(1, 18) for name, state in self.poolers.items()}


_lock = RLock()
_plans: WeakKeyDictionary[State, Plan | DeployError] = WeakKeyDictionary()


def plan(state: State) -> Plan:
    """The plan of this run, made once for all its hosts; raises DeployError, and nothing was changed."""
    with _lock:
        if state not in _plans:
            try:
                _plans[state] = _make(state)
            except PoolwardError as error:
                _plans[state] = DeployError(str(error))
        found = _plans[state]
    if isinstance(found, DeployError):
        raise found
    return found


def _make(state: State) -> Plan:
    fleet = inventory.read_fleet(state.inventory)
    names = [name for name in fleet.poolers if inventory.in_limit(state, name)]
    in_run = [name for name in fleet.servers if inventory.in_limit(state, name)]
    if not names and not in_run:
        raise PoolwardError("--limit leaves neither a pooler nor a database host in the run.", "Name at least one.")
    # Without a pooler in the run the database side is still that of all of them.
    names = names or list(fleet.poolers)
    servers = {server.name: server for server in fleet.servers_of(names)}
    poolers = _together(names, lambda name: _observe_pooler(state, fleet, name))
    _check_versions(fleet, poolers)
    states = _together(servers, lambda name: _observe_server(state, fleet, servers[name]))
    acting = {name: name if inventory.in_limit(state, name) else names[0] for name in servers}
    made = Plan(fleet, poolers, states, acting, _addresses(fleet, poolers, servers))
    _refuse(made, servers)
    for line in advice.notes(fleet, states, made.addresses):
        logger.warning(line)
    for name, pooler in poolers.items():
        _announce(fleet, name, pooler)
    return made


def _together(names: Iterable[str], read: Callable[[str], T]) -> dict[str, T]:
    """Read several hosts at once; all their errors together, not the first."""
    wanted = list(names)
    errors: list[Problem] = []

    def one(name: str) -> T | None:
        try:
            return read(name)
        except PoolwardError as error:
            errors.append(Problem(name, error.message, error.hint))
            return None

    found = dict(zip(wanted, Pool(20).map(one, wanted), strict=True))
    if errors:
        raise Refused("Not everything could be read; no host was changed.", sorted(errors))
    return {name: value for name, value in found.items() if value is not None}


def _observe_pooler(state: State, fleet: Fleet, name: str) -> PoolerState:
    addresses = [server.address for server in fleet.servers_of([name])]
    return observe.pooler(inventory.host(state, name), addresses, with_candidate=True)


def _observe_server(state: State, fleet: Fleet, server: Server) -> ServerState:
    databases = {*fleet.pooled_databases[server.name], server.auth_database}
    return observe.server(inventory.host(state, server.name), server, sorted(databases))


def _version(fleet: Fleet, name: str, state: PoolerState) -> Version | None:
    return state.version or fleet.poolers[name].declared_version or state.candidate_version


def _check_versions(fleet: Fleet, poolers: Mapping[str, PoolerState]) -> None:
    """Render every pooler's files for the version it has or will get."""
    problems: list[Problem] = []
    for name, state in poolers.items():
        version = _version(fleet, name, state)
        try:
            if version is not None:
                _ = pooler_config(fleet, name, version).ini
        except Refused as refused:
            problems += refused.problems
    if problems:
        raise Refused("The settings do not fit; no host was changed.", problems)


def _addresses(fleet: Fleet, poolers: Mapping[str, PoolerState], servers: Mapping[str, Server]) -> dict[str, str]:
    found = {name: pooler.address for name, pooler in fleet.poolers.items()}
    for name, state in poolers.items():
        for server in servers.values():
            _, source = state.addresses.get(server.address, (None, None))
            found[name] = source or found[name]
    return {name: address for name, address in found.items() if address}


def _refuse(made: Plan, servers: Mapping[str, Server]) -> None:
    problems: list[Problem] = []
    for name, server in servers.items():
        problems += advice.problems(made.fleet, server, made.servers[name], made.addresses, list(made.poolers))
    if problems:
        raise Refused("The database side is not ready; no host was changed.", problems)


def _announce(fleet: Fleet, name: str, state: PoolerState) -> None:
    """Say before it happens what a running pooler is in for."""
    if state.version is None or state.console is None:
        return
    for difference in apply.differences(pooler_config(fleet, name, state.version), state, userlist_matches=None):
        logger.warning(f"{name}: {difference}")
