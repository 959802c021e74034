"""What is true now on a pooler host."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from poolward.observed._answer import Unreadable, sections, unindented, words
from poolward.settings import Version

PEERS_SHOWN_SINCE = Version(1, 19)


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
    users: tuple[Mapping[str, str], ...]
    peers: tuple[Mapping[str, str], ...]

    @classmethod
    def parse(cls, found: Mapping[str, list[str]]) -> Console:
        """Read the sections `show_all` prints; raises Unreadable when one is missing or has a header and no rows.

        Only of peers there may be none; before 1.19 PgBouncer knew none at all.
        """
        for name in ("version", "config", "databases", "pools", "users"):
            if len(found.get(name, ())) < 2:
                raise Unreadable(f"PgBouncer's console did not answer SHOW {name.upper()}.")
        version = Version.parse(found["version"][-1])
        if version >= PEERS_SHOWN_SINCE and not found.get("peers"):
            raise Unreadable("PgBouncer's console did not answer SHOW PEERS.")
        config = {
            row["key"]: ConfigValue(row["value"], row["default"], row["changeable"] == "yes")
            for row in csv.DictReader(found["config"])
        }
        return cls(
            version=version,
            config=config,
            databases=tuple(csv.DictReader(found["databases"])),
            pools=tuple(csv.DictReader(found["pools"])),
            users=tuple(csv.DictReader(found["users"])),
            peers=tuple(csv.DictReader(found.get("peers", ()))),
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
class Route:
    """How a pooler reaches a server."""

    address: str | None
    """The server's, as the pooler resolves it."""
    source: str | None
    """Where the pooler's connections come from."""
    network: str | None = None
    """The network that address may change within; None where it stays."""


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
    unproved: str
    """What a run that was cut off set out to do: `start`, `restart` or `reload`; empty where none was."""
    ini: str | None
    hba: str | None
    service_file: str | None
    userlist: tuple[str, ...]
    """The names in userlist.txt; their secrets are not read."""
    addresses: Mapping[str, Route]
    """By server address."""
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
                unproved="".join(found["unproved"]),
                ini=unindented(found["ini"]),
                hba=unindented(found["hba"]),
                service_file=unindented(found["service_file"]),
                userlist=tuple(line.removeprefix("|") for line in found["userlist"]),
                addresses={
                    name: Route(*(None if word == "-" else word for word in route))
                    for name, *route in words(found["addresses"])
                },
                listeners=tuple(found.get("listeners", ())),
                socket=(where[0], int(where[1])) if where else None,
                console=Console.parse(found) if "console" in found and "console_failed" not in found else None,
            )
        except (KeyError, IndexError, TypeError, ValueError, csv.Error) as error:
            raise Unreadable(f"The pooler's state could not be read ({type(error).__name__}: {error}).") from error


def _limits(line: str) -> tuple[int, int]:
    soft, hard = (2**31 if word == "unlimited" else int(word) for word in line.split())
    return soft, hard
