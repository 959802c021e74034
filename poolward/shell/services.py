"""How a service is handled on its host: where its settings are, and how it runs.

Two halves that combine freely. Each kind of either is a script of this folder that defines the same functions
(`settings_env_file.sh` beside `settings_commands.sh`, `process_unit.sh` beside `process_commands.sh`), and here the
variables it needs and the words for a person. The scripts that move a service name no kind.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from poolward import shell
from poolward.service import Service
from poolward.shell import Command, Variable

_READING = ("read_command", "processes_command")
_READING_SECONDS = 20
"""What the operator's commands that only read may take, each."""
_KEPT = "/var/lib/poolward/services"
PARTS = (
    "compose",
    "settings_env_file",
    "settings_compose",
    "settings_commands",
    "process_unit",
    "process_compose",
    "process_commands",
)


@dataclass(frozen=True)
class Half:
    """One half of a service; without a kind it has none."""

    kind: str = ""
    variables: tuple[tuple[str, str], ...] = ()
    what: str = ""
    """How it is called in a sentence: `/etc/web/env`, `web.service`."""
    word: str = ""
    """The operator's word that says where it is."""
    log: str = ""
    """What to ask about its failures."""
    by_hand: tuple[str, ...] = ()
    """The commands that put it right by hand, as root on the service's host."""
    before: str = ""
    """For settings: the file with those from before the move."""
    forget: str = ""
    """For settings: the command by which nothing is left of a move that was not proved."""


def settings_of(declared: Service, seen: str = "") -> Half:
    """Where the settings of a service are; `seen` is `ServiceState.path`, where its host told that."""
    if declared.compose_service and not declared.read_command:
        path = declared.env_file or declared.compose_file
        place = f"{_KEPT}/{declared.name}"
        original = f"{place}/original"
        return Half(
            "settings_compose",
            (("settings_file", path), *_compose(declared)),
            path,
            "env_file" if declared.env_file else "compose_file",
            by_hand=(f"({_line_of('diff', original, seen or path)} || {_line_of('vi', seen or path)})",),
            before=original,
            forget=_line_of("rm", "-rf", place),
        )
    if declared.env_file:
        path = seen or declared.env_file
        before = f"{path}.before-poolward"
        return Half(
            "settings_env_file",
            (("env_file", declared.env_file),),
            declared.env_file,
            "env_file",
            by_hand=(f"if {_line_of('[', '-f', before, ']')}; then {_line_of('mv', before, path)}; fi",),
            before=before,
            forget=_line_of("rm", "-f", f"{path}.unproved-poolward"),
        )
    if declared.read_command:
        place = f"{_KEPT}/{declared.name}"
        before = f"{place}/before"
        written = f"{shlex.join(declared.write_command)} <{shlex.quote(before)}"
        return Half(
            "settings_commands",
            (
                ("read_command", shlex.join(declared.read_command)),
                ("write_command", shlex.join(declared.write_command)),
            ),
            "the settings that its read_command prints",
            "read_command",
            by_hand=(f"if {_line_of('[', '-f', before, ']')}; then {written}; fi",),
            before=before,
            forget=_line_of("rm", "-rf", place),
        )
    return Half()


def process_of(declared: Service) -> Half:
    """How a service runs."""
    if declared.compose_service:
        named, within = ("docker", "compose", "-f", declared.compose_file), declared.compose_service
        return Half(
            "process_compose",
            _compose(declared),
            f"{declared.compose_service} of {declared.compose_file}",
            "compose_service",
            log=_line_of(*named, "logs", within),
            by_hand=(_line_of(*named, "up", "-d", "--no-deps", within),),
        )
    if declared.unit:
        return Half(
            "process_unit",
            (("unit", declared.unit),),
            declared.unit,
            "unit",
            log=_line_of("journalctl", "-u", declared.unit),
            by_hand=(_line_of("systemctl", "restart", declared.unit),) if not declared.now_and_then else (),
        )
    if declared.processes_command:
        restart = shlex.join(declared.restart_command)
        return Half(
            "process_commands",
            (("processes_command", shlex.join(declared.processes_command)), ("restart_command", restart)),
            f"{declared.name} by its restart_command",
            "processes_command",
            log=_line_of("journalctl", "-t", f"poolward-{declared.name}"),
            by_hand=(restart,) if restart else (),
        )
    return Half()


def _line_of(*words: str) -> str:
    """A command line that a shell reads as just these words."""
    return shlex.join(words)


def _compose(declared: Service) -> tuple[tuple[str, str], ...]:
    return ("compose_file", declared.compose_file), ("compose_service", declared.compose_service)


def variables(declared: Service) -> dict[str, str]:
    """What the scripts have to know of a service."""
    settings, process = settings_of(declared), process_of(declared)
    kinds = {"name": declared.name, "settings_by": settings.kind, "process_by": process.kind}
    return {**kinds, **dict(settings.variables), **dict(process.variables)}


def script(name: str, purpose: str, timeout: int, declared: Service, /, **others: Variable) -> Command:
    """A script of this folder about one service."""
    return shell.script(name, purpose, timeout, parts=PARTS, **variables(declared), **others)


def observe(asked: Iterable[Mapping[str, str]], ports: Iterable[str], health_timeout: int) -> Command:
    """The command that looks at services of one host; of each its `name`, `health` and other variables."""
    questions = [dict(one) for one in asked]
    commands = [word for one in questions for word in one if word in _READING]
    composed = [one for one in questions if one.get("compose_service")]
    lines = [_line(one) for one in questions]
    return shell.script(
        "observe_services",
        "look at its services",
        20 + health_timeout * len(lines) + _READING_SECONDS * (len(commands) + len(composed)),
        parts=PARTS,
        services=lines,
        ports=ports,
        health_timeout=health_timeout,
        with_ancestors="processes_command" in commands or bool(composed),
        with_containers=bool(composed),
    )


def _line(one: dict[str, str]) -> str:
    name, health = one["name"], one.pop("health")
    handling = " ".join(f"{key}={shlex.quote(value)}" for key, value in one.items() if value and key != "name")
    return "\t".join((name, health or "-", handling or "-"))


def by_hand(declared: Service, seen: str, compose: str = "") -> list[str]:
    """The commands that put a service back by hand, as root on its host.

    `seen` is where its settings are there (`ServiceState.path`), `compose` how Docker Compose was called when it made
    the service's container.
    """
    settings, process = settings_of(declared, seen), process_of(declared)
    up = (f"{compose} up -d --no-deps {shlex.quote(declared.compose_service)}",) if compose else process.by_hand
    return [*settings.by_hand, *up, settings.forget]
