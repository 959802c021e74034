"""A live look before a removal: what of Poolward's is there, and who still uses it; it changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from pyinfra.api import State

from poolward import evidence, inventory, moving, names, observe, removal, survey, target, watch
from poolward.errors import PoolwardError, Problem, Refused
from poolward.evidence import Seen
from poolward.fleet import Fleet
from poolward.observed import (
    ApplicationState,
    PooledClient,
    PoolerTraces,
    ServerTraces,
    ServiceState,
    Sessions,
    Traffic,
)
from poolward.service import Service, settings_of
from poolward.watch import Asked


@dataclass(frozen=True)
class Remains:
    """What was seen of some poolers, of every server, and of the declared services.

    Of a server without a host only its sessions: what is there is its owner's to take away.
    """

    poolers: Mapping[str, PoolerTraces]
    servers: Mapping[str, ServerTraces]
    sessions: Mapping[str, Sessions]
    traffic: Mapping[str, Traffic]
    """By pooler that runs; younger than the sessions."""
    applications: Mapping[str, ApplicationState]
    services: Sequence[Service]

    def states(self) -> dict[str, ServiceState]:
        """By service."""
        return {service.name: self.applications[service.host].services[service.name] for service in self.services}

    def owners(self) -> dict[PooledClient, str]:
        """The service behind each client, where its socket tells."""
        seen = Seen(
            {name: found.sockets for name, found in self.applications.items()},
            {},
            self.traffic,
            {name: found.owners for name, found in self.applications.items()},
        )
        return {
            client: service.name
            for service in self.services
            for client in evidence.census(seen, service.host, service.owner).pooled
        }


def look(state: State, fleet: Fleet, poolers: Iterable[str]) -> Remains:
    """Look, in parallel; raises Refused with every host that is silent: it may have clients nobody counted."""
    wanted = list(poolers)
    hosts = sorted({service.host for service in fleet.services})
    ports = sorted({fleet.poolers[name].port for name in wanted})

    def pooler(name: str) -> tuple[PoolerTraces, Traffic | None]:
        traces = observe.pooler_traces(inventory.host(state, name), fleet.poolers[name])
        # A PgBouncer that Poolward never touched is none of its business.
        return traces, watch.traffic(state, fleet, name) if traces.any and traces.runs else None

    def application(name: str) -> ApplicationState:
        asked = [Asked(service) for service in fleet.services if service.host == name]
        return watch.application(state, name, asked, ports, 5)

    def server(name: str) -> tuple[ServerTraces | None, Sessions]:
        server = fleet.servers[name]
        traces = None if server.hostless else observe.server_traces(inventory.host(state, name), server)
        return traces, watch.sessions(state, fleet, name)

    servers = survey.together({f"server {name}": partial(server, name) for name in fleet.servers})
    elsewhere: dict[str, Callable[[], Any]] = {f"pooler {name}": partial(pooler, name) for name in wanted}
    elsewhere |= {f"application {name}": partial(application, name) for name in hosts}
    seen = survey.together(elsewhere)
    found = {name: seen[f"pooler {name}"] for name in wanted}
    return Remains(
        poolers={name: traces for name, (traces, _) in found.items()},
        servers={name: traces for name in fleet.servers if (traces := servers[f"server {name}"][0])},
        sessions={name: servers[f"server {name}"][1] for name in fleet.servers},
        traffic={name: traffic for name, (_, traffic) in found.items() if traffic},
        applications={name: seen[f"application {name}"] for name in hosts},
        services=fleet.services,
    )


def users(state: State, fleet: Fleet, seen: Remains) -> list[Problem]:
    """Who is still pooled by these poolers, or will be as soon as it starts."""
    owners = seen.owners()
    found = [one for name, traffic in seen.traffic.items() for one in removal.pooled(name, traffic, owners)]
    states = seen.states()
    readable: list[Service] = []
    for service in seen.services:
        try:
            # A service that stays direct may say nothing of its settings: then only its clients tell.
            if service.env_file or service.read_command or service.compose_service:
                settings_of(service, moving.variables(service, states[service.name]))
                readable.append(service)
        except Refused as refused:
            found += refused.problems
        except PoolwardError as error:
            found.append(Problem(service.where, error.message, error.hint))
    resolved = names.resolved(state, readable, states, fleet)
    for service in readable:
        variables = moving.variables(service, states[service.name])
        reached = target.reached(service, variables, fleet, resolved[service.name])
        found += removal.moved(service, states[service.name], reached, seen.poolers)
    return found


def others(state: State, fleet: Fleet, seen: Remains) -> list[Problem]:
    """Who logs in as Poolward's roles and is no pooler of this fleet. Looked at twice: a session may just be ending."""
    found: list[Problem] = []
    for name, server in fleet.servers.items():
        if strangers := removal.strangers(server, seen.sessions[name], seen.traffic.values()):
            alive = {backend.pid for backend in watch.sessions(state, fleet, name).backends}
            found += removal.used_by_others(server, [backend for backend in strangers if backend.pid in alive])
    return found
