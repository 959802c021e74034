"""What is true now of the services on an application host."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from poolward.observed._answer import Unreadable, sections
from poolward.observed.sessions import Socket, read_sockets


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
class Unit:
    """A service's systemd unit."""

    name: str
    load: str
    active: str
    sub: str
    main_pid: int
    restarts: int
    started: float | None
    """When its process started, in seconds of the epoch; None where none runs."""
    environment_files: tuple[str, ...]

    @property
    def running(self) -> bool:
        return self.active == "active" and self.started is not None


@dataclass(frozen=True)
class ServiceState:
    """One service: its unit, its settings, what a move left beside them, and how it feels."""

    path: str
    """The settings file itself, behind any symbolic link; empty where there is none."""
    unit: Unit | None
    settings: SettingsFile | None
    before: SettingsFile | None
    """The settings as they were before the last move."""
    unproved: Mapping[str, str] | None
    """What a move in progress said of itself; it stays until the move is proved or taken back."""
    health: str
    """The HTTP status of its health URL, `no answer`, or empty where it has none."""

    @property
    def runs_with_settings(self) -> bool:
        """Whether its process started after the settings were changed last."""
        started = self.unit.started if self.unit and self.unit.running else None
        return started is not None and self.settings is not None and started > self.settings.changed


@dataclass(frozen=True)
class ApplicationState:
    """One application host."""

    clock: float
    services: Mapping[str, ServiceState]
    sockets: tuple[Socket, ...]

    @classmethod
    def parse(cls, lines: Iterable[str]) -> ApplicationState:
        """Read the output of `observe_services.sh`; raises Unreadable when any part of it is missing."""
        found = sections(lines)
        names = [section.partition(" ")[2] for section in found if section.startswith("path ")]
        try:
            return cls(
                float(found["clock"][0]),
                {name: _service(name, found) for name in names},
                read_sockets(found["sockets"], found["processes"]),
            )
        except (KeyError, IndexError, ValueError, binascii.Error) as error:
            # Not the error's text: it may quote what stands in a settings file.
            raise Unreadable(f"The services' state could not be read ({type(error).__name__}).") from error


def _service(name: str, found: Mapping[str, list[str]]) -> ServiceState:
    unproved = "\n".join(found[f"unproved {name}"]).strip()
    return ServiceState(
        path="".join(found[f"path {name}"]),
        unit=_unit(found[f"unit {name}"]) if f"unit {name}" in found else None,
        settings=_file(found[f"settings {name}"]),
        before=_file(found[f"before {name}"]),
        unproved=json.loads(unproved) if unproved else None,
        health="".join(found.get(f"health {name}", [])),
    )


def _file(lines: list[str]) -> SettingsFile | None:
    if not lines:
        return None
    owner, group, mode = lines[0].split()
    return SettingsFile(owner, group, mode, float(lines[1]), base64.b64decode("".join(lines[2:]), validate=True))


def _unit(lines: list[str]) -> Unit:
    properties: dict[str, list[str]] = {}
    for line in lines:
        key, _, value = line.partition("=")
        properties.setdefault(key, []).append(value)
    one = {key: values[0] for key, values in properties.items()}
    return Unit(
        name=one["Id"],
        load=one["LoadState"],
        active=one["ActiveState"],
        sub=one["SubState"],
        main_pid=int(one["MainPID"]),
        restarts=int(one.get("NRestarts") or 0),
        started=_timestamp(one.get("ExecMainStartTimestamp", "")) if one["MainPID"] != "0" else None,
        environment_files=tuple(value.rpartition(" (")[0] for value in properties.get("EnvironmentFiles", []) if value),
    )


def _timestamp(text: str) -> float | None:
    """Read `Mon 2026-11-23 09:16:22.726698 UTC` (systemd --timestamp=us+utc)."""
    if not text or text == "n/a":
        return None
    _, day, time, zone = text.split()
    if zone != "UTC":
        raise ValueError("not in UTC")
    shape = "%Y-%m-%d %H:%M:%S.%f" if "." in time else "%Y-%m-%d %H:%M:%S"
    return datetime.strptime(f"{day} {time}+0000", f"{shape}%z").timestamp()
