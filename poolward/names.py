"""What the host names in services' settings mean, asked on the services' own hosts."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Mapping

from pyinfra.api import State

from poolward import env_file, inventory, remote, service, shell, survey
from poolward.observed import ServiceState
from poolward.service import Service


def resolved(
    state: State, services: Iterable[Service], states: Mapping[str, ServiceState]
) -> dict[str, dict[str, list[str]]]:
    """What the names in the settings mean on each application host."""
    names: dict[str, set[str]] = {}
    for declared in services:
        wanted = names.setdefault(declared.host, set())
        found = states[declared.name]
        for file in filter(None, (found.text, found.before)):
            connections = service.settings_of(declared, env_file.variables(file.content)).values()
            wanted |= {connection.host for connection in connections if not _is_address(connection.host)}
    jobs = {f"names {host}": _lookup(state, host, wanted) for host, wanted in names.items()}
    answers = survey.together(jobs)
    return {host: answers[f"names {host}"] for host in names}


def _lookup(state: State, host: str, names: set[str]) -> Callable[[], dict[str, list[str]]]:
    def ask() -> dict[str, list[str]]:
        if not names:
            return {}
        command = shell.script("resolve", "resolve the names in its services' settings", 20, names=sorted(names))
        lines = remote.must(inventory.host(state, host), command).splitlines()
        return {words[0]: words[1:] for words in map(str.split, lines) if words}

    return ask


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return text.startswith(("/", "@")) or not text
    return True
