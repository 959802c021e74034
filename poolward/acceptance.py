"""Whether one look at a moved service is what it should be, and how long it has to stay so. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from poolward.evidence import Census
from poolward.moves import Goal
from poolward.observed import ServiceState, Sessions
from poolward.observed.sessions import PooledClient

SETTLE_SECONDS = 30.0
"""How long a restarted service may take until its sessions are where they belong."""
GRACE_SECONDS = 2.5
"""A condition that fails for so long has failed; before that it may be two sides of one look that were not taken at
quite the same moment."""


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
    process: float | None = None
    """When its process was started, by its host's clock."""
    as_before: tuple[str, ...] = ()
    """What is not good on a way back, and was no better before the move."""
    seen: bool = True
    """False where it could not be looked: the numbers say nothing."""

    @classmethod
    def unread(cls, at: float, reasons: Sequence[str]) -> Sample:
        """A look that could not be made: unknown is not good."""
        return cls(at, 0, 0, 0, 0.0, 0, 0, "", tuple(reasons), seen=False)

    @property
    def good(self) -> bool:
        return not self.problems and not self.as_before

    def __str__(self) -> str:
        if not self.seen:
            return "not seen"
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
    now_and_then: bool = False
    """Whether it may have no process and no session at the moment."""
    home: frozenset[tuple[str, int]] = frozenset()
    """The addresses and ports it reached its servers by."""
    entries: frozenset[tuple[str, str]] = frozenset()
    """The poolers, each with the entry, that its sessions are to go through."""
    others: frozenset[tuple[str, str]] = frozenset()
    """Those that sessions of it went through before which the move has no part in."""
    restored: bool = False
    """Whether a failed move is undone, which may lead to a pooler, too: the one it was at before."""
    held_before: int = 0
    """How many connections of the server it and the poolers held before the move."""
    healthy_before: bool = True
    """Whether its health was good before the move; a way back need not make better what was not."""
    seen_before: bool = True
    """Whether it had a session before the move."""

    @property
    def back(self) -> bool:
        """Whether this is a way back, which asks for no more than was true before."""
        return self.restored or self.goal == "direct"

    def right(self, census: Census) -> int:
        """How many of the sessions prove it."""
        pooled = sum(1 for client in census.pooled if (client.host, client.database) in self.entries)
        return pooled + (len(census.direct) if self.goal == "direct" else 0)


def sample(
    at: float,
    terms: Terms,
    service: ServiceState,
    census: Census,
    sessions: Sessions,
    complaints: Sequence[str],
    held: int = 0,
) -> Sample:
    """Judge one look; `complaints` are sentences about what the poolers have against it.

    `held` is how many connections of the server it and the poolers hold.
    """
    return Sample(
        at=at,
        direct=len(census.direct),
        pooled=len(census.pooled),
        waiting=len(census.waiting),
        longest_wait=census.longest_wait,
        backends=len(sessions.backends),
        limit=sessions.limit,
        health=service.health,
        problems=(*_problems(terms, service, census, sessions, held), *complaints),
        process=service.process.incarnation if service.process else None,
        as_before=tuple(_as_before(terms, service, census)),
    )


def unfit(terms: Terms, service: ServiceState, census: Census, servers: Sequence[Sessions]) -> str:
    """Why a service that nothing was done to yet cannot be moved with a proof, or an empty string.

    Where a server has no room left, that may be why it is not well, and a move may be what helps.
    """
    if any(len(sessions.backends) >= sessions.limit for sessions in servers):
        return ""
    if terms.has_health and not well(service.health):
        return f"its health URL answers {service.health or 'nothing'} before anything is done"
    if not census.direct and not census.pooled and not terms.now_and_then:
        return untold(census) or "it has no session, on the server or through a pooler, that a move could be proved by"
    return ""


def well(health: str) -> bool:
    """Whether the status a health URL answers with is one of success."""
    return len(health) == 3 and health.startswith("2")


def _as_before(terms: Terms, service: ServiceState, census: Census) -> Iterable[str]:
    if terms.back:
        if not terms.healthy_before and _ill(terms, service):
            yield f"{_ill(terms, service)}, and was not well before"
        if not terms.seen_before and _unseen(terms, census):
            yield f"{_unseen(terms, census)}, nor had it one before"


def _ill(terms: Terms, service: ServiceState) -> str:
    return f"its health URL answers {service.health or 'nothing'}" * (terms.has_health and not well(service.health))


def _unseen(terms: Terms, census: Census) -> str:
    where = "on the server" if terms.goal == "direct" else f"through {_told(terms.entries)}"
    return f"it has no session {where} yet" * (not terms.right(census) and not terms.now_and_then)


