"""Pool sizes from what the server was seen to need: peaks of sessions that really were in a transaction. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

HEADROOM = 1.5
"""A sample misses what happens between two of them, and tomorrow's peak is not today's."""
_SMALLEST = 2


@dataclass(frozen=True)
class Need:
    """What one role needed in one database over the window; all numbers are sessions."""

    database: str
    role: str
    peak_in_use: int
    """The most at once that were active or idle in transaction: each needs a server connection for itself."""
    average_in_use: float
    peak_sessions: int
    """The most that were merely connected: what it holds today."""

    @property
    def pool_size(self) -> int:
        """The proposed pool_size of this role's pool."""
        return max(_SMALLEST, math.ceil(self.peak_in_use * HEADROOM))


def needs(samples: Sequence[Sequence[Mapping[str, object]]]) -> list[Need]:
    """The needs by database and role, the largest first; a sample is one list of rows of sample_activity.sql."""
    in_use: dict[tuple[str, str], list[int]] = {}
    sessions: dict[tuple[str, str], int] = {}
    for number, sample in enumerate(samples):
        for row in sample:
            key = (str(row["database"]), str(row["role"]))
            series = in_use.setdefault(key, [0] * len(samples))
            series[number] = int(str(row["active"])) + int(str(row["idle_in_transaction"]))
            sessions[key] = max(sessions.get(key, 0), int(str(row["sessions"])))
    found = [
        Need(database, role, max(series), sum(series) / len(series), sessions[database, role])
        for (database, role), series in in_use.items()
    ]
    return sorted(found, key=lambda need: (-need.peak_in_use, -need.peak_sessions, need.database, need.role))


def limits() -> str:
    """What the numbers do not know."""
    return (
        f"pool_size = the peak in use × {HEADROOM:g}, at least {_SMALLEST}. A peak shorter than the interval between "
        "two samples may be missed, and only what happened in the window counts: sample during a real peak. "
        "max_db_connections of an entry should be the sum over the roles that use it."
    )
