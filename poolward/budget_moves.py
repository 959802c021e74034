"""What may be open at worst after each move: the services still direct, and the pools of those that moved. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from poolward.bill import Bill


@dataclass(frozen=True)
class Mover:
    """A service as far as its move changes the bill."""

    name: str
    connections: int
    """The most it opens."""
    pooler: str
    """The pooler it moves to; where an address stands in front of several, each of them counts."""
    entry: str


@dataclass(frozen=True)
class AfterMove:
    """The worst case once this service, and those before it, have moved."""

    name: str
    direct: int
    pools: int
    lookups: int
    """What the poolers in use may open to look up verifiers."""
    left: int
    """What the server has for applications and poolers together."""
    before: int
    """What the applications may have opened before this move, directly and pooled, without the lookups."""

    @property
    def worst_case(self) -> int:
        return self.direct + self.pools + self.lookups

    @property
    def allowed(self) -> bool:
        """Whether it fits; or, on a server that is over its limit today, gives the applications no more than they had.

        The first move through a pooler lowers nothing yet where its pool is as wide as the service; the next ones do.
        """
        return self.worst_case <= self.left or self.direct + self.pools <= self.before

    def __str__(self) -> str:
        spare = self.left - self.worst_case
        fits = f"fits, {spare} to spare" if spare >= 0 else f"{-spare} over"
        if spare < 0 and self.allowed:
            fewer = self.before - self.direct - self.pools
            fits += f", but the services may open {f'{fewer} fewer' if fewer else 'no more'} than before"
        parts = f"{self.direct} direct + {self.pools} pooled + {self.lookups} lookups"
        return f"after {self.name}: {parts} = {self.worst_case} of {self.left}, {fits}"


def after_each(bill: Bill, moved: Iterable[Mover], moving: Sequence[Mover]) -> list[AfterMove]:
    """The bill after each of these moves in turn, those in `moved` having moved already.

    A pool opens a server connection only for a client that waits for one, so an entry never needs more of them than
    the services on it open clients; its own bound caps it.
    """
    through = list(moved)
    steps: list[AfterMove] = []
    before = sum(mover.connections for mover in moving) + _pools(bill, through)
    for number, mover in enumerate(moving):
        through.append(mover)
        direct = sum(other.connections for other in moving[number + 1 :])
        pools = _pools(bill, through)
        steps.append(AfterMove(mover.name, direct, pools, _lookups(bill, through), bill.left, before))
        before = direct + pools
    return steps


def _pools(bill: Bill, moved: Iterable[Mover]) -> int:
    clients: dict[tuple[str, str], int] = {}
    for mover in moved:
        clients[mover.pooler, mover.entry] = clients.get((mover.pooler, mover.entry), 0) + mover.connections
    return sum(min(line.connections, clients.get((line.pooler, line.entry), 0)) for line in bill.takes if line.entry)


def _lookups(bill: Bill, moved: Iterable[Mover]) -> int:
    used = {mover.pooler for mover in moved}
    return sum(max(0, line.connections) for line in bill.takes if line.pooler in used and not line.entry)
