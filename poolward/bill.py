"""A server's bill as it is read: what there is, what may be taken of it at worst, and whether that fits. Pure."""

from __future__ import annotations

from dataclasses import dataclass

MAY_LEAVE = "because sessions that nobody declared, seen now, may still leave"


@dataclass(frozen=True)
class Line:
    """One line of the bill: what, how many connections, and where the number comes from."""

    what: str
    connections: int
    source: str = ""
    pooler: str = ""
    entry: str = ""
    sure: bool = True
    """Whether it refuses a deploy: sessions that may be a declared service's all the same do not."""


@dataclass(frozen=True)
class Bill:
    """What a server has, and what each pooler may take of it."""

    server: str
    version: str
    has: tuple[Line, ...]
    takes: tuple[Line, ...]
    notes: tuple[str, ...] = ()
    staying: tuple[str, ...] = ()
    """What is to be known of those who stay direct: a deploy says it, too."""

    @property
    def left(self) -> int:
        """Connections left for the poolers."""
        return sum(line.connections for line in self.has)

    @property
    def worst_case(self) -> int:
        """Connections the poolers may open together."""
        return sum(line.connections for line in self.takes)

    def worst_case_while_rolling(self, hosts: int = 1) -> int:
        """The same while `hosts` pooler hosts run an old and a new process side by side; the largest ones count."""
        per_host: dict[str, int] = {}
        for line in self.takes:
            per_host[line.pooler] = per_host.get(line.pooler, 0) + line.connections
        return self.worst_case + sum(sorted(per_host.values(), reverse=True)[:hosts])

    def document(self) -> dict[str, object]:
        """The bill for a machine."""
        return {
            "lines": [*self.has, *self.takes],
            "left": self.left,
            "worst_case": self.worst_case,
            "fits": self.fits,
            "refused": self.refused,
            "worst_case_while_rolling": self.worst_case_while_rolling(),
            "fits_while_rolling": self.fits_while_rolling,
            "smallest_change": self.smallest_change,
            "notes": [*self.staying, *self.notes],
        }

    @property
    def fits(self) -> bool:
        return self.worst_case <= self.left

    @property
    def refused(self) -> bool:
        """Whether a deploy is refused: it does not fit even without those who may leave all the same."""
        return self.worst_case > sum(line.connections for line in self.has if line.sure)

    @property
    def fits_while_rolling(self) -> bool:
        """Whether it fits even while one host runs an old and a new process side by side."""
        return self.worst_case_while_rolling() <= self.left

    @property
    def verdict(self) -> str:
        """The sentence beside the worst case."""
        return self.verdict_of(self.worst_case)

    def verdict_of(self, connections: int) -> str:
        """Whether so many connections fit, as a sentence."""
        spare = self.left - connections
        return f"fits, {spare} to spare" if spare >= 0 else f"does NOT fit: {-spare} too many"

    @property
    def smallest_change(self) -> str:
        """The one max_db_connections that has to come down least to make it fit, or what else to do."""
        over = self.worst_case - self.left
        if over <= 0:
            return ""
        best: tuple[int, str, int, int] | None = None
        for entry in {line.entry for line in self.takes if line.entry}:
            lines = [line.connections for line in self.takes if line.entry == entry]
            fits = (new for new in range(max(lines), 0, -1) if sum(max(0, line - new) for line in lines) >= over)
            if (new := next(fits, 0)) and (best is None or (max(lines) - new, entry) < best[:2]):
                best = (max(lines) - new, entry, new, len(lines))
        if best is None:
            return "No single entry can make up for it: lower max_db_connections of several, or raise max_connections."
        _, entry, new, poolers = best
        counted = f" (it counts once on each of {poolers} poolers)" if poolers > 1 else ""
        return f"Smallest change that fits: max_db_connections = {new} on {entry}{counted}."
