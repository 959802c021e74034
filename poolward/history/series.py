"""The backends of a server over time, told apart: what the chart draws and the table beneath it says. Pure."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Literal

from poolward.history.events import Look
from poolward.history.records import History, Move, Run

TOGETHER_SECONDS = 900.0
"""Runs that follow each other within a quarter of an hour share a chart."""
BLANK_SECONDS = 120.0
"""Where nobody looked for so long, nothing is drawn."""
_CHARTS = 12
"""There are no more: then the longest pauses are the ones that divide them."""
_COLUMNS, _FEWEST_COLUMNS = 300, 20
"""A chart is some 800 dots wide: more than one look every three dots cannot be seen."""
_VALUES = 6_000
"""Columns times layers, over all charts: keeps the page well under a megabyte."""

Kind = Literal["direct", "pooler", "others"]
KINDS: tuple[Kind, ...] = ("direct", "pooler", "others")


@dataclass(frozen=True)
class Layer:
    """One band of the chart."""

    kind: Kind
    name: str

    @property
    def label(self) -> str:
        if self.kind == "others":
            return "others: no declared service, no pooler"
        return f"{self.name}, {'direct' if self.kind == 'direct' else 'server connections'}"

    def value(self, look: Look) -> int:
        """How many backends it holds in a look; one that the look does not name adds nothing."""
        if self.kind == "direct":
            sessions = (look.by_service or {}).get(self.name)
            return (sessions.direct or 0) if sessions else 0
        return (look.by_pooler or {}).get(self.name, 0) if self.kind == "pooler" else look.others or 0


@dataclass(frozen=True)
class Point:
    """One look, as numbers in the order of the layers."""

    at: float
    values: tuple[int, ...]
    limit: int | None

    @property
    def total(self) -> int:
        return sum(self.values)


@dataclass(frozen=True)
class Mark:
    """A move in the chart."""

    at: float
    name: str
    back: bool
    """Whether sessions came back to the server."""


@dataclass(frozen=True)
class Period:
    """Runs that belong together in time, and what was seen meanwhile."""

    runs: tuple[Run, ...]
    points: tuple[Point, ...]
    marks: tuple[Mark, ...]


@dataclass(frozen=True)
class Moment:
    """A row of the table: when, and the look that tells."""

    label: str
    at: float
    limit: int | None
    total: int
    parts: Mapping[Kind, Part]


@dataclass(frozen=True)
class Part:
    """The bands of one kind at a moment."""

    total: int
    names: str
    """`shop 8, worker 4`, without those that held nothing."""


def layers(history: History) -> list[Layer]:
    """Services in the order they move, then poolers, then others; what never held a backend is left out."""
    services = [name for run in history.runs for name in (*run.order, *run.direct)]
    services += sorted(name for look in history.looks for name in look.by_service or ())
    poolers = sorted({name for look in history.looks for name in look.by_pooler or ()})
    every = [Layer("direct", name) for name in dict.fromkeys(services)]
    every += [*(Layer("pooler", name) for name in poolers), Layer("others", "")]
    return [layer for layer in every if any(layer.value(look) for look in history.looks)]


def periods(history: History, drawn: Sequence[Layer]) -> list[Period]:
    """The history cut where nothing ran for long, so that a rollback of the next day does not flatten the cutover."""
    runs = sorted(history.runs, key=lambda run: run.began)
    until = list(accumulate((run.last for run in runs), max))
    pauses = sorted((runs[index].began - until[index - 1], index) for index in range(1, len(runs)))
    cuts = sorted(index for pause, index in pauses[-(_CHARTS - 1) :] if pause > TOGETHER_SECONDS)
    return [_period(history, drawn, runs[since:to]) for since, to in pairwise([0, *cuts, len(runs)])]


def _period(history: History, drawn: Sequence[Layer], runs: Sequence[Run]) -> Period:
    names = {run.id for run in runs}
    looks = [look for look in history.looks if look.event.run in names and look.by_service is not None]
    points = tuple(Point(look.at, tuple(layer.value(look) for layer in drawn), look.limit) for look in looks)
    marks = [mark for run in runs for move in run.moves if move.touched for mark in _marks(move)]
    return Period(tuple(runs), points, tuple(sorted(marks, key=lambda mark: (mark.at, mark.name))))


def _marks(move: Move) -> Iterable[Mark]:
    back = move.what == "rollback"
    yield Mark(move.happened, f"{move.service} back" if back else move.service, back)
    if move.returned is not None:
        yield Mark(move.returned, f"{move.service} taken back", True)


def moments(period: Period, drawn: Sequence[Layer]) -> list[Moment]:
    """The looks worth a row: the first, the last before the next move, the one with the most backends, the last."""
    points = period.points
    if not points:
        return []
    times = [point.at for point in points]
    rows = [(0, "first look")]
    following = [*(mark.at for mark in period.marks), float("inf")][1:]
    for mark, until in zip(period.marks, following, strict=True):
        index = bisect.bisect_left(times, until) - 1
        if index >= 0 and times[index] >= mark.at:
            rows.append((index, f"after {mark.name}"))
    rows.append((max(range(len(points)), key=lambda index: points[index].total), "most backends"))
    rows.append((len(points) - 1, "last look"))
    labels: dict[int, list[str]] = {}
    for index, label in rows:
        labels.setdefault(index, []).append(label)
    return [_moment("; ".join(said), points[index], drawn) for index, said in sorted(labels.items())]


def _moment(label: str, point: Point, drawn: Sequence[Layer]) -> Moment:
    held = list(zip(drawn, point.values, strict=True))
    parts = {}
    for kind in KINDS:
        of = [(layer.name, value) for layer, value in held if layer.kind == kind]
        names = ", ".join(f"{name}\N{NO-BREAK SPACE}{value}" for name, value in of if value and name)
        parts[kind] = Part(sum(value for _, value in of), names)
    return Moment(label, point.at, point.limit, point.total, parts)


def columns(width: int, charts: int) -> int:
    """How many columns a chart of so many layers may have."""
    return max(_FEWEST_COLUMNS, min(_COLUMNS, _VALUES // max(1, width * charts)))


def segments(points: Sequence[Point], wide: int) -> list[list[Point]]:
    """The points that can be seen in so many columns, cut where nobody looked.

    Each column keeps its highest and its lowest look, and every layer its highest one of all: no peak is lost, and
    every point that is left is one that was seen.
    """
    if not points:
        return []
    width = (points[-1].at - points[0].at) / wide
    cut = max(BLANK_SECONDS, 3 * width)
    found: list[list[Point]] = []
    for point in _thinned(points, width):
        if not found or point.at - found[-1][-1].at > cut:
            found.append([])
        found[-1].append(point)
    return found


def _thinned(points: Sequence[Point], width: float) -> list[Point]:
    kept = {0, len(points) - 1}
    kept |= {_highest(points, layer) for layer in range(len(points[0].values))}
    columns: dict[int, list[int]] = {}
    for index, point in enumerate(points):
        columns.setdefault(int((point.at - points[0].at) / width) if width else index, []).append(index)
    for column in columns.values():
        kept |= {max(column, key=lambda index: points[index].total), min(column, key=lambda index: points[index].total)}
    return [points[index] for index in sorted(kept)]


def _highest(points: Sequence[Point], layer: int) -> int:
    return max(range(len(points)), key=lambda index: points[index].values[layer])
