"""How many backends there were at once, from PostgreSQL's own log (log_connections, log_disconnections)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

_SERVER = re.compile(
    r"(?P<at>\S+ \S+) UTC \[(?P<pid>\d+)\] (?P<address>[^(]+)\((?P<port>\d+)\) LOG:  "
    r"(?:connection authorized: user=(?P<user>\S+) database=(?P<database>\S+)|(?P<end>disconnection): )"
)
_POOLER = re.compile(
    r"(?P<at>\S+ \S+) UTC \[\d+\] LOG (?P<server>S-\w+): \S+ "
    r"(?:new connection to server \(from (?P<address>\S+):(?P<port>\d+)\)|(?P<end>closing because): )"
)
Place = tuple[str, int]
"""Address and port of a pooler's end of a connection."""
Span = tuple[datetime, datetime | None]
"""From when to when a connection was held; None: it still is."""


@dataclass(frozen=True)
class Backend:
    """A connection over TCP that PostgreSQL admitted."""

    address: str
    port: int
    user: str
    database: str
    opened: datetime
    closed: datetime | None = None
    """None: it is still there."""


def backends(log: str) -> list[Backend]:
    """Every connection that PostgreSQL's log tells of."""
    ended: list[Backend] = []
    there: dict[str, Backend] = {}
    for told in filter(None, map(_SERVER.match, log.splitlines())):
        at = datetime.fromisoformat(told["at"])
        if told["end"]:
            # a cancel request or a failed login ends, too, and was never admitted
            if backend := there.pop(told["pid"], None):
                ended.append(replace(backend, closed=at))
        else:
            there[told["pid"]] = Backend(told["address"], int(told["port"]), told["user"], told["database"], at)
    return [*ended, *there.values()]


def spans(pooler_log: str) -> dict[Place, list[Span]]:
    """From when to when a PgBouncer held which of its server connections, from its log, oldest first of each place."""
    found: dict[Place, list[Span]] = {}
    begun: dict[str, tuple[Place, datetime]] = {}
    for told in filter(None, map(_POOLER.match, pooler_log.splitlines())):
        at = datetime.fromisoformat(told["at"])
        if not told["end"]:
            begun[told["server"]] = ((told["address"], int(told["port"])), at)
        elif told["server"] in begun:
            place, since = begun.pop(told["server"])
            found.setdefault(place, []).append((since, at))
    for place, since in begun.values():
        found.setdefault(place, []).append((since, None))
    return found


def held(of: Iterable[Backend], spans: Mapping[Place, list[Span]]) -> list[Backend]:
    """The same backends, each until its pooler hung up; without those it hung up on before they were admitted.

    PostgreSQL takes some milliseconds more to end it, and the pooler, who does not wait for that, opens the next one.
    RECONNECT hangs up on logins, too, and PostgreSQL admits one whose last message it has already.
    """
    found = []
    for backend in of:
        hung_up = _hung_up(backend, spans)
        if hung_up is None or (backend.closed and backend.closed < hung_up):
            found.append(backend)
        elif hung_up > backend.opened:
            found.append(replace(backend, closed=hung_up))
    return found


def _hung_up(backend: Backend, spans: Mapping[Place, list[Span]]) -> datetime | None:
    """When its pooler did; None: it did not, or its log does not tell."""
    begun = [
        (since, until) for since, until in spans.get((backend.address, backend.port), ()) if since <= backend.opened
    ]
    return begun[-1][1] if begun else None


def peak(of: Iterable[Backend]) -> int:
    """The most of them that were there at once."""
    events: list[tuple[datetime, int]] = []
    for backend in of:
        events += [(backend.opened, 1), (backend.closed or datetime.max, -1)]
    now = most = 0
    for _, change in sorted(events):
        now += change
        most = max(most, now)
    return most
