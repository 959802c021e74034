"""What is true now: frozen records parsed from what a host printed. Unknown is never empty: it is None or an error."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from poolward.errors import PoolwardError
from poolward.settings import Version


class Unreadable(PoolwardError):
    """A host answered, but not with what was asked: half an answer is no answer."""


def sections(lines: Iterable[str]) -> dict[str, list[str]]:
    """Split a script's output at its `@name` lines; raises Unreadable when the closing `@end` is missing."""
    found: dict[str, list[str]] = {}
    current: list[str] = []
    for line in lines:
        if line.startswith("@"):
            current = found.setdefault(line[1:], [])
        else:
            current.append(line)
    if "end" not in found:
        raise Unreadable("The host's answer breaks off before its end.", "Run again; if it stays, run with -vvv.")
    return found


@dataclass(frozen=True)
class ConfigValue:
    """One row of SHOW CONFIG."""

    value: str
    default: str
    changeable: bool


@dataclass(frozen=True)
class Console:
    """What PgBouncer says of itself."""

    version: Version
    config: Mapping[str, ConfigValue]
    databases: tuple[Mapping[str, str], ...]
    pools: tuple[Mapping[str, str], ...]

    @classmethod
    def parse(cls, found: Mapping[str, list[str]]) -> Console:
        """Read the sections `show_all` prints; raises Unreadable when one is missing."""
        for name in ("version", "config", "databases", "pools"):
            if not found.get(name):
                raise Unreadable(f"PgBouncer's console did not answer SHOW {name.upper()}.")
        config = {
            row["key"]: ConfigValue(row["value"], row["default"], row["changeable"] == "yes")
            for row in csv.DictReader(found["config"])
        }
        return cls(
            version=Version.parse(found["version"][-1]),
            config=config,
            databases=tuple(csv.DictReader(found["databases"])),
            pools=tuple(csv.DictReader(found["pools"])),
        )


@dataclass(frozen=True)
class File:
    """A file or directory as `stat` sees it; all empty when it does not exist."""

    owner: str = ""
    group: str = ""
    mode: str = ""

    @property
    def exists(self) -> bool:
        return bool(self.owner)


@dataclass(frozen=True)
class PoolerState:
    """One pooler host."""

    os: str
    packages: Mapping[str, tuple[str, str, str]]
    """Per package dpkg's want (`hold`, `install`), status (`installed`, …) and version."""
    candidate: str | None
    unit: Mapping[str, str]
    open_files: tuple[int, int] | None
    """Soft and hard limit of the running process; None when none runs."""
    files: Mapping[str, File]
    ini: str | None
    drop_in: str | None
    addresses: Mapping[str, tuple[str | None, str | None]]
    """Per server address what it resolves to here, and the address this host's connections to it come from."""
    listeners: tuple[str, ...]
    socket: tuple[str, int] | None
    console: Console | None

    @property
    def installed(self) -> bool:
        return self.packages["pgbouncer"][1] == "installed"

    @property
    def held(self) -> bool:
        return self.packages["pgbouncer"][0] == "hold"

    @property
    def package_version(self) -> str | None:
        return self.packages["pgbouncer"][2] if self.installed else None

    @property
    def version(self) -> Version | None:
        """The installed version; None when the package is not installed."""
        return Version.parse(self.package_version) if self.package_version else None

    @property
    def candidate_version(self) -> Version | None:
        return Version.parse(self.candidate) if self.candidate else None

    @property
    def active(self) -> bool:
        return self.unit["ActiveState"] in ("active", "reloading")

    @property
    def masked(self) -> bool:
        return self.unit["UnitFileState"] == "masked"

    @classmethod
    def parse(cls, lines: Iterable[str]) -> PoolerState:
        """Read the output of `observe_pooler.sh`; raises Unreadable when any part of it is missing."""
        found = sections(lines)
        try:
            limits = found["open_files"]
            candidate = "".join(found.get("candidate", ()))
            where = found["console"][0].rsplit(" ", 1) if "console" in found else None
            return cls(
                os=found["os"][0],
                packages={
                    name: (want, status, version) for name, want, status, version in map(str.split, found["packages"])
                },
                candidate=None if candidate in ("", "(none)") else candidate,
                unit=dict(line.split("=", 1) for line in found["unit"]),
                open_files=_limits(limits[0]) if limits else None,
                files={
                    name: File() if owner == "-" else File(owner, group, mode)
                    for name, owner, group, mode in (line.rsplit(" ", 3) for line in found["files"])
                },
                ini=_indented(found["ini"]),
                drop_in=_indented(found["drop_in"]),
                addresses={
                    name: (None if resolved == "-" else resolved, None if source == "-" else source)
                    for name, resolved, source in _words(found["addresses"])
                },
                listeners=tuple(found.get("listeners", ())),
                socket=(where[0], int(where[1])) if where else None,
                console=Console.parse(found) if "console" in found and "console_failed" not in found else None,
            )
        except (KeyError, IndexError, ValueError) as error:
            raise Unreadable(f"The pooler's state could not be read ({type(error).__name__}: {error}).") from error


