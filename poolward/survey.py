"""Reading many hosts at once: every error together, not the first, and no answer where one is missing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

from gevent.pool import Pool
from pyinfra.api import State

from poolward import inventory, observe
from poolward.errors import PoolwardError, Problem, Unread
from poolward.fleet import Fleet, Server
from poolward.observed import PoolerState, ServerState
from poolward.settings import Version

T = TypeVar("T")


@dataclass(frozen=True)
class Survey:
    """What was seen of some poolers of a fleet and of the servers they connect to."""

    fleet: Fleet
    poolers: Mapping[str, PoolerState]
    servers: Mapping[str, ServerState]
    released: Mapping[str, ServerState] = field(default_factory=dict)
    """Servers that these poolers have no entry on, but perhaps had: what is left to do there is to shut them out."""

    def addresses(self, server: str) -> dict[str, str]:
        """Per pooler the address its connections to this server come from: seen on the host, else the inventory's."""
        found = {name: pooler.address for name, pooler in self.fleet.poolers.items() if pooler.address}
        for name, state in self.poolers.items():
            if seen := state.addresses.get(self.fleet.servers[server].address):
                found |= {name: seen.source} if seen.source else {}
        return found

    def networks(self, server: str) -> dict[str, str]:
        """Per pooler what pg_hba.conf of this server has to let in: its address, or the network it changes in."""
        found = self.addresses(server)
        for name, state in self.poolers.items():
            seen = state.addresses.get(self.fleet.servers[server].address)
            if seen and seen.network:
                found[name] = seen.network
        return found

    def opened(self, server: str) -> dict[str, int]:
        """Per pooler how many connections to a server it has right now, as its console has it."""
        wanted = self.fleet.servers[server]
        return {
            name: sum(
                int(row["current_connections"])
                for row in state.console.databases
                if (row["host"], row["port"]) == (wanted.address, str(wanted.port))
            )
            for name, state in self.poolers.items()
            if state.console
        }

    def serves(self, pooler: str, server: str) -> set[str]:
        """The databases of a server that a pooler serves right now, as its console has it."""
        state, wanted = self.poolers.get(pooler), self.fleet.servers[server]
        rows = state.console.databases if state and state.console else ()
        where = (wanted.address, str(wanted.port))
        return {row["database"] for row in rows if (row["host"], row["port"]) == where}

    def version(self, name: str) -> Version | None:
        """The version a deploy leaves a pooler with; None when neither the operator, the host nor apt can tell."""
        state, declared = self.poolers[name], self.fleet.poolers[name]
        if declared.package_version not in (None, state.package_version):
            return declared.declared_version
        return state.version or declared.declared_version or state.candidate_version

    def lasting_versions(self) -> dict[str, Version | None]:
        """Per pooler the version it has and a deploy leaves it; None where the deploy itself brings one."""
        wanted = {name: self.fleet.poolers[name].package_version for name in self.poolers}
        return {
            name: state.version if wanted[name] in (None, state.package_version) else None
            for name, state in self.poolers.items()
        }

    def changing(self) -> dict[str, Version]:
        """Per running pooler the version it gets, where the package's installation is itself the restart."""
        return {
            name: pooler.declared_version
            for name, state in self.poolers.items()
            if (pooler := self.fleet.poolers[name]).declared_version
            and state.active
            and pooler.runtime.upgrade == "restart"
            and pooler.package_version not in (None, state.package_version)
        }

    def versions(self) -> dict[str, Version | None]:
        """Per pooler the version it has or will get, None where that cannot be told yet."""
        return {name: self.version(name) for name in self.poolers}


def take(state: State, fleet: Fleet, poolers: Iterable[str]) -> Survey:
    """Read these poolers and their servers, in parallel; raises Unread with every host that could not be read."""
    names = list(poolers)
    servers = {server.name: server for server in fleet.servers_of(names)}
    others = [name for name in fleet.servers if name not in servers and inventory.in_limit(state, name)]

    def pooler(name: str) -> PoolerState:
        addresses = [server.address for server in fleet.servers_of([name])]
        return observe.pooler(inventory.host(state, name), fleet.poolers[name], addresses, with_candidate=True)

    def server(name: str) -> ServerState:
        databases = databases_of_interest(fleet, servers[name]) if name in servers else ()
        return observe.server(inventory.host(state, name), fleet.servers[name], databases)

    jobs: dict[str, Callable[[], PoolerState | ServerState]] = {}
    jobs |= {f"pooler {name}": partial(pooler, name) for name in names}
    jobs |= {f"server {name}": partial(server, name) for name in (*servers, *others)}
    answers = together(jobs)
    seen = Survey(
        fleet,
        {name: found for name in names if isinstance(found := answers[f"pooler {name}"], PoolerState)},
        {name: found for name in servers if isinstance(found := answers[f"server {name}"], ServerState)},
        {name: found for name in others if isinstance(found := answers[f"server {name}"], ServerState)},
    )
    # Outside of the run, and still served by a pooler that is to let go of it.
    left = [
        name for name in fleet.servers if name not in {*servers, *others} and any(seen.serves(p, name) for p in names)
    ]
    return replace(seen, released={**seen.released, **together({name: partial(server, name) for name in left})})


def databases_of_interest(fleet: Fleet, server: Server) -> list[str]:
    """The databases of a server that may need the lookup function."""
    return sorted({*fleet.pooled_databases[server.name], server.auth_database})


def together(jobs: Mapping[str, Callable[[], T]]) -> dict[str, T]:
    """Run named jobs in parallel and return all their results; raises Unread with all their errors."""
    problems: list[Problem] = []
    results: dict[str, T] = {}

    def one(name: str) -> None:
        try:
            results[name] = jobs[name]()
        except PoolwardError as error:
            host = name.rsplit(" ", 1)[-1]
            problems.append(Problem(name, error.message.removeprefix(f"{host}: "), error.hint))

    Pool(20).map(one, jobs)
    if problems:
        raise Unread("Not everything could be read; no host was changed.", sorted(problems))
    return results
