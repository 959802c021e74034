"""The operator's `services`, read into Service; every problem in them at once. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import fields, replace
from difflib import get_close_matches
from typing import Any, NamedTuple

from pydantic import TypeAdapter, ValidationError

from poolward.errors import Problem
from poolward.service import LIBPQ_PARTS, Service
from poolward.target import split_address

_WORDS = TypeAdapter(Service)
_KNOWN = tuple(field.name for field in fields(Service))
_NAME = re.compile(r"\w[\w.@-]*")
_UNIT = re.compile(r"[\w@:.\\-]+\.service")
_SEE = "see `services` in group_data/all.py"
_HEALTH = ("`health` must be a URL, or a command as a list", '"health": "http://127.0.0.1:8000/health"')
_COMMANDS = ("read_command", "write_command", "restart_command", "processes_command", "run_command", "errors_command")


def read(
    hosts: Mapping[str, Mapping[str, Any]],
    apps: Sequence[str],
    poolers: Iterable[str],
    problems: list[Problem],
    app_local: Collection[str] = (),
) -> tuple[Service, ...]:
    """The services in the order in which they move; what is wrong is added to `problems`.

    `app_local` are the poolers that serve their own host alone: each is its services' pooler unless they name another.
    `services` is one list for the whole fleet, which every host's data holds.
    """
    lists = [data["services"] for data in hosts.values() if data.get("services")]
    if not lists:
        return ()
    if any(other != lists[0] for other in lists):
        problems.append(
            Problem("services", "differ between hosts", "keep one list, in group_data/<the inventory's name>.py")
        )
    if not isinstance(lists[0], Sequence) or isinstance(lists[0], str):
        problems.append(Problem("services", "must be a list", 'services = [{"name": "web", "host": "app1", …}]'))
        return ()
    if not apps:
        problems.append(Problem("inventory", "there is no host in the group `apps`", 'apps = [("app1", {})]'))
    known = Poolers(list(poolers), app_local)
    found = [_service(number, words, apps, known, problems) for number, words in enumerate(lists[0])]
    services = tuple(service for service in found if service)
    problems += _collisions(services)
    return services


class Poolers(NamedTuple):
    """The poolers a service may name."""

    names: Sequence[str]
    app_local: Collection[str]
    """Those of them that serve the services of their own host alone."""


def _service(
    number: int, words: object, apps: Sequence[str], poolers: Poolers, problems: list[Problem]
) -> Service | None:
    """One service; None where not even its words can be read."""
    if not isinstance(words, Mapping):
        problems.append(Problem(f"services[{number}]", "must be a dictionary", '{"name": "web", "host": "app1", …}'))
        return None
    name = words.get("name")
    where = f'services["{name}"]' if name and isinstance(name, str) else f"services[{number}]"
    problems += [_unknown(where, str(word)) for word in words if word not in _KNOWN]
    try:
        service = _WORDS.validate_python({word: value for word, value in words.items() if word in _KNOWN})
    except ValidationError as error:
        problems += {_wrong_word(where, str(found["loc"][0]), found["type"], found["msg"]) for found in error.errors()}
        return None
    service = _with_libpqs_names(service)
    if service.moves and not service.pooler and service.host in poolers.app_local:
        service = replace(service, pooler=service.host)
    problems += [Problem(where, message, hint) for message, hint in _reasons(service, apps, poolers)]
    return service


def _with_libpqs_names(service: Service) -> Service:
    if service.host_variable != LIBPQ_PARTS["host"]:
        return service
    names = {f"{part}_variable": name for part, name in LIBPQ_PARTS.items()}
    missing: dict[str, Any] = {word: name for word, name in names.items() if not getattr(service, word)}
    return replace(service, **missing)


def _unknown(where: str, word: str) -> Problem:
    near = get_close_matches(word, _KNOWN, 2)
    return Problem(where, f"has no word {word!r}", f"did you mean {' or '.join(near)}?" if near else _SEE)


def _wrong_word(where: str, word: str, kind: str, message: str) -> Problem:
    """What pydantic says of a value, in our words and without it."""
    if kind in ("missing", "missing_argument"):
        return Problem(where, f"`{word}` is missing", f'"{word}": "…"')
    if word == "direct":
        return Problem(where, "`direct` must be the reason why it stays direct", '"direct": "session-level SET"')
    if word == "health":
        return Problem(where, *_HEALTH)
    if word == "runs":
        return Problem(where, '`runs` is "always" or "now and then"', '"runs": "now and then"')
    if word.endswith(("_command", "_variables")):
        return Problem(where, f"`{word}` must be a list of texts", f'"{word}": ["…"]')
    return Problem(where, f"`{word}`: {message[0].lower()}{message[1:]}", _SEE)


def _reasons(service: Service, apps: Sequence[str], poolers: Poolers) -> Iterable[tuple[str, str]]:
    """What is wrong with words that are each well-formed, and the next step."""
    if not _NAME.fullmatch(service.name):
        yield "`name` must be letters, digits, _ . @ and -", "it names files and log lines"
    if apps and service.host not in apps:
        yield f"`host` is {service.host!r}, but must name a host of the group `apps`", f"known: {', '.join(apps)}"
    yield from _numbers(service)
    yield from _forms(service)
    if service.moves:
        yield from _whether_whole(service)
        yield from _pooler(service, poolers)


def _numbers(service: Service) -> Iterable[tuple[str, str]]:
    if service.connections is not None and service.connections < 1:
        yield "`connections` is the most it opens, at least 1", "leave it out where nobody knows"
    for word in ("soak", "health_timeout", "max_wait", "run_timeout"):
        seconds = getattr(service, word)
        if not 0 <= seconds < float("inf") or (word != "soak" and seconds == 0):
            yield f"`{word}` = {seconds:g} is no time to wait", "a number of seconds"


def _forms(service: Service) -> Iterable[tuple[str, str]]:
    if service.unit and not _UNIT.fullmatch(service.unit):
        yield "`unit` must be a service's unit, with its ending", '"unit": "web.service"'
    for word, example in (("env_file", "/etc/web/env"), ("compose_file", "/srv/web/compose.yml")):
        if getattr(service, word) and not re.fullmatch(r"/[^\0\n\t*?\[\],]+", getattr(service, word)):
            yield f"`{word}` must be one absolute path", f'"{word}": "{example}"'
    if bool(service.compose_file) != bool(service.compose_service):
        yield (
            "`compose_file` and `compose_service` come together",
            '"compose_file": "/srv/web/compose.yml", "compose_service": "web"',
        )
    elif service.compose_service and not re.fullmatch(r"[A-Za-z0-9._-]+", service.compose_service):
        yield "`compose_service` must be the service's name in the Compose file", '"compose_service": "web"'
    named = [*service.url_variables, *(getattr(service, f"{part}_variable") or "_" for part in LIBPQ_PARTS)]
    if wrong := [name for name in named if not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", name)]:
        yield f"{wrong[0]!r} can be no variable's name", "letters, digits and _"
    if isinstance(service.health, str) and service.health and not re.fullmatch(r"https?://[^\s/]+\S*", service.health):
        yield _HEALTH


def _whether_whole(service: Service) -> Iterable[tuple[str, str]]:
    """A service that moves says how it is restarted, where its settings are and which of them names the database."""
    yield from _how_it_runs(service)
    both_commands = bool(service.read_command) and bool(service.write_command)
    if bool(service.read_command) != bool(service.write_command):
        yield "`read_command` and `write_command` come together", "one prints the settings, one takes them"
    elif (service.env_file and both_commands) or not (service.env_file or both_commands or service.compose_service):
        yield "needs exactly one of `env_file` and `read_command` with `write_command`", "where do its settings live?"
    if bool(service.url_variables) == bool(service.host_variable):
        yield (
            "needs exactly one of `url_variables` and `host_variable`",
            "which of its variables say where its database is?",
        )
    parts = [f"{part}_variable" for part in LIBPQ_PARTS if part != "host"]
    given = [word for word in parts if getattr(service, word)]
    if service.url_variables:  # a URL may leave the login to variables of its own, as Spring does
        given = [word for word in given if word not in ("user_variable", "password_variable")]
    if given and not service.host_variable:
        yield f"`{'`, `'.join(given)}` without `host_variable`", "name the variable that holds the host"
    if service.host_variable and not (service.database_variable or service.database):
        yield "`host_variable` needs `database_variable`, or `database` where no variable holds it", "which database?"
    if any(not command or not all(command) for command in _given_commands(service)):
        yield "a command has an empty word", "one text for each argument"
    if any(re.search("[\t\n\0]", word) for command in _given_commands(service) for word in command):
        yield "a command has a tab, a line break or a NUL in it", "put it into a script, and call that"


def _how_it_runs(service: Service) -> Iterable[tuple[str, str]]:
    """It can be restarted, or run; and its processes can be found, because only sockets prove a move."""
    if service.compose_service:
        if service.unit or service.restart_command or service.processes_command:
            yield "is a service of Compose's and has another way to run, too", "leave out `unit` and the commands"
        if service.now_and_then:
            yield "a service of Compose's that runs now and then cannot be moved", '"direct": "a job"'
        return
    pids = '"processes_command": ["pgrep", "-f", "/srv/web/app.py"]'
    if service.now_and_then:
        if bool(service.unit) == bool(service.processes_command):
            yield "needs exactly one of `unit` and `processes_command`", "which processes are its own?"
        if service.restart_command:
            yield "`restart_command` for a service that runs now and then", "`run_command` runs it, if that is allowed"
        return
    if bool(service.unit) == bool(service.restart_command):
        yield "needs exactly one of `unit` and `restart_command`", "how is it restarted?"
    elif service.unit and service.processes_command:
        yield "`processes_command` beside `unit`, which tells its processes already", "leave it out"
    elif service.restart_command and not service.processes_command:
        yield "`restart_command` needs `processes_command`: without its processes nobody can tell its sessions", pids
    if service.run_command:
        yield "`run_command` for a service that always runs", 'does it live now and then? "runs": "now and then"'


def _given_commands(service: Service) -> Iterable[Sequence[str]]:
    commands = [getattr(service, word) for word in _COMMANDS]
    return filter(None, [*commands, service.health if not isinstance(service.health, str) else ()])


def _pooler(service: Service, poolers: Poolers) -> Iterable[tuple[str, str]]:
    reachable = [name for name in poolers.names if name not in poolers.app_local or name == service.host]
    known = f"known: {', '.join(reachable)}; or host:port of an address in front of them"
    if not service.pooler:
        if not reachable:
            known = f"every pooler is app-local: {service.host} needs one of its own (the group `poolers`)"
        yield "`pooler` is missing", known
    elif service.pooler in poolers.app_local and service.pooler != service.host:
        yield (
            f"`pooler` is {service.pooler}, which is app-local and serves the services of {service.pooler} alone",
            f"put {service.host} into the group `poolers` too, and leave `pooler` out",
        )
    elif poolers.names and service.pooler not in poolers.names:
        try:
            split_address(service.pooler)
        except ValueError:
            yield f"`pooler` is {service.pooler!r}, which is no host of the group `poolers`", known


def _collisions(services: Sequence[Service]) -> Iterable[Problem]:
    """Two services that cannot be told apart, or of which one would move the other."""
    names = [service.name for service in services]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield Problem(f'services["{name}"]', "is declared twice", "give each service a name of its own")
    for words, what in (
        (("unit",), "restart"),
        (("compose_file", "compose_service"), "restart"),
        (("env_file",), "rewrite"),
        (("read_command",), "rewrite"),
    ):
        seen: dict[tuple[str, str], Service] = {}
        for service in services:
            given = [getattr(service, word) for word in words]
            place = (service.host, ": ".join(one if isinstance(one, str) else " ".join(one) for one in given if one))
            other = seen.setdefault(place, service)
            if place[1] and other is not service and (service.moves or other.moves):
                yield Problem(
                    f'services["{service.name}"]',
                    f"shares {place[1]} with {other.name}: to move one is to {what} the other",
                    "declare them as one service, or give each its own",
                )
