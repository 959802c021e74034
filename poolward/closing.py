"""The direct path of what has moved: whether it can be closed, and the lines of pg_hba.conf that close it. Pure.

PostgreSQL takes the first line that matches (PostgreSQL doc, 20.1), so these stand at the beginning of the file.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from poolward import hba
from poolward.evidence import Seen
from poolward.observed import HbaRule

BEGIN, END = "# BEGIN poolward: closed direct paths", "# END poolward: closed direct paths"
_NOTE = (
    "# What has moved behind its pooler connects here no more (deploy/close.py). deploy/open.py takes these lines out, "
    "and so does a rollback."
)
_LINE = re.compile(r'host all "(?P<role>(?:[^"]|"")*)" (?P<address>\S+)/\d+ reject  # (?P<services>.+)')
_BLOCK = re.compile(rf"^{BEGIN}$(?:(?!^{BEGIN}$).)*?^{END}$\n?", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, order=True)
class Path:
    """How services reach a server without a pooler: everything that logs in as this role from this address."""

    server: str
    role: str
    address: str
    services: tuple[str, ...]
    """Those that have moved, and had this path before."""

    @property
    def line(self) -> str:
        """The line that closes it."""
        width = ipaddress.ip_address(self.address).max_prefixlen
        quoted = self.role.replace('"', '""')
        return f'host all "{quoted}" {self.address}/{width} reject  # {", ".join(self.services)}'

    @property
    def way(self) -> tuple[str, str, str]:
        """The path itself, whoever used it."""
        return self.server, self.role, self.address

    def __str__(self) -> str:
        return f"{self.role} from {self.address} to {self.server} ({', '.join(self.services)})"


def closed_in(text: str, server: str) -> tuple[Path, ...]:
    """The paths that a pg_hba.conf closes by our lines."""
    found = _BLOCK.search(text)
    return closed(found[0].splitlines(), server) if found else ()


def closed(lines: Iterable[str], server: str) -> tuple[Path, ...]:
    """The paths that these lines close, which stand between our marks."""
    return tuple(
        Path(server, told["role"].replace('""', '"'), told["address"], tuple(told["services"].split(", ")))
        for told in filter(None, map(_LINE.fullmatch, lines))
    )


def others(rules: Iterable[HbaRule], lines: Iterable[str]) -> list[HbaRule]:
    """The rules without those that our lines make."""
    ours = {(path.role, path.address) for path in closed(lines, "")}
    return [
        rule
        for rule in rules
        if rule.method != "reject" or not any((role, rule.address) in ours for role in rule.users)
    ]


def with_closed(text: str, paths: Sequence[Path]) -> str:
    """The file with these paths closed and no other one by our lines."""
    rest = _BLOCK.sub("", text, count=1)
    if not paths:
        return rest
    return "\n".join((BEGIN, _NOTE, *(path.line for path in together(paths)), END, "")) + rest


def together(paths: Iterable[Path]) -> list[Path]:
    """Each path once, with all its services."""
    services: dict[tuple[str, str, str], set[str]] = {}
    for path in paths:
        services.setdefault(path.way, set()).update(path.services)
    return sorted(Path(*way, tuple(sorted(names))) for way, names in services.items())


def needed(path: Path, seen: Seen, direct: Mapping[tuple[str, str], str]) -> str:
    """Who needs this path, in words; empty where nobody does.

    `direct` are the services that are still direct, by server and role. Whoever is connected on it is told by the
    server's own view, and a pooler's sessions by the pooler's.
    """
    if path.role.startswith("/"):
        return "pg_hba.conf takes a name that begins with / for a pattern"
    if name := direct.get((path.server, path.role)):
        return f"{name} is direct, with the same role"
    servers = [server for traffic in seen.traffic.values() for server in traffic.servers]
    if path.address in {server.local.address for server in servers if server.local}:
        return "a pooler connects from this address"
    pooled = {server.pid for server in servers}
    using = [
        backend
        for backend in seen.sessions[path.server].backends
        if backend.role == path.role
        and backend.pid not in pooled
        and backend.peer is not None
        and backend.peer.address == path.address
    ]
    return f"backend {using[0].pid} ({using[0].application or 'no name'}) is connected on it" if using else ""


def needed_later(path: Path, staying: Mapping[str, Collection[str]]) -> str:
    """Which service needs this path that stays direct on the same host, connected now or not; empty where none does.

    `staying` are the roles that each such service logs in as; none where they are not known.
    """
    for name, roles in staying.items():
        if not roles:
            return f"{name} stays direct, and its role is not known: it has no session now, and no settings to read"
        if path.role in roles:
            return f"{name} stays direct, with the same role"
    return ""


def still_open(rules: Iterable[HbaRule], path: Path, database: str) -> bool:
    """Whether PostgreSQL's rules let somebody in on it."""
    found = tuple(rules)
    matching = [hba.first_match(found, database, path.role, path.address, tls=tls) for tls in (True, False)]
    return any(rule is not None and rule.method != "reject" for rule in matching)


def multiplexing(seen: Seen) -> dict[str, float]:
    """Clients per server connection, by pooler; a pooler without either is left out."""
    return {
        name: round(len(traffic.clients) / len(traffic.servers), 1)
        for name, traffic in seen.traffic.items()
        if traffic.clients and traffic.servers
    }
