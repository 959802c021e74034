"""What Poolward left on a pooler host and on a PostgreSQL server: what a removal has to take away."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from poolward.observed._answer import Unreadable, sections


@dataclass(frozen=True)
class PoolerTraces:
    """One pooler host."""

    runs: bool
    """Whether PgBouncer runs, Poolward's or not."""
    packages: tuple[str, ...]
    """What a deploy installed and is still there."""
    files: tuple[str, ...]

    @property
    def any(self) -> bool:
        return bool(self.packages or self.files)

    @classmethod
    def parse(cls, lines: Iterable[str]) -> PoolerTraces:
        """Read the output of `observe_traces.sh`; raises Unreadable when any part of it is missing."""
        found = sections(lines)
        try:
            return cls(int(found["process"][0]) != 0, tuple(found["packages"]), tuple(found["files"]))
        except (KeyError, IndexError, ValueError) as error:
            raise Unreadable(f"What is on the pooler could not be read ({type(error).__name__}: {error}).") from error


@dataclass(frozen=True, order=True)
class Dependency:
    """Something that keeps a role of Poolward's, or the lookup function, from being dropped."""

    role: str
    """Empty where it is the function that something depends on."""
    kind: str
    """PostgreSQL's own letter (pg_shdepend.deptype): `o` owner, `a` rights, `r` policy, …"""
    what: str
    database: str = ""
    """Empty for an object all databases share."""


@dataclass(frozen=True)
class ServerTraces:
    """One PostgreSQL server and its host."""

    in_recovery: bool
    roles: tuple[str, ...]
    databases: tuple[str, ...]
    """Where the lookup function is, or rights on its schema."""
    dependencies: tuple[Dependency, ...]
    """What Poolward did not make."""
    hba_block: tuple[str, ...]
    hba_closed: tuple[str, ...]
    """The lines that close the direct path of what has moved."""
    files: tuple[str, ...]
    """The secrets and the previous pg_hba.conf."""

    @property
    def any(self) -> bool:
        return bool(self.roles or self.databases or self.hba_block or self.hba_closed or self.files)

    @classmethod
    def parse(cls, lines: Iterable[str]) -> ServerTraces:
        """Read the output of `observe_server_traces.sh`; raises Unreadable when any part of it is missing."""
        found = sections(lines)
        try:
            server = json.loads("".join(found["server"]))
            databases = {
                section.partition(" ")[2]: json.loads("".join(printed))
                for section, printed in found.items()
                if section.startswith("database ")
            }
            return cls(
                in_recovery=server["in_recovery"],
                roles=tuple(server["roles"]),
                databases=tuple(name for name, read in databases.items() if read["lookup"] or read["schema"]),
                dependencies=(
                    *_dependencies(server, ""),
                    *(one for name, read in databases.items() for one in _dependencies(read, name)),
                ),
                hba_block=tuple(line.removeprefix("|") for line in found["hba_block"]),
                hba_closed=tuple(line.removeprefix("|") for line in found["hba_closed"]),
                files=tuple(found["files"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise Unreadable(f"What is on the server could not be read ({type(error).__name__}: {error}).") from error


def _dependencies(read: Mapping[str, object], database: str) -> Iterable[Dependency]:
    found = read["dependencies"]
    if not isinstance(found, list):
        raise ValueError("dependencies are no list")
    for one in found:
        yield Dependency(str(one["role"]), str(one["kind"]), str(one["what"]), database)
