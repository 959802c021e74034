"""What breaks when a service moves behind the pooler, with what says so, and the pool in which it still works. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from poolward import startup
from poolward.holders import Presence
from poolward.service import Service, settings_of
from poolward.settings import Value, Version

Pool = Literal["transaction", "session", "direct"]
Verdict = Literal["transaction", "session", "direct", "unknown"]
Certainty = Literal["socket", "settings", "role"]
"""By its process's socket; by its settings file; by a role under which nobody else was seen."""

LONG_IDLE_IN_TRANSACTION = 10.0
"""Seconds. Whoever waits for that server connection fails after query_wait_timeout (15 s by Poolward's default)."""
_RANK: Mapping[str, int] = {"transaction": 0, "session": 1, "unknown": 2, "direct": 3}
# What PgBouncer restores for every client, whatever the others set (pgbouncer.org/config, track_extra_parameters).
_TRACKED = frozenset({"client_encoding", "datestyle", "timezone", "standard_conforming_strings", "application_name"})
_INTERVALSTYLE_TRACKED_SINCE = Version(1, 20)
PREPARED_SINCE = Version(1, 21)
"""The first PgBouncer that carries prepared statements of the protocol from one server connection to the next."""


class Kind(NamedTuple):
    """The pool in which something still works, and what to do instead of it."""

    needs: Pool
    remedy: str


# pgbouncer.org/features, "SQL feature map for pooling modes"; the last ones work everywhere, at a price or for nothing.
KINDS: Mapping[str, Kind] = {
    "advisory lock": Kind("session", "pg_advisory_xact_lock, which ends with its transaction; or a session pool"),
    "LISTEN": Kind("session", "a session pool for the connection that listens"),
    "temporary table": Kind("session", "ON COMMIT DROP, used within one transaction; or a session pool"),
    "WITH HOLD cursor": Kind("session", "read the cursor within its transaction; or a session pool"),
    "SQL PREPARE": Kind(
        "session", f"have the driver prepare, by the protocol (PgBouncer {PREPARED_SINCE}); or a session pool"
    ),
    "SET": Kind("session", "ALTER ROLE … SET, or SET LOCAL; or a session pool"),
    "LOAD": Kind("session", "session_preload_libraries for its role; or a session pool"),
    "options": Kind("direct", "ALTER ROLE … SET; and take out of `options` what PgBouncer refuses"),
    "idle in transaction": Kind("transaction", "commit sooner: it keeps a server connection for itself all that time"),
    "idle_session_timeout": Kind("transaction", "0 for its role: it ends idle server connections of the pool"),
    "login settings": Kind("transaction", "nothing: the server applies them when the pooler logs in as that role"),
    "options of its role": Kind("transaction", "nothing: the pooler drops them, and the role has the same of itself"),
}


@dataclass(frozen=True)
class LostOptions:
    """What a connection of a service passes in `options` and a pooler would not hand on; by name, never by value."""

    variable: str
    """Where its settings say so."""
    role: str
    database: str
    names: tuple[str, ...]
    fate: Literal["dropped", "refused"]


@dataclass(frozen=True)
class Declared:
    """A service as the operator declared it, and what its settings would lose behind a pooler."""

    name: str
    host: str
    unit: str
    pool: Pool
    options: tuple[LostOptions, ...] | None = ()
    """None where its settings could not be read."""


@dataclass(frozen=True)
class Hazard:
    """One thing that does not survive, or that costs."""

    what: str
    evidence: str
    count: int
    """Sessions by socket, calls by role, parameters otherwise."""
    certainty: Certainty
    needs: Pool
    """The pool in which it still works."""
    remedy: str

    @classmethod
    def of(cls, what: str, evidence: str, count: int, certainty: Certainty) -> Hazard:
        return cls(what, evidence, count, certainty, *KINDS[what])


@dataclass(frozen=True)
class ServiceAssessment:
    """A service: what was seen of it, and what that means."""

    name: str
    host: str
    declared: Pool
    presence: Presence
    hazards: tuple[Hazard, ...]
    settings_read: bool = True

    @property
    def verdict(self) -> Verdict:
        """Where it works, by what was seen; `unknown` where no session of it was."""
        needs: list[Pool] = ["transaction", *(hazard.needs for hazard in self.hazards)]
        worst = max(needs, key=lambda pool: _RANK[pool])
        seen = self.presence.direct or self.presence.pooled
        return worst if seen or worst == "direct" else "unknown"


@dataclass(frozen=True)
class Suspicion:
    """Something that one of several does: no more than their common role is known."""

    server: str
    role: str
    database: str
    what: str
    evidence: str
    count: int
    candidates: tuple[str, ...]
    """Declared services seen under this role in this database."""
    others: tuple[str, ...]
    """Who else was."""
    known: tuple[str, ...] = ()
    """The candidates whose own sockets show the same."""


@dataclass(frozen=True)
class Stranger:
    """A hazard of sessions that belong to no declared service."""

    who: str
    server: str
    role: str
    hazard: Hazard


def lost_options(
    service: Service, variables: Mapping[str, str], poolers: Iterable[tuple[Version, Mapping[str, Value]]]
) -> tuple[LostOptions, ...]:
    """What any of these PgBouncers, each by its version and settings, does not hand on of a service's `options`.

    Raises Refused where the service's settings cannot be read.
    """
    known, found = list(poolers), []
    for variable, connection in settings_of(service, variables).items():
        given = startup.sent(connection).get("options", "")
        fates = [startup.fate_of_options(given, *pooler) for pooler in known] if given else []
        names = sorted({name for _, lost in fates for name in lost})
        if any(fate != "kept" for fate, _ in fates):
            fate: Literal["dropped", "refused"] = "refused" if any(f == "refused" for f, _ in fates) else "dropped"
            role = connection.user or service.role
            found.append(LostOptions(variable, role, connection.database, tuple(names), fate))
    return tuple(found)


def unsafe(service: ServiceAssessment, pool: Literal["transaction", "session"]) -> list[str]:
    """Why this service should not move into that pool, as sentences; empty where nothing seen speaks against it.

    What one of several does (`Suspicion`) is no reason: a shared role would stop all of them.
    """
    reasons = [
        f"{hazard.what}: {hazard.evidence}. Instead: {hazard.remedy}."
        for hazard in service.hazards
        if _RANK[hazard.needs] > _RANK[pool]
    ]
    if service.verdict == "unknown":
        reasons.append("No session of it was seen, so nothing is known of what it needs: assess it while it works.")
    return reasons


def fits_as_declared(service: ServiceAssessment) -> bool:
    """Whether nothing seen speaks against what the operator declared."""
    return service.declared == "direct" or not unsafe(service, service.declared)


def proposed_order(services: Iterable[ServiceAssessment]) -> list[str]:
    """The services to move: the heaviest superuser pools first, whoever needs a session of its own after the others.

    Left out is what stays direct.
    """
    moving = [service for service in services if "direct" not in (service.declared, service.verdict)]

    def rank(service: ServiceAssessment) -> tuple[int, bool, int, str]:
        presence = service.presence
        return _RANK[service.verdict], not presence.superuser, -(presence.direct + presence.pooled), service.name

    return [service.name for service in sorted(moving, key=rank)]


def tracked(versions: Collection[Version | None]) -> frozenset[str]:
    """The parameters that every one of these PgBouncers restores for its clients; an unknown version is an old one."""
    newer = bool(versions) and all(version and version >= _INTERVALSTYLE_TRACKED_SINCE for version in versions)
    return _TRACKED | {"intervalstyle"} if newer else _TRACKED