def _problems(terms: Terms, service: ServiceState, census: Census, sessions: Sessions, held: int) -> list[str]:
    found: list[str] = []
    if service.process is not None and not service.process.running and not terms.now_and_then:
        found.append(service.process.told)
    if (ill := _ill(terms, service)) and (not terms.back or terms.healthy_before):
        found.append(ill)
    if terms.goal == "pooled":
        found += [*_not_pooled(terms, census), *_crowded(terms, sessions, held)]
    elif astray := _astray(terms, census):
        found.append(f"{len(astray)} of its sessions still go through the pooler")
    if (not terms.back or terms.seen_before) and (unseen := _unseen(terms, census)):
        found.append(unseen)
    if told := untold(census):
        found.append(told)
    return found


def _crowded(terms: Terms, sessions: Sessions, held: int) -> list[str]:
    """A server that others keep over its limit fails no move, nor bars a way back: that is what a move is made for."""
    if terms.back or len(sessions.backends) <= sessions.limit or held <= terms.held_before:
        return []
    return [
        f"the server has {len(sessions.backends)} sessions, over the {sessions.limit} for applications, and "
        f"{held} of them are its own and the poolers', {terms.held_before} before the move"
    ]


def untold(census: Census) -> str:
    """Why nothing can be said of its sessions, or an empty string."""
    if not census.unmatched or census.direct or census.pooled:
        return ""
    ends = ", ".join(f"{socket.local} → {socket.peer}" for socket in census.unmatched[:3])
    return f"neither PostgreSQL nor PgBouncer knows its connections ({ends}): is an address translated between?"


def _not_pooled(terms: Terms, census: Census) -> list[str]:
    found: list[str] = []
    if census.direct:
        shown = "; ".join(str(session) for session in census.direct[:3])
        found.append(f"{len(census.direct)} of its sessions still connect directly ({shown})")
    if strays := [one for one in census.unmatched if (one.peer.address, one.peer.port) in terms.home]:
        end = f"{strays[0].local} → {strays[0].peer}"
        found.append(
            f"{len(strays)} of its connections lead to the server, which does not know them by that end ({end})"
        )
    if astray := _astray(terms, census):
        ways = frozenset((client.host, client.database) for client in astray)
        found.append(
            f"{len(astray)} of its sessions go through {_told(ways)}, where nothing was moved to: is there a second "
            "variable?"
        )
    if census.longest_wait > terms.max_wait and not terms.back:
        found.append(f"a client has waited {census.longest_wait:.1f} s for a connection, over {terms.max_wait:g} s")
    return found


def _astray(terms: Terms, census: Census) -> list[PooledClient]:
    known = terms.entries | terms.others
    return [client for client in census.pooled if (client.host, client.database) not in known]


def _told(entries: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"{entry} on {pooler}" for pooler, entry in sorted(entries)) or "the pooler"


@dataclass
class Soak:
    """The proof over time: first everything has to come true, then to stay true for `seconds`, in one process."""

    seconds: float
    settle_seconds: float = SETTLE_SECONDS
    one_process: bool = True
    """Whether a service that is started anew after it had settled has failed."""
    _started: float | None = None
    _good_since: float | None = None
    _bad_since: float | None = None
    _settled: bool = False
    _process: float | None = None

    def add(self, look: Sample) -> Literal["going on", "proved", "failed", "died"]:
        """Take one look into account. A miss that passes starts the soak anew; only so often, so that it ends."""
        self._started = look.at if self._started is None else self._started
        if look.good:
            self._process = look.process if self._process is None else self._process
            if self.one_process and look.process != self._process:
                return "died"
            self._bad_since = None
            self._good_since = look.at if self._good_since is None else self._good_since
            return "proved" if look.at - self._good_since >= self.seconds else self._unless_late(look)
        self._bad_since = look.at if self._bad_since is None else self._bad_since
        settled, self._good_since = self._good_since is not None or self._settled, None
        self._settled = settled
        if settled and look.at - self._bad_since >= GRACE_SECONDS:
            return "failed"
        return self._unless_late(look)

    def _unless_late(self, look: Sample) -> Literal["going on", "failed"]:
        assert self._started is not None
        allowed = self.settle_seconds + (2 * self.seconds if self._settled or look.good else 0)
        return "failed" if look.at - self._started >= allowed else "going on"

    def left(self, now: float) -> float:
        """Seconds of the soak that are left."""
        return self.seconds if self._good_since is None else max(0.0, self.seconds - (now - self._good_since))