@dataclass(frozen=True)
class Role:
    """One role of pg_authid that may log in or that is ours."""

    login: bool
    superuser: bool
    createrole: bool
    createdb: bool
    replication: bool
    bypassrls: bool
    connection_limit: int
    expires: bool
    password: str
    """`scram-sha-256`, `md5`, `none` or `other`."""
    member_of: tuple[str, ...]
    settings: tuple[str, ...]
    """What ALTER ROLE … SET left on it."""


@dataclass(frozen=True)
class Function:
    """The lookup function as the catalog has it."""

    source: str
    result: str
    language: str
    volatility: str
    security_definer: bool
    strict: bool
    config: tuple[str, ...]
    owner: str
    owner_superuser: bool
    grantees: tuple[str, ...]
    """Who may execute it besides the owner; `PUBLIC` for everyone."""


@dataclass(frozen=True)
class DatabaseState:
    """One database of a server, as far as the pooler is concerned."""

    exists: bool
    schema_owner_superuser: bool | None = None
    schema_grantees: tuple[str, ...] = ()
    """`role=privilege` of the schema pgbouncer, the owner's left out."""
    function: Function | None = None
    connect: Mapping[str, bool] | None = None
    """Per role of ours whether it was granted CONNECT by name; None when the role does not exist."""
    other_rights: tuple[str, ...] = ()
    """What else the auth role owns or was granted here."""


@dataclass(frozen=True)
class HbaRule:
    """One parsed line of pg_hba.conf (pg_hba_file_rules)."""

    line: int
    type: str
    databases: tuple[str, ...]
    users: tuple[str, ...]
    address: str | None
    netmask: str | None
    method: str
    error: str | None


@dataclass(frozen=True)
class ServerState:
    """One PostgreSQL server."""

    version: str
    version_num: int
    in_recovery: bool
    max_connections: int
    superuser_reserved_connections: int
    reserved_connections: int
    ssl: bool
    roles: Mapping[str, Role]
    databases: Mapping[str, DatabaseState]
    hba: tuple[HbaRule, ...]
    hba_loaded: bool
    """Whether the rules in the file are the ones in force."""
    hba_block: tuple[str, ...]
    """The lines between Poolward's marks in pg_hba.conf."""
    backends: tuple[Mapping[str, Any], ...]
    """Client backends counted by database, role, application and address."""

    @classmethod
    def parse(cls, lines: Iterable[str]) -> ServerState:
        """Read the output of `observe_server.sh`; raises Unreadable when any part of it is missing."""
        found = sections(lines)
        try:
            server = json.loads("".join(found["server"]))
            return cls(
                **{key: server[key] for key in _PLAIN},
                roles={name: Role(**_tuples(role)) for name, role in (server["roles"] or {}).items()},
                databases={
                    name: _database(json.loads("".join(found[f"database {name}"])))
                    if f"database {name}" in found
                    else DatabaseState(exists=True)
                    for name in server["databases"]
                },
                hba=tuple(HbaRule(**_tuples(rule)) for rule in server["hba"] or ()),
                hba_block=tuple(line.removeprefix("|") for line in found["hba_block"]),
                backends=tuple(server["backends"] or ()),
            )
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise Unreadable(f"The server's state could not be read ({type(error).__name__}: {error}).") from error


_PLAIN = (
    "version",
    "version_num",
    "in_recovery",
    "max_connections",
    "superuser_reserved_connections",
    "reserved_connections",
    "ssl",
    "hba_loaded",
)


def _database(read: Mapping[str, Any]) -> DatabaseState:
    function = Function(**_tuples(read["function"])) if read["function"] else None
    return DatabaseState(exists=True, **_tuples({**read, "function": function}))


def _tuples(record: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in record.items()}


def _words(lines: list[str]) -> list[list[str]]:
    return [line.split() for line in lines]


def _limits(line: str) -> tuple[int, int]:
    soft, hard = (2**31 if word == "unlimited" else int(word) for word in line.split())
    return soft, hard


def _indented(lines: list[str]) -> str | None:
    return "\n".join(line.removeprefix("|") for line in lines) + "\n" if lines else None
