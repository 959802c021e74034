"""Reading many hosts at once: every error together, not the first, and no answer where one is missing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from gevent.pool import Pool
from pyinfra.api import State

from poolward import inventory, observe
from poolward.errors import PoolwardError, Problem, Refused
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

    @property
    def addresses(self) -> dict[str, str]:
        """Per pooler the address its connections come from: seen on the host, else as the inventory has it."""
        found = {name: pooler.address for name, pooler in self.fleet.poolers.items() if pooler.address}
        for name, state in self.poolers.items():
            for server in self.fleet.servers_of([name]):
                _, source = state.addresses.get(server.address, (None, None))
                if source:
                    found[name] = source
        return found

    def version(self, name: str) -> Version | None:
        """The version a pooler has or will get; None when neither the host, the operator nor apt can tell."""
        state = self.poolers[name]
        return state.version or self.fleet.poolers[name].declared_version or state.candidate_version

    def versions(self) -> dict[str, Version | None]:
        """Per pooler the version it has or will get, None where that cannot be told yet."""
        return {name: self.version(name) for name in self.poolers}


def take(state: State, fleet: Fleet, poolers: Iterable[str]) -> Survey:
    """Read these poolers and their servers, in parallel; raises Refused with every host that could not be read."""
    names = list(poolers)
    servers = {server.name: server for server in fleet.servers_of(names)}

    def pooler(name: str) -> PoolerState:
        addresses = [server.address for server in fleet.servers_of([name])]
        return observe.pooler(inventory.host(state, name), addresses, with_candidate=True)

    def server(name: str) -> ServerState:
        return observe.server(inventory.host(state, name), servers[name], databases_of_interest(fleet, servers[name]))

    jobs: dict[str, Callable[[], PoolerState | ServerState]] = {}
    jobs |= {f"pooler {name}": partial(pooler, name) for name in names}
    jobs |= {f"server {name}": partial(server, name) for name in servers}
    answers = together(jobs)
    return Survey(
        fleet,
        {name: found for name in names if isinstance(found := answers[f"pooler {name}"], PoolerState)},
        {name: found for name in servers if isinstance(found := answers[f"server {name}"], ServerState)},
    )


def databases_of_interest(fleet: Fleet, server: Server) -> list[str]:
    """The databases of a server that may need the lookup function."""
    return sorted({*fleet.pooled_databases[server.name], server.auth_database})


def together(jobs: Mapping[str, Callable[[], T]]) -> dict[str, T]:
    """Run named jobs in parallel and return all their results; raises Refused with all their errors."""
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
        raise Refused("Not everything could be read; no host was changed.", sorted(problems))
    return results
