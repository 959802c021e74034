"""What sessions of a server were seen to hold beyond their transactions, and what says so."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from poolward.observed._answer import Unreadable, sections
from poolward.observed.sockets import Endpoint

What = Literal[
    "advisory lock",
    "LISTEN",
    "temporary table",
    "WITH HOLD cursor",
    "SQL PREPARE",
    "SET",
    "LOAD",
    "idle in transaction",
]
Source = Literal["pg_locks", "pg_stat_activity", "pg_class"]


@dataclass(frozen=True)
class Sign:
    """Something one session holds beyond its transactions."""

    what: What
    source: Source
    pid: int
    """0 where only the role is known."""
    role: str
    database: str
    peer: Endpoint | None
    detail: str = ""
    """The parameter of a SET."""
    count: int = 1
    """How many locks or tables."""
    seconds: float = 0.0
    """How long it had been in its state."""


@dataclass(frozen=True)
class Counted:
    """Statements of one kind that pg_stat_statements has counted for a role in a database."""

    what: What
    detail: str
    role: str
    database: str
    calls: int


@dataclass(frozen=True)
class Statements:
    """What pg_stat_statements knows."""

    counted: tuple[Counted, ...]
    since: str
    """When it began to count; empty before PostgreSQL 14, which does not say."""
    evictions: int
    """How often it dropped statements because it was full."""
    track_utility: bool
    """Whether it counts anything but SELECT, INSERT, UPDATE, DELETE and MERGE."""


@dataclass(frozen=True)
class LoginSetting:
    """A parameter the server sets at login (pg_db_role_setting); an empty role or database means every one."""

    role: str
    database: str
    name: str

    def applies(self, role: str, database: str) -> bool:
        """Whether a session of this role in this database gets it."""
        return self.role in ("", role) and self.database in ("", database)


@dataclass(frozen=True)
class Scan:
    """A server over a window."""

    sessions: tuple[int, ...]
    """How many client sessions there were, by sample."""
    signs: tuple[Sign, ...]
    login_settings: tuple[LoginSetting, ...]
    statements: Statements | None
    """None where pg_stat_statements is not to be read."""
    track_activities: bool
    """Whether the server shows what its sessions do."""

    @property
    def peak(self) -> int:
        """The most sessions in any sample."""
        return max(self.sessions)

    def without(self, roles: Collection[str]) -> Scan:
        """The same, with nothing of these roles in it."""
        statements = self.statements
        if statements:
            statements = replace(statements, counted=tuple(one for one in statements.counted if one.role not in roles))
        return replace(self, statements=statements, signs=tuple(one for one in self.signs if one.role not in roles))

    @classmethod
    def parse(cls, lines: Iterable[str], samples: int, host: str = "") -> Scan:
        """Read what `scan_server.sh` prints on a host; raises Unreadable when a sample or a part of it is missing."""
        found = sections(lines)
        try:
            read = [json.loads(line) for line in found["samples"]]
            if len(read) != samples:
                raise ValueError(f"{len(read)} of {samples} samples")
            rows = [row for sample in read for row in sample["signs"]]
            rows += [row for line in found["temporary"] for row in json.loads(line)]
            server = json.loads("".join(found["login_settings"]))
            return cls(
                tuple(int(sample["sessions"]) for sample in read),
                _largest(_sign(row, host) for row in rows),
                tuple(LoginSetting(row["role"], row["database"], row["name"]) for row in server["login_settings"]),
                _statements(json.loads("".join(found["statements"]))) if found["statements"] else None,
                bool(server["track_activities"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise Unreadable(f"The server's scan could not be read ({type(error).__name__}: {error}).") from error


def _sign(row: Mapping[str, Any], host: str) -> Sign:
    if row["what"] not in get_args(What):
        raise ValueError(f"{row['what']!r} is no sign")
    return Sign(
        what=row["what"],
        source=row["source"],
        pid=int(row["pid"] or 0),
        role=row["role"],
        database=row["database"],
        peer=Endpoint.of(row["address"], row["port"]).seen_on(host) if row["address"] is not None else None,
        detail=row["detail"],
        count=int(row["count"]),
        seconds=float(row["seconds"]),
    )


def _largest(signs: Iterable[Sign]) -> tuple[Sign, ...]:
    """A sign that is there in many samples once, as it was when it was largest."""
    found: dict[tuple[object, ...], Sign] = {}
    for sign in signs:
        key = (sign.what, sign.source, sign.pid, sign.role, sign.database, sign.peer, sign.detail)
        if key not in found or (sign.count, sign.seconds) > (found[key].count, found[key].seconds):
            found[key] = sign
    return tuple(found.values())


def _statements(read: Mapping[str, Any]) -> Statements:
    info = read["info"] or {}
    return Statements(
        tuple(
            Counted(row["what"], row["detail"], row["role"], row["database"], int(row["calls"]))
            for row in read["counted"]
        ),
        since=str(info.get("stats_reset") or "")[:10],
        evictions=int(info.get("dealloc") or 0),
        track_utility=bool(read["track_utility"]),
    )
