"""Which colour each band of the chart has: told apart by colour-blind readers, on paper and on a dark screen. Pure.

The eight colours are Okabe and Ito's (https://jfly.uni-koeln.de/color/): warm ones for what is direct, cold ones for
poolers, grey for the rest. Where there are more services than warm colours, the same ones come again hatched.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from poolward.history.series import Kind, Layer

_COLOURS: dict[Kind, tuple[str, ...]] = {
    "direct": ("#d55e00", "#f0e442", "#cc79a7", "#e69f00"),
    "pooler": ("#0072b2", "#56b4e9", "#009e73"),
    "others": ("#999999",),
}
_LINES = ("M-1,1 l2,-2 M0,8 l8,-8 M7,9 l2,-2", "M-1,7 l2,2 M0,0 l8,8 M7,-1 l2,2", "M0,4 h8", "M4,0 v8")
HATCHES = tuple(" ".join(lines) for count in range(4) for lines in combinations(_LINES, count))
"""What is drawn over a colour that comes again, in a square of 8: nothing at first, then lines, then crossing ones."""


@dataclass(frozen=True)
class Fill:
    """How a band is filled."""

    colour: str
    hatch: int
    """An index of HATCHES."""


def fills(layers: Sequence[Layer]) -> list[Fill]:
    """One per layer."""
    met: dict[Kind, int] = dict.fromkeys(_COLOURS, 0)
    found = []
    for layer in layers:
        again, number = divmod(met[layer.kind], len(_COLOURS[layer.kind]))
        met[layer.kind] += 1
        found.append(Fill(_COLOURS[layer.kind][number], again % len(HATCHES)))
    return found
