"""Everything a report says, put together once: the page, the terminal and the JSON say the same. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from poolward.history import counts, moves, telling
from poolward.history.counts import Backends, Errors, Multiplexing, Phases
from poolward.history.records import History, Move, Result
from poolward.history.telling import Step
from poolward.history.words import clock, day, lasted, moment, several


@dataclass(frozen=True)
class Row:
    """A move in words; empty where the journal does not tell."""

    move: Move
    service: str
    route: tuple[str, str]
    before: str
    after: str
    login: str
    restart: str
    soak: str
    took: str
    waited: str


@dataclass(frozen=True)
class Summary:
    """What a history comes to."""

    history: History
    phases: Phases
    backends: Backends
    roles: list[Backends]
    poolers: list[Multiplexing]
    errors: list[Errors]
    direct: Mapping[str, str]
    """Services that stay direct, and why."""
    steps: list[Step]
    unreadable: Mapping[str, int] = field(default_factory=dict)
    """Journals in which so many lines could not be read."""

    @property
    def limit(self) -> int | None:
        """How many connections the server has for applications, as seen last."""
        seen = (look.limit for look in reversed(self.history.looks))
        said = (run.limit for run in reversed(self.history.runs))
        return next((limit for limit in (*seen, *said) if limit is not None), None)

    def when(self, at: float) -> str:
        """A moment (UTC), with its day where the history is longer than one."""
        first, last = self.history.runs[0].began, max(run.last for run in self.history.runs)
        return clock(at) if day(first) == day(last) else f"{day(at)} {clock(at)}"

    @property
    def rows(self) -> list[Row]:
        return [_row(move) for move in self.history.moves if move.result is not Result.SKIPPED]

    @property
    def skipped(self) -> list[str]:
        """A sentence for each service there was nothing to do for."""
        return [
            f"{name}: skipped, {why or 'the journal does not say why'}"
            for run in self.history.runs
            for name, why in run.skipped.items()
            if name not in run.direct
        ]

    @property
    def stories(self) -> list[list[str]]:
        """What happened to each move that did not end well, a later one that mended it or not."""
        return [telling.story(move) for move in self.history.moves if not move.result.good]

    @property
    def headlines(self) -> list[str]:
        missing = [
            f"{several(count, 'line')} of {name} cannot be read, as where the disk was full: something is missing here."
            for name, count in self.unreadable.items()
        ]
        return [*(telling.headline(run) for run in self.history.runs), *missing]

    @property
    def verdict(self) -> str:
        return telling.verdict(self.history)

    @property
    def load(self) -> str:
        return telling.load(self.backends, self.limit)

    @property
    def errors_told(self) -> list[str]:
        return telling.errors_told(self.errors)

    def document(self) -> dict[str, Any]:
        """The same for a machine; the series stay where they are, in the journal."""
        return {
            "clean": self.history.clean,
            "verdict": self.verdict,
            "runs": [{**asdict(run), "moves": [_plain(move) for move in run.moves]} for run in self.history.runs],
            "limit": self.limit,
            "backends": asdict(self.backends),
            "roles": [asdict(role) for role in self.roles],
            "poolers": [{**asdict(pooler), "flat": pooler.flat} for pooler in self.poolers],
            "errors": {of.service: dict(of.by_code) for of in self.errors},
            "direct": dict(self.direct),
            "left": self.history.left,
            "unreadable": dict(self.unreadable),
            "next": [asdict(step) for step in self.steps],
        }


def of(journals: Iterable[Iterable[Mapping[str, object]]], unreadable: Mapping[str, int] | None = None) -> Summary:
    """What these journals come to; `unreadable` says of which of them how many lines could not be read.

    Raises PoolwardError where they tell nothing, or of several inventories.
    """
    history = moves.read(journals)
    phases = Phases.of(history)
    poolers = counts.multiplexing(history)
    return Summary(
        history=history,
        phases=phases,
        backends=counts.in_all(phases),
        roles=counts.by_role(phases),
        poolers=poolers,
        errors=counts.errors(history),
        direct=telling.stays_direct(history),
        steps=telling.next_steps(history, poolers),
        unreadable=unreadable or {},
    )


def _row(move: Move) -> Row:
    restarts = [lasted(restart.seconds) for restart in move.restarts if restart.seconds is not None]
    return Row(
        move=move,
        service=f"{move.service} on {move.host}" if move.host else move.service,
        route=(move.source or "not told", move.target or "not told"),
        before=str(move.before),
        after=str(move.after),
        login=f"{move.login:g} ms" if move.login is not None else "",
        restart=", then ".join(restarts),
        soak=lasted(move.soak) if move.soak is not None else "",
        took=lasted(move.seconds) if move.seconds is not None else "",
        waited=lasted(move.longest_wait) if move.longest_wait is not None else "",
    )


def _plain(move: Move) -> dict[str, Any]:
    return {**asdict(move), "result": str(move.result), "began_utc": moment(move.began)}
