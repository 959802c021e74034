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


def hang_ups(pooler_log: str) -> dict[Place, list[datetime]]:
    """When a PgBouncer closed which of its server connections, from its log."""
    found: dict[Place, list[datetime]] = {}
    places: dict[str, Place] = {}
    for told in filter(None, map(_POOLER.match, pooler_log.splitlines())):
        if not told["end"]:
            places[told["server"]] = (told["address"], int(told["port"]))
        elif place := places.pop(told["server"], None):
            found.setdefault(place, []).append(datetime.fromisoformat(told["at"]))
    return found


def held(of: Iterable[Backend], hang_ups: Mapping[Place, list[datetime]]) -> list[Backend]:
    """The same backends, each until its pooler hung up.

    PostgreSQL takes some milliseconds more to end it, and the pooler, who does not wait for that, opens the next one.
    """
    return [
        replace(backend, closed=min(filter(None, (_hung_up(backend, hang_ups), backend.closed)), default=None))
        for backend in of
    ]


def _hung_up(backend: Backend, hang_ups: Mapping[Place, list[datetime]]) -> datetime | None:
    return next((at for at in hang_ups.get((backend.address, backend.port), ()) if at >= backend.opened), None)


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
