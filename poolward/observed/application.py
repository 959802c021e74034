"""What is true now of the services on an application host."""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from poolward.observed import composed
from poolward.observed._answer import Unreadable, sections
from poolward.observed.composed import Container, SettingsFile, Written
from poolward.observed.sockets import LocalSocket, Socket, read_local_sockets, read_sockets, run_by_commands

# systemd.time(7), as format_timespan in systemd's time-util.c prints it
_UNITS = {
    "us": 1e-6, "ms": 1e-3, "s": 1, "min": 60, "h": 3600, "d": 86400, "w": 604800,
    "month": 2629800, "months": 2629800, "y": 31557600,
}  # fmt: skip


@dataclass(frozen=True)
class Process:
    """How a service runs at the moment, whatever it is run by."""

    told: str
    """`web.service is active (running)`."""
    running: bool
    """Whether it does what it is there for; never without `started`."""
    started: float | None
    """When the oldest of its processes was started, in seconds of the epoch; None where there is none."""
    incarnation: float | None
    """What is another number after a restart."""
    restart_seconds: float = 0.0
    """What its stop and its start may take together by their own bounds, where they have any; may be infinite."""
    stopped: bool = False
    """Whether it is down, and nothing is about to start it again."""


@dataclass(frozen=True)
class ServiceState:
    """One service: how it runs, its settings, what a move left beside them, and how it feels."""

    path: str
    """The settings file itself, behind any symbolic link; for settings only commands know, where Poolward keeps what
    belongs to a move. Empty where it has none."""
    process: Process | None
    settings: SettingsFile | None
    before: SettingsFile | None
    """The settings as they were before the last move."""
    unproved: Mapping[str, str] | None
    """What a move in progress said of itself; it stays until the move is proved or taken back."""
    health: str
    """The HTTP status of its health URL, `no answer`, or empty where it has none."""
    errors: Mapping[str, int] | None = None
    """What it has seen fail since it started, by SQLSTATE; None where it does not say."""
    unfinished: SettingsFile | None = None
    """What was being written when a write broke off: what is there now is nobody's."""
    unreadable: str = ""
    """Why a command did not print the settings."""
    written: Written | None = None
    """Where Docker Compose reads the settings from: then `settings` are the values as it reads them."""
    containers: tuple[Container, ...] = ()
    """What it runs in, where Docker Compose made that."""

    @property
    def text(self) -> SettingsFile | None:
        """The settings that count: as they are, or as they were to be when their write broke off."""
        return self.unfinished or self.settings

    @property
    def runs(self) -> bool:
        """Whether any of its processes is there."""
        return self.process is not None and self.process.started is not None

    @property
    def has_old_process(self) -> bool:
        """Whether a process of it may have been started before the settings were changed last.

        A container is what it was made with. When its file was changed says nothing: it may be one for many services.
        """
        if self.written is not None:
            return any(not self.written.made(container) for container in self.containers)
        started = self.process.started if self.process else None
        if started is None:
            return False
        return self.settings is None or self.unfinished is not None or started <= self.settings.changed

    @property
    def runs_with_settings(self) -> bool:
        """Whether it runs, in processes that were started after the settings were changed last."""
        return self.process is not None and self.process.running and not self.has_old_process


@dataclass(frozen=True)
class ApplicationState:
    """One application host."""

    clock: float
    services: Mapping[str, ServiceState]
    sockets: tuple[Socket, ...]
    owners: Mapping[int, str] = field(default_factory=dict)
    """Whose each process of a service is, for what is told by a pid: as `Socket.unit` names it."""
    local_sockets: tuple[LocalSocket, ...] = ()
    """Connections over a Unix socket to a server on this host."""

    @classmethod
    def parse(cls, lines: Iterable[str], host: str = "") -> ApplicationState:
        """Read the output of `observe_services.sh` on this host; raises Unreadable when any part of it is missing."""
        found = sections(lines)
        names = [section.partition(" ")[2] for section in found if section.startswith("service ")]
        try:
            return cls(
                float(found["clock"][0]),
                {name: _service(name, found) for name in names},
                read_sockets(
                    found["sockets"],
                    found["processes"],
                    _claimed(names, found),
                    host,
                    found.get("container sockets", []),
                    found.get("translated", []),
                ),
                _owners(names, found),
                read_local_sockets(found.get("local sockets", []), found["processes"], _claimed(names, found)),
            )
        except (KeyError, IndexError, ValueError, binascii.Error) as error:
            # Not the error's text: it may quote what stands in a settings file.
            raise Unreadable(f"The services' state could not be read ({type(error).__name__}).") from error


def _service(name: str, found: Mapping[str, list[str]]) -> ServiceState:
    unproved = "\n".join(found.get(f"unproved {name}", [])).strip()
    written = composed.written(
        _file(found.get(f"written {name}", [])),
        _file(found.get(f"original {name}", [])),
        "".join(found.get(f"rendered {name}", [])),
    )
    return ServiceState(
        path="".join(found.get(f"path {name}", [])),
        process=_process(name, found),
        settings=written.settings if written else _file(found.get(f"settings {name}", [])),
        before=_file(found.get(f"before {name}", [])),
        unproved=json.loads(unproved) if unproved else None,
        health="".join(found.get(f"health {name}", [])),
        errors=_errors("".join(found.get(f"errors {name}", []))),
        unfinished=_file(found.get(f"unfinished {name}", [])),
        unreadable="".join(found.get(f"unreadable {name}", [])),
        written=written,
        containers=composed.containers("".join(found.get(f"containers {name}", []))),
    )


def _errors(printed: str) -> dict[str, int] | None:
    """A report is no proof: one that cannot be read is none."""
    try:
        found = json.loads(printed)
        return {str(code)[:20]: int(count) for code, count in list(found.items())[:50]}
    except (AttributeError, TypeError, ValueError):
        return None


