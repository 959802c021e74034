"""A service as Docker Compose has it: what its files say, and what its containers were made with."""

from __future__ import annotations

import base64
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from poolward import env_file


@dataclass(frozen=True)
class SettingsFile:
    """A settings file as it is on the host; its bytes are in no `repr`, because there are passwords in them."""

    owner: str
    group: str
    mode: str
    changed: float
    """When it was changed last (ctime), in seconds of the epoch."""
    content: bytes = field(repr=False)


@dataclass(frozen=True)
class Container:
    """A container of a service, running or not."""

    id: str
    name: str
    status: str
    """Docker's word: `running`, `restarting`, `exited` …"""
    started: str
    environment: Mapping[str, str] = field(repr=False)
    """What it was made with; there are passwords in it."""
    stop_timeout: int = 10
    """Seconds it is given to end by itself (`stop_grace_period`)."""
    networks: frozenset[str] = frozenset()
    compose: str = "docker compose"
    """How Compose was called when it made it: its project, directory and files."""

    @property
    def running(self) -> bool:
        return self.status == "running"


@dataclass(frozen=True)
class Written:
    """The file that Compose reads settings from, and what Compose makes of it."""

    file: SettingsFile
    original: SettingsFile | None
    """The file before the last move, for how it wrote the values."""
    environment: Mapping[str, str] = field(repr=False)
    """All that Compose would give to a container now."""
    others: Mapping[str, Mapping[str, str]] = field(default_factory=dict, repr=False)
    """The same of the project's other services, by name."""
    networks: frozenset[str] | None = None
    """The networks a container would be on; None where it has none of its own."""

    @property
    def settings(self) -> SettingsFile:
        """The values as an environment file, in place of what only Compose can read."""
        valid = {name: value for name, value in self.environment.items() if name.isidentifier()}
        return replace(self.file, content=env_file.replaced(b"", valid))

    def made(self, container: Container) -> bool:
        """Whether a container has these values: it is not older than they are."""
        return all(container.environment.get(name) == value for name, value in self.environment.items())


def containers(printed: str) -> tuple[Container, ...]:
    """Read what `docker inspect` prints of each, one a line, all of it in base64."""
    found = [json.loads(line) for line in base64.b64decode(printed, validate=True).decode().splitlines()]
    return tuple(
        Container(
            id=one["Id"],
            name=one["Name"].lstrip("/"),
            status=one["State"]["Status"],
            started=one["State"]["StartedAt"],
            environment=dict(line.partition("=")[::2] for line in one["Env"] or ()),
            stop_timeout=10 if one["StopTimeout"] is None else one["StopTimeout"],
            networks=frozenset(one["Networks"] or ()),
            compose=_called(one["Compose"]),
        )
        for one in found
    )


def written(file: SettingsFile | None, original: SettingsFile | None, rendered: str) -> Written | None:
    """Read a service's name, a blank, and in base64 what `docker compose config --format json` prints of its project.

    What that prints is a Compose file again, in which a dollar is written twice. None where there is nothing.
    """
    if file is None or not rendered:
        return None
    service, _, printed = rendered.partition(" ")
    project = json.loads(base64.b64decode(printed, validate=True))
    environments = {
        name: {
            variable: str(value).replace("$$", "$")
            for variable, value in (one.get("environment") or {}).items()
            if value is not None
        }
        for name, one in project["services"].items()
    }
    return Written(file, original, environments.pop(service), environments, _networks(project, service))


def _networks(project: Mapping[str, Any], service: str) -> frozenset[str] | None:
    declared = project["services"][service]
    if declared.get("network_mode"):
        return None
    names = project.get("networks") or {}
    return frozenset(names.get(key, {}).get("name", key) for key in declared.get("networks") or {"default": None})


def _called(labels: Mapping[str, str | None]) -> str:
    words = ["docker", "compose"]
    for option, label in (("-p", "project"), ("--project-directory", "directory")):
        words += [option, value] if (value := labels[label]) else []
    for option, label in (("-f", "files"), ("--env-file", "variables")):
        words += [word for path in filter(None, (labels[label] or "").split(",")) for word in (option, path)]
    return shlex.join(words)
