"""Moves, runs and the history they make, as records. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from poolward.history.events import Look, Sessions


class Result(StrEnum):
    """How a move ended."""

    MOVED = "moved"
    MOVED_BACK = "moved back"
    NOT_PROVED = "not proved"
    """Switched, and not seen at work: it lives now and then."""
    SKIPPED = "skipped"
    TAKEN_BACK = "taken back"
    FAILED = "failed"
    STUCK = "stuck"
    OPEN = "not finished"

    @property
    def good(self) -> bool:
        return self in (Result.MOVED, Result.MOVED_BACK, Result.SKIPPED)


@dataclass(frozen=True)
class Restart:
    """A restart of a service."""

    at: float
    seconds: float | None


@dataclass(frozen=True)
class Move:
    """One service's move, or its way back, in one run."""

    service: str
    what: str
    host: str
    pooler: str
    role: str
    source: str
    """Where it connected, `10.0.0.11:5432/shop`."""
    target: str
    began: float
    ended: float | None
    before: Sessions
    after: Sessions
    """At its end; where it has none, in the last look at it."""
    login: float | None
    """Milliseconds the trial login took."""
    restarts: tuple[Restart, ...]
    """A move that was taken back has two."""
    soak: float | None
    """Seconds everything had to stay as it should; None unless it was proved."""
    seconds: float | None
    """Seconds of the whole move."""
    longest_wait: float | None
    """Seconds a client of the service waited for a server connection at most, in any look."""
    settings: str
    """What was rewritten, `DATABASE_URL in /etc/shop/env`; empty when this run rewrote nothing."""
    touched: bool
    """Whether this run rewrote its settings or restarted it."""
    result: Result
    reasons: tuple[str, ...]
    hint: str
    commands: tuple[str, ...]
    """What to do by hand, where it is stuck."""

    @property
    def happened(self) -> float:
        """When it was restarted with its new settings; where it never was, when it began."""
        return self.restarts[0].at if self.restarts else self.began

    @property
    def returned(self) -> float | None:
        """When it was restarted with its old settings, for a move that was taken back."""
        if self.result is not Result.TAKEN_BACK:
            return None
        return self.restarts[-1].at if len(self.restarts) > 1 else self.ended


@dataclass(frozen=True)
class Run:
    """One run of a cutover or a rollback."""

    id: str
    what: str
    inventory: str
    user: str
    options: str
    began: float
    last: float
    """When its last event was written."""
    ended: bool
    """Whether it came to its end: a run that was killed did not."""
    ok: bool
    """Whether it came to its end, and without an error."""
    limit: int | None
    direct: Mapping[str, str]
    """Services that stay direct, and why."""
    skipped: Mapping[str, str]
    """Services there was nothing to do for, and why."""
    left: tuple[str, ...]
    clients_per_server: Mapping[str, float]
    order: tuple[str, ...]
    moves: tuple[Move, ...]


@dataclass(frozen=True)
class History:
    """Everything the journals tell, by time."""

    runs: tuple[Run, ...]
    looks: tuple[Look, ...]
    events: int

    @property
    def moves(self) -> list[Move]:
        return sorted((move for run in self.runs for move in run.moves), key=lambda move: move.began)

    @property
    def last(self) -> Run:
        return self.runs[-1]

    @cached_property
    def standing(self) -> dict[str, Move]:
        """The latest move of each service; to be skipped says nothing new of one that had moved well."""
        found: dict[str, Move] = {}
        for move in self.moves:
            if move.result is not Result.SKIPPED or move.service not in found or not found[move.service].result.good:
                found[move.service] = move
        return found

    @property
    def trouble(self) -> list[Move]:
        """Services whose latest move did not end well."""
        return [move for move in self.standing.values() if not move.result.good]

    @property
    def left(self) -> list[str]:
        """Services the last run, a cutover, was to move and did not reach."""
        if self.last.what != "cutover":
            return []
        names = self.last.left if self.last.ended else self.last.order
        reached = set(self.standing) if not self.last.ended else {move.service for move in self.trouble}
        return [name for name in names if name not in reached]

    @property
    def clean(self) -> bool:
        """Whether nothing is left to do."""
        return self.last.ok and not self.trouble and not self.left
