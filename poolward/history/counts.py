"""Before, during and after: backends per role, clients per server connection, errors that clients saw. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from poolward.history.events import Look
from poolward.history.records import History

_NEAR_ONE = 1.2
"""So few clients per server connection are no gain."""


@dataclass(frozen=True)
class Phases:
    """The looks of a history: one before the first change, those while services moved, one after the last change."""

    before: Look | None
    during: tuple[Look, ...]
    after: Look | None

    @classmethod
    def of(cls, history: History) -> Phases:
        """A look that was not taken in time stands for nothing: what was not counted before a change is unknown."""
        looks, touched = history.looks, [move for move in history.moves if move.touched]
        first = min((move.happened for move in touched), default=float("inf"))
        last = max((at for move in touched for at in (move.happened, move.returned) if at is not None), default=0.0)
        return cls(
            before=looks[0] if looks and looks[0].at < first else None,
            during=looks[1:-1] if looks and looks[0].at < first else looks[:-1],
            after=looks[-1] if looks and looks[-1].at > last else None,
        )


@dataclass(frozen=True)
class Backends:
    """Connections of one role, or of all; None: not counted."""

    role: str
    before: int | None
    most: int | None
    """In any look while services moved."""
    after: int | None


@dataclass(frozen=True)
class Multiplexing:
    """What a pooler makes of its clients, in the last look."""

    pooler: str
    clients: int | None
    servers: int | None
    ratio: float | None
    """Clients per server connection."""

    @property
    def flat(self) -> bool:
        """Whether it takes about as many server connections as it has clients."""
        return self.ratio is not None and self.ratio < _NEAR_ONE and self.clients != 1


@dataclass(frozen=True)
class Errors:
    """What the clients of a service saw between the first look and the last, by SQLSTATE."""

    service: str
    by_code: Mapping[str, int]

    @property
    def total(self) -> int:
        return sum(self.by_code.values())


def by_role(phases: Phases) -> list[Backends]:
    """Backends per role, the largest before first."""
    before, after = (look.counts("by_role") if look else None for look in (phases.before, phases.after))
    during = [counted for look in phases.during if (counted := look.counts("by_role")) is not None]
    roles = {role for of in (before, after, *during) if of is not None for role in of}
    found = [
        Backends(
            role,
            before.get(role, 0) if before is not None else None,
            max((counts.get(role, 0) for counts in during), default=None),
            after.get(role, 0) if after is not None else None,
        )
        for role in roles
    ]
    return sorted(found, key=lambda of: (-(of.before or of.most or 0), of.role))


def in_all(phases: Phases) -> Backends:
    """All backends of the server."""
    during = [look.backends for look in phases.during if look.backends is not None]
    return Backends(
        "all",
        phases.before.backends if phases.before else None,
        max(during, default=None),
        phases.after.backends if phases.after else None,
    )


def multiplexing(history: History) -> list[Multiplexing]:
    """Clients per server connection of each pooler, in the last look that counted them."""
    look = next((look for look in reversed(history.looks) if look.counts("clients") is not None), None)
    clients = (look.counts("clients") if look else None) or {}
    servers = (look.counts("servers") if look else None) or {}
    said = history.last.clients_per_server
    found = []
    for name in sorted({*clients, *servers, *said}):
        has, takes = clients.get(name), servers.get(name)
        ratio = said.get(name) if has is None or takes is None else (has / takes if takes else None)
        found.append(Multiplexing(name, has, takes, ratio))
    return found


def errors(history: History) -> list[Errors]:
    """By service that reports them; one that is missing here reports none of its errors, which is not none."""
    names = sorted({name for look in history.looks for name in look.errors})
    return [Errors(name, _increase(history.looks, name, _restarts(history, name))) for name in names]


def _increase(looks: Iterable[Look], service: str, restarts: Sequence[float]) -> dict[str, int]:
    """How much its counters grew. They start at zero with the process: after a restart all that they say is new."""
    total: dict[str, int] = {}
    known: Mapping[str, int] | None = None
    at = 0.0
    for look in looks:
        if (now := look.errors.get(service)) is None:
            continue
        if any(at < restart <= look.at for restart in restarts) or _fell(known, now):
            known = {}
        elif known is None:
            known = now
        for code, count in now.items():
            total[code] = total.get(code, 0) + count - known.get(code, 0)
        known, at = now, look.at
    return {code: count for code, count in sorted(total.items()) if count}


def _fell(known: Mapping[str, int] | None, now: Mapping[str, int]) -> bool:
    return known is not None and any(now.get(code, 0) < count for code, count in known.items())


def _restarts(history: History, service: str) -> list[float]:
    return [restart.at for move in history.moves if move.service == service for restart in move.restarts]
