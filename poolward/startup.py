"""The startup parameters a client sends, and what becomes of each in PgBouncer. Pure.

Sources of fact: decide_startup_pool, set_startup_options and varcache_set in PgBouncer's client.c and varcache.c, 1.18
to 1.26; libpq's fe-protocol3.c and pgjdbc's ConnectionFactoryImpl for what drivers send. The lab holds these answers
against real poolers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from poolward.dsn import Connection
from poolward.settings import Value, Version, known, text

Fate = Literal["kept", "dropped", "refused"]

_TRACKED = {"client_encoding", "datestyle", "timezone", "standard_conforming_strings", "application_name"}
# What PostgreSQL reports of itself and 1.26 therefore carries along; some of it from PostgreSQL 14, 16 or 18 on.
_TRACKED_SINCE_1_26 = {
    "intervalstyle",
    "search_path",
    "default_transaction_read_only",
    "scram_iterations",
    "session_authorization",
}
_OPTIONS_READ_SINCE = Version(1, 20)
_LONG_OPTIONS_SINCE = Version(1, 23)
_REPORTED_TRACKED_SINCE = Version(1, 26)
# In 1.20.0 alone `options` in ignore_startup_parameters did nothing for what is inside of it.
_IGNORED_IN_OPTIONS_SINCE = Version(1, 20, 1)

# What libpq puts into the startup packet; everything else in a conninfo is for itself.
_LIBPQ_SENDS = ("application_name", "client_encoding", "options", "datestyle", "timezone", "geqo")
# Settings of the server that libpq refuses in a URL; lib/pq, pgx and asyncpg send them as startup parameters.
_SENT_BY_OTHER_DRIVERS = {
    "bytea_output",
    "default_transaction_deferrable",
    "default_transaction_isolation",
    "default_transaction_read_only",
    "extra_float_digits",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "intervalstyle",
    "jit",
    "lock_timeout",
    "log_statement",
    "plan_cache_mode",
    "role",
    "row_security",
    "search_path",
    "session_authorization",
    "statement_timeout",
    "synchronous_commit",
    "tcp_keepalives_idle",
    "transaction_timeout",
    "work_mem",
}
_JDBC_SENDS = {"currentSchema": "search_path", "options": "options"}


@dataclass(frozen=True)
class Options:
    """What is inside the parameter `options` (PGOPTIONS), in its order."""

    settings: tuple[tuple[str, str], ...]
    foreign: str = ""
    """The first word in it that is no setting."""
    long: bool = False
    """Whether one is written --name=value."""


def sent(connection: Connection) -> dict[str, str]:
    """The startup parameters of a connection by PostgreSQL's names, without user, database and replication."""
    given = connection.parameters
    if connection.shape == "jdbc":
        always = {"extra_float_digits": "2"}  # 3 where assumeMinServerVersion says so
        return always | {theirs: given[ours] for ours, theirs in _JDBC_SENDS.items() if given.get(ours)}
    return {
        name: value
        for name, value in given.items()
        if value and (name in _LIBPQ_SENDS or name.lower() in _SENT_BY_OTHER_DRIVERS)
    }


def fate(name: str, version: Version, settings: Mapping[str, Value], *, inside_options: bool = False) -> Fate:
    """What PgBouncer of this version, so configured, does with a startup parameter."""
    ignored = _words("ignore_startup_parameters", version, settings)
    ignore = name in ignored or (inside_options and "options" in ignored and version >= _IGNORED_IN_OPTIONS_SINCE)
    tracked = name.lower() in _tracked(version, settings)
    if tracked and not (ignore and name in ignored and version >= _REPORTED_TRACKED_SINCE):
        return "kept"
    return "dropped" if ignore else "refused"


def fate_of_options(options: str, version: Version, settings: Mapping[str, Value]) -> tuple[Fate, list[str]]:
    """The same for `options` as a whole, with the names of the settings in it that do not arrive."""
    read = split_options(options)
    if version < _OPTIONS_READ_SINCE:
        ignored = "options" in _words("ignore_startup_parameters", version, settings)
        return "dropped" if ignored else "refused", [name for name, _ in read.settings]
    if read.foreign or (read.long and version < _LONG_OPTIONS_SINCE):
        return "refused", [name for name, _ in read.settings]
    fates = {name: fate(name, version, settings, inside_options=True) for name, _ in read.settings}
    worst: Fate = "refused" if "refused" in fates.values() else "dropped" if "dropped" in fates.values() else "kept"
    return worst, [name for name, one in fates.items() if one != "kept"]


def split_options(options: str) -> Options:
    """Read `-c name=value`, `-cname=value` and `--name=value`; a backslash protects the next character."""
    if options != options.rstrip():
        return Options(split_options(options.rstrip()).settings, "a blank at its end")
    found = [
        re.sub(r"\\(.?)", r"\1", word, flags=re.DOTALL) for word in re.findall(r"(?:\\.|[^\s\\])+", options, re.DOTALL)
    ]
    settings: list[tuple[str, str]] = []
    foreign, long = "", False
    at = iter(found)
    for word in at:
        long = long or word.startswith("--")
        setting = next(at, "") if word == "-c" else word[2:] if word.startswith(("-c", "--")) else ""
        name, equals, value = setting.partition("=")
        if equals and name:
            settings.append((name, value))
        else:
            foreign = foreign or word
    return Options(tuple(settings), foreign, long)


def effective(name: str, version: Version, settings: Mapping[str, Value]) -> Value:
    """A setting of `[pgbouncer]`: as given, else PgBouncer's own default."""
    return settings[name] if name in settings else known("pgbouncer", name).default_in(version)


def _words(name: str, version: Version, settings: Mapping[str, Value]) -> set[str]:
    """The items of a list setting."""
    given = text(known("pgbouncer", name), effective(name, version, settings))
    return {word.strip() for word in given.split(",") if word.strip()}


def _tracked(version: Version, settings: Mapping[str, Value]) -> set[str]:
    extra = _words("track_extra_parameters", version, settings) if version >= _OPTIONS_READ_SINCE else set()
    found = _TRACKED | {name.lower() for name in extra}
    return found | _TRACKED_SINCE_1_26 if version >= _REPORTED_TRACKED_SINCE else found
