"""The scales of a chart: from times and counts to places on the paper, and the round numbers beside them. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_MINUTES = [_MINUTE * n for n in (1, 2, 5, 10, 15, 30)]
_TIME_STEPS = (1, 2, 5, 10, 15, 30, *_MINUTES, *(_HOUR * n for n in (1, 2, 3, 6, 12)))


@dataclass(frozen=True)
class Scale:
    """A line from `low` at the place `start` to `high` at the place `end`."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """A place, to a tenth of a dot."""
        return round(self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start), 1)


def count_ticks(highest: int, wanted: int = 6) -> list[int]:
    """Round numbers from 0 to the first one that is not below `highest`."""
    rough = max(1.0, highest / wanted)
    power = 10 ** math.floor(math.log10(rough))
    step = next(int(power * factor) for factor in (1, 2, 5, 10) if power * factor >= rough)
    last = math.ceil(max(1, highest) / step) * step
    return list(range(0, last + 1, step))


def time_ticks(first: float, last: float, wanted: int = 8) -> list[tuple[float, str]]:
    """Round moments between two times, and how to write them (UTC)."""
    span = last - first
    days = max(1, math.ceil(span / _DAY / wanted))
    step = next((step for step in _TIME_STEPS if span / step <= wanted), _DAY * days)
    pattern = "%H:%M:%S" if step < _MINUTE else "%H:%M" if span <= _DAY else "%m-%d %H:%M"
    start = math.ceil(first / step) * step
    return [(at, datetime.fromtimestamp(at, UTC).strftime(pattern)) for at in range(start, math.floor(last) + 1, step)]


def spread(places: list[float], gap: float, start: float, end: float) -> list[float]:
    """Places moved apart to at least `gap` where there is room, in the same order, within `start` and `end`."""
    gap = min(gap, (end - start) / max(1, len(places) - 1))
    found = list(places)
    for index, place in enumerate(found):
        found[index] = max(place, found[index - 1] + gap if index else start)
    for index in reversed(range(len(found))):
        found[index] = min(found[index], found[index + 1] - gap if index + 1 < len(found) else end)
    return [round(place, 1) for place in found]