def _file(lines: list[str]) -> SettingsFile | None:
    if not lines:
        return None
    owner, group, mode = lines[0].split()
    return SettingsFile(owner, group, mode, float(lines[1]), base64.b64decode("".join(lines[2:]), validate=True))


def _process(name: str, found: Mapping[str, list[str]]) -> Process | None:
    if f"containers {name}" in found:
        return _contained(composed.containers("".join(found[f"containers {name}"])))
    if f"processes {name}" in found:
        return _processes([line.split() for line in found[f"processes {name}"]])
    return _unit(found[f"unit {name}"]) if f"unit {name}" in found else None


def _unit(lines: list[str]) -> Process:
    one = dict(line.split("=", 1) for line in lines if "=" in line)
    active = one["ActiveState"] == "active"
    # A unit may be at work without a main process: a script that started one and ended, a daemon that forked twice.
    since = "ExecMainStartTimestamp" if one["MainPID"] != "0" else "InactiveExitTimestamp" if active else ""
    started = _timestamp(one.get(since, ""))
    return Process(
        told=f"{one['Id']} is {one['ActiveState']} ({one['SubState']})",
        running=active and started is not None,
        started=started,
        incarnation=started,
        # Its stop signal has the first bound, and SIGKILL after that another one (systemd.kill).
        restart_seconds=2 * _time_span(one.get("TimeoutStopUSec", "")) + _time_span(one.get("TimeoutStartUSec", "")),
        stopped=one["ActiveState"] in ("inactive", "failed"),
    )


def _contained(containers: Sequence[Container]) -> Process:
    """A service is as well as the container that is worst off."""
    if not containers:
        return Process("it has no container", running=False, started=None, incarnation=None, stopped=True)
    worst = min(containers, key=lambda one: one.running)
    begun = [_rfc3339(one.started) for one in containers if one.running]
    oldest = min(begun, default=None)
    stopped = worst.status not in ("running", "restarting")
    told, patience = f"the container {worst.name} is {worst.status}", max(one.stop_timeout for one in containers)
    return Process(told, worst.running, oldest, max(begun, default=None), patience, stopped)


def _processes(rows: list[list[str]]) -> Process:
    """From the pid of each process, when it was started in ticks since the host was, and in seconds of the epoch."""
    if not rows:
        return Process("none of its processes is there", running=False, started=None, incarnation=None, stopped=True)
    oldest = min(rows, key=lambda row: int(row[1]))
    pids = ", ".join(row[0] for row in rows)
    return Process(f"it runs as {pids}", running=True, started=float(oldest[2]), incarnation=float(oldest[1]))


def _claimed(names: Iterable[str], found: Mapping[str, list[str]]) -> dict[int, str]:
    """Whose a process with a connection is, where a command of the operator's tells: it or an ancestor of it is named.

    Raises Unreadable where that leaves a choice.
    """
    named: dict[int, set[str]] = {}
    for name in names:
        for line in found.get(f"processes {name}", []):
            named.setdefault(int(line.split()[0]), set()).add(run_by_commands(name))
    units = {line.removeprefix("Id=") for name in names for line in found.get(f"unit {name}", []) if line[:3] == "Id="}
    unit_of = {int(pid): unit for pid, unit, _ in (line.split("\t", 2) for line in found["processes"])}
    claimed: dict[int, str] = {}
    for line in found.get("ancestors", []):
        pids = [int(pid) for pid in line.split()]
        owners = {owner for pid in pids for owner in named.get(pid, ())}
        if owners and unit_of.get(pids[0]) in units:
            owners.add(unit_of[pids[0]])
        if len(owners) > 1:
            raise Unreadable(f"The process {pids[0]} belongs to more than one service: {', '.join(sorted(owners))}.")
        if owners:
            claimed[pids[0]] = owners.pop()
    return claimed


def _owners(names: Iterable[str], found: Mapping[str, list[str]]) -> dict[int, str]:
    """By pid; a process that two services call theirs is neither's."""
    owners: dict[int, str] = {}
    for name in names:
        unit = next((line.removeprefix("Id=") for line in found.get(f"unit {name}", []) if line[:3] == "Id="), "")
        claims = [(line, unit) for line in found.get(f"members {name}", [])]
        claims += [(line.split()[0], run_by_commands(name)) for line in found.get(f"processes {name}", [])]
        for pid, owner in claims:
            owners[int(pid)] = owner if owners.get(int(pid), owner) == owner else ""
    return owners


def _time_span(text: str) -> float:
    """Seconds of `1min 30s`, as systemctl prints a time span; 0 where it prints none."""
    if text == "infinity":
        return math.inf
    return sum(float(number) * _UNITS[unit] for number, unit in re.findall(r"([\d.]+)([a-z]+)", text))


def _rfc3339(text: str) -> float:
    """Read `2026-11-23T09:16:22.726698123Z`, as Docker writes it."""
    whole, _, fraction = text.rstrip("Z").partition(".")
    return datetime.strptime(f"{whole}+0000", "%Y-%m-%dT%H:%M:%S%z").timestamp() + float(f"0.{fraction or 0}")


def _timestamp(text: str) -> float | None:
    """Read `Mon 2026-11-23 09:16:22.726698 UTC` (systemd --timestamp=us+utc)."""
    if not text or text == "n/a":
        return None
    _, day, time, zone = text.split()
    if zone != "UTC":
        raise ValueError("not in UTC")
    shape = "%Y-%m-%d %H:%M:%S.%f" if "." in time else "%Y-%m-%d %H:%M:%S"
    return datetime.strptime(f"{day} {time}+0000", f"{shape}%z").timestamp()
