"""Whether one look at a moved service is what it should be, and how long it has to stay so. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from poolward.evidence import Census
from poolward.moves import Goal
from poolward.observed import ServiceState, Sessions

SETTLE_SECONDS = 30.0
"""How long a restarted service may take until its sessions are where they belong."""
MISSES = 2
"""A condition that fails in so many looks in a row has failed: short connections race between two sides of one look."""


@dataclass(frozen=True)
class Sample:
    """One look at one service, as numbers."""

    at: float
    direct: int
    pooled: int
    waiting: int
    longest_wait: float
    backends: int
    limit: int
    health: str
    problems: tuple[str, ...]

    @property
    def good(self) -> bool:
        return not self.problems

    def __str__(self) -> str:
        return (
            f"direct {self.direct}, pooled {self.pooled}, waiting {self.waiting}, "
            f"all backends {self.backends} of {self.limit}"
        )


@dataclass(frozen=True)
class Terms:
    """What has to hold."""

    goal: Goal
    max_wait: float
    """Seconds a client of the service may wait for a server connection."""
    has_health: bool


def sample(
    at: float,
    terms: Terms,
    service: ServiceState,
    census: Census,
    sessions: Sessions,
    complaints: Sequence[str],
) -> Sample:
    """Judge one look; `complaints` are the lines of the pooler's log that name the service since its restart."""
    return Sample(
        at=at,
        direct=len(census.direct),
        pooled=len(census.pooled),
        waiting=len(census.waiting),
        longest_wait=census.longest_wait,
        backends=len(sessions.backends),
        limit=sessions.limit,
        health=service.health,
        problems=tuple(_problems(terms, service, census, sessions, complaints)),
    )


def _problems(
    terms: Terms, service: ServiceState, census: Census, sessions: Sessions, complaints: Sequence[str]
) -> list[str]:
    found: list[str] = []
    if service.unit is not None and not service.unit.running:
        found.append(f"{service.unit.name} is {service.unit.active} ({service.unit.sub})")
    if terms.has_health and service.health != "200":
        found.append(f"its health URL answers {service.health or 'nothing'}")
    if terms.goal == "pooled":
        found += _not_pooled(terms, census, complaints)
    else:
        if census.pooled:
            found.append(f"{len(census.pooled)} of its sessions still go through the pooler")
        if not census.direct:
            found.append("it has no session on the server yet")
    if census.unmatched and not (census.direct or census.pooled):
        ends = ", ".join(f"{socket.local} → {socket.peer}" for socket in census.unmatched[:3])
        found.append(
            f"neither PostgreSQL nor PgBouncer knows its connections ({ends}): is an address translated between?"
        )
    if len(sessions.backends) > sessions.limit:
        found.append(f"the server has {len(sessions.backends)} sessions, over the {sessions.limit} for applications")
    return found


def _not_pooled(terms: Terms, census: Census, complaints: Sequence[str]) -> list[str]:
    found: list[str] = []
    if census.direct:
        shown = "; ".join(str(session) for session in census.direct[:3])
        found.append(f"{len(census.direct)} of its sessions still connect directly ({shown})")
    if not census.pooled:
        found.append("it has no session through the pooler yet")
    if census.longest_wait > terms.max_wait:
        found.append(f"a client has waited {census.longest_wait:.1f} s for a connection, over {terms.max_wait:g} s")
    if complaints:
        found.append(f"the pooler's log names it: {complaints[-1]}")
    return found


@dataclass
class Soak:
    """The proof over time: first everything has to come true, then to stay true for `seconds`."""

    seconds: float
    settle_seconds: float = SETTLE_SECONDS
    started: float | None = None
    """When the first look was taken."""
    settled: float | None = None
    """When everything was as it should be for the first time."""
    _misses: list[Sample] = field(default_factory=list)

    def add(self, look: Sample) -> str:
        """Take one look into account: `proved`, `going on`, or `failed`."""
        self.started = look.at if self.started is None else self.started
        if self.settled is None:
            if look.good:
                self.settled = look.at
            elif look.at - self.started >= self.settle_seconds:
                return "failed"
        elif not look.good:
            self._misses.append(look)
            return "failed" if len(self._misses) >= MISSES else "going on"
        self._misses.clear()
        return "proved" if self.settled is not None and look.at - self.settled >= self.seconds else "going on"

    def left(self, now: float) -> float:
        """Seconds of the soak that are left."""
        return self.seconds if self.settled is None else max(0.0, self.seconds - (now - self.settled))
