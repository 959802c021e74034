"""What the host names in services' settings mean, asked on the services' own hosts."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

from pyinfra.api import State

from poolward import env_file, inventory, remote, service, shell, survey
from poolward.errors import PoolwardError
from poolward.fleet import Fleet
from poolward.observed import ServiceState
from poolward.service import Service


def resolved(
    state: State, services: Iterable[Service], states: Mapping[str, ServiceState], fleet: Fleet
) -> dict[str, dict[str, list[str]]]:
    """By service what the names in its settings mean where it runs: on its host, or in its container there.

    A container also says what it calls the servers and the poolers by, because others may call them otherwise.
    """
    names: dict[tuple[str, str], set[str]] = {}
    for declared in services:
        wanted = names.setdefault(_place(declared), set())
        found = states[declared.name]
        for file in filter(None, (found.text, found.before)):
            # Who reads the settings for themselves says what is wrong with them, and it is this service's alone.
            with suppress(PoolwardError):
                connections = service.settings_of(declared, env_file.variables(file.content)).values()
                wanted |= {connection.host for connection in connections}
        if declared.compose_service:
            wanted |= {server.address for server in fleet.servers.values()}
            wanted |= {one.runtime.network_name or one.hostname for one in fleet.poolers.values()}
    jobs = {
        f"names {place}": _lookup(state, *place, {name for name in wanted if not _is_address(name)}, states)
        for place, wanted in names.items()
    }
    answers = survey.together(jobs)
    return {declared.name: answers[f"names {_place(declared)}"] for declared in services}


def _place(declared: Service) -> tuple[str, str]:
    """Where a service's names mean what they mean: its host, and there its own container."""
    return declared.host, declared.name if declared.compose_service else ""


def _lookup(
    state: State, host: str, contained: str, names: set[str], states: Mapping[str, ServiceState]
) -> Callable[[], dict[str, list[str]]]:
    def ask() -> dict[str, list[str]]:
        container = next((one.id for one in states[contained].containers if one.running), "") if contained else ""
        if not names or (contained and not container):
            return {}
        command = shell.script(
            "resolve",
            "resolve the names in its services' settings",
            20,
            parts=["container_names"],
            names=sorted(names),
            container=container,
        )
        lines = remote.must(inventory.host(state, host), command).splitlines()
        return {words[0]: words[1:] for words in map(str.split, lines) if words}

    return ask


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return text.startswith(("/", "@")) or not text
    return True
