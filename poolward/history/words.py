"""Moments, durations and lists as a person says them. All times are UTC. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from psycopg import errors


def clock(at: float) -> str:
    """`14:00:02`."""
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S")


def day(at: float) -> str:
    """`2026-03-02`."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d")


def moment(at: float) -> str:
    """`2026-03-02 14:00:02 UTC`."""
    return f"{day(at)} {clock(at)} UTC"


def span(first: float, last: float) -> str:
    """`2026-03-02, 14:00:02 to 14:12:31 UTC`."""
    until = clock(last) if day(first) == day(last) else f"{day(last)}, {clock(last)}"
    return f"{day(first)}, {clock(first)} to {until} UTC"


def lasted(seconds: float) -> str:
    """`0.9 s`, `41 s`, `12 min 31 s`, `2 h 05 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


def several(count: int, thing: str) -> str:
    """`1 service`, `2 services`."""
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


def listed(names: Iterable[str]) -> str:
    """`a, b and c`."""
    found: Sequence[str] = list(names)
    return " and ".join([", ".join(found[:-1]), found[-1]]) if len(found) > 1 else "".join(found)


def sqlstate(code: str) -> str:
    """`53300 too many connections`; a code PostgreSQL does not know stands for itself."""
    try:
        name = errors.lookup(code).__name__
    except KeyError:
        return code
    return f"{code} {re.sub(r'(?<!^)(?=[A-Z])', ' ', name).lower()}"
