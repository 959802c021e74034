"""One live look at a fleet in motion: services, poolers and servers, at the same moment; it changes nothing."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial

from pyinfra.api import State

from poolward import direct, inventory, remote, shell, survey
from poolward.errors import CommandFailed, PoolwardError, Unreachable
from poolward.evidence import Seen
from poolward.fleet import Fleet
from poolward.observed import ApplicationState, Sessions, Traffic
from poolward.service import Service
from poolward.shell import services as service_shell


@dataclass(frozen=True)
class Asked:
    """What is asked about one service on its host."""

    service: Service
    settings: bool = True
    """Whether its settings are read."""
    health: bool = False
    errors: bool = False
    """Whether it is asked what its clients have seen fail."""

    @property
    def variables(self) -> dict[str, str]:
        """The question as `observe_services.sh` takes it; raises PoolwardError."""
        found = service_shell.variables(self.service)
        found |= {} if self.settings else {"settings_by": ""}
        found["health"] = health_of(self.service) if self.health else ""
        found["errors_command"] = shlex.join(self.service.errors_command) if self.errors else ""
        if any("\t" in part or "\n" in part for part in found.values()):
            raise PoolwardError(f"{self.service.name!r}: a path, URL or command cannot hold a tab or a line break.")
        return found


def health_of(declared: Service) -> str:
    """The health of a service as `observe_services.sh` asks for it: a URL, or ! and a command."""
    return declared.health if isinstance(declared.health, str) else f"!{shlex.join(declared.health)}"


@dataclass(frozen=True)
class Look:
    """Everything that was seen at one moment."""

    applications: Mapping[str, ApplicationState]
    seen: Seen
    silent: Mapping[str, str] = field(default_factory=dict)
    """By pooler that could not be asked why not: who is connected through it is not known."""
    gone: Mapping[str, str] = field(default_factory=dict)
    """By application host that could not be reached why not: where its services stand is not known."""


def look(
    state: State,
    fleet: Fleet,
    asked: Mapping[str, Iterable[Asked]],
    *,
    health_timeout: int = 5,
    log_since: Mapping[str, float] | None = None,
    without_poolers: bool = False,
    without_applications: bool = False,
) -> Look:
    """Look at these services (by host) and at every pooler and server, in parallel; raises Unread if any is silent.

    `log_since` gives, by pooler and in its own clock, from when on its log is read. `without_poolers` is for a way back
    to the server, which a pooler that cannot be asked must not bar; `without_applications` shows the others where an
    application host cannot be reached.
    """
    since = log_since or {}
    silent: dict[str, str] = {}
    gone: dict[str, str] = {}

    def of_application(name: str) -> ApplicationState | None:
        try:
            return application(state, name, list(asked[name]), ports(fleet), health_timeout)
        except Unreachable as error:
            if not without_applications:
                raise
            gone[name] = error.message
            return None

    def of_pooler(name: str) -> Traffic | None:
        try:
            return traffic(state, fleet, name, since.get(name, 0.0))
        except PoolwardError as error:
            if not without_poolers:
                raise
            if isinstance(error, Unreachable) and name not in {*asked, *fleet.servers}:
                remote.give_up(inventory.host(state, name))
            silent[name] = error.message
            return None

    jobs: dict[str, Callable[[], ApplicationState | Traffic | Sessions | None]] = {}
    jobs |= {f"application {name}": partial(of_application, name) for name in asked}
    jobs |= {f"pooler {name}": partial(of_pooler, name) for name in fleet.poolers}
    jobs |= {f"server {name}": partial(sessions, state, fleet, name) for name in fleet.servers}
    answers = survey.together(jobs)
    applications = {
        name: found for name in asked if isinstance(found := answers[f"application {name}"], ApplicationState)
    }
    return Look(
        applications,
        Seen(
            {name: found.sockets for name, found in applications.items()},
            {n: found for n in fleet.servers if isinstance(found := answers[f"server {n}"], Sessions)},
            {n: found for n in fleet.poolers if isinstance(found := answers[f"pooler {n}"], Traffic)},
            {name: found.owners for name, found in applications.items()},
            {name: found.local_sockets for name, found in applications.items()},
        ),
        silent,
        gone,
    )


def ports(fleet: Fleet) -> list[int]:
    """The ports of every server and every pooler."""
    return sorted({server.port for server in fleet.servers.values()} | {listen_port(fleet, p) for p in fleet.poolers})


def listen_port(fleet: Fleet, pooler: str) -> int:
    """The port clients reach a pooler by."""
    return int(str(fleet.poolers[pooler].effective("listen_port")))


def application(
    state: State, name: str, services: list[Asked], ports: list[int], health_timeout: int
) -> ApplicationState:
    """The services of one application host; raises CommandFailed or Unreadable."""
    questions = [one.variables for one in services]
    command = service_shell.observe(questions, [str(port) for port in ports], health_timeout)
    return ApplicationState.parse(remote.must(inventory.host(state, name), command).splitlines(), name)


def traffic(state: State, fleet: Fleet, name: str, since: float = 0.0) -> Traffic:
    """Who is connected through one pooler; raises CommandFailed or Unreadable."""
    command = shell.script(
        "observe_traffic",
        "look at the pooler's sessions",
        15,
        fleet.poolers[name].runtime.place,
        since=f"{since:.3f}" if since else "0",
    )
    return Traffic.parse(remote.must(inventory.host(state, name), command).splitlines(), name)


def sessions(state: State, fleet: Fleet, name: str) -> Sessions:
    """The sessions of one server; raises CommandFailed or Unreadable."""
    server, purpose = fleet.servers[name], "look at the server's sessions"
    if server.dsn:
        output = direct.sessions(server)
        if not output.succeeded:
            raise CommandFailed(f"{name}: could not {purpose}: {remote.last_lines(output.stderr)}")
        return Sessions.parse(output.stdout, name)
    command = shell.script("observe_sessions", purpose, 15, server.place, sql=shell.sql("observe_sessions"))
    return Sessions.parse(remote.must(inventory.host(state, name), command), name)
