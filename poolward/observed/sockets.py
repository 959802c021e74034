"""Sockets of application hosts, as their kernels show them, and whose processes hold them."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from poolward.observed._answer import Unreadable


class Endpoint(NamedTuple):
    """One end of a TCP connection, written the same whoever names it: `::ffff:10.0.0.1` is `10.0.0.1`."""

    address: str
    port: int
    host: str = ""
    """The host it is on, for a loopback address, which every host has; else empty, so that all sides name it alike."""

    @classmethod
    def of(cls, address: str, port: int | str) -> Endpoint:
        """Raises ValueError where `address` is none."""
        found = ipaddress.ip_address(address.strip("[]").partition("%")[0])
        mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
        return cls(str(mapped or found), int(port))

    @classmethod
    def parse(cls, text: str) -> Endpoint:
        """Read `10.0.0.1:5432` or `[::1]:5432`; raises ValueError."""
        address, _, port = text.rpartition(":")
        return cls.of(address, port)

    def seen_on(self, host: str) -> Endpoint:
        """The same end, as somebody on this host names it."""
        return self._replace(host=host) if ipaddress.ip_address(self.address).is_loopback else self

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


@dataclass(frozen=True)
class Socket:
    """An established connection of a process on an application host."""

    pid: int
    unit: str
    """The systemd unit the process belongs to, or `run_by_commands` of its service; empty where it belongs to none."""
    program: str
    local: Endpoint
    """As the other side sees it: the address of a container may be translated on its way out of the host."""
    peer: Endpoint
    container: str = ""
    """The container whose network it is in; empty for the host's own."""


@dataclass(frozen=True)
class LocalSocket:
    """A connection over a Unix socket between two processes of one host, the server's end of which a backend holds."""

    pid: int
    unit: str
    program: str
    backend: int
    """The process at the other end: what pg_stat_activity calls its pid."""
    local: str
    """The socket's path."""
    container: str = ""


def run_by_commands(service: str) -> str:
    """What stands for the unit of a service whose processes are found by a command of the operator's."""
    return f"processes of {service}"


def read_sockets(
    sockets: Iterable[str],
    processes: Iterable[str],
    claimed: Mapping[int, str] | None = None,
    host: str = "",
    in_containers: Iterable[str] = (),
    translated: Iterable[str] = (),
) -> tuple[Socket, ...]:
    """The sockets `ss` printed on a host, one per process that holds them; raises Unreadable for an unclear line.

    A socket whose process ended between the two looks keeps an empty unit and program. `claimed` says of processes
    whose they are, over their unit. Those `in_containers` have the container's name and a tab in front; `translated`
    says of their addresses what conntrack makes of them.
    """
    seen_as = dict(map(_translation, filter(None, translated)))
    printed = [("", line) for line in filter(None, sockets)]
    printed += [(name, line) for name, _, line in (line.partition("\t") for line in filter(None, in_containers))]
    known = _known(processes, claimed or {})
    found: list[Socket] = []
    for container, line in printed:
        words = line.split(None, 4)
        try:
            local, peer = (Endpoint.parse(word).seen_on(host) for word in words[2:4])
        except (IndexError, ValueError) as error:
            raise Unreadable(f"A socket could not be read: {line[:80]!r}.") from error
        pids = sorted({int(pid) for pid in re.findall(r"pid=(\d+)", words[4] if len(words) > 4 else "")})
        local = seen_as.get((local, peer), local) if container else local
        found += [Socket(pid, *known.get(pid, ("", "")), local, peer, container) for pid in pids or [0]]
    return tuple(found)


def read_local_sockets(
    sockets: Iterable[str], processes: Iterable[str], claimed: Mapping[int, str] | None = None
) -> tuple[LocalSocket, ...]:
    """Read `/run/postgresql/.s.PGSQL.5432 3222: pid=3216`: the backend before, who is connected to it behind the colon.

    Raises ValueError.
    """
    known = _known(processes, claimed or {})
    found: list[LocalSocket] = []
    for line in filter(None, sockets):
        server, _, clients = line.rpartition(":")
        path, *backends = server.split()
        pids = [int(word.removeprefix("pid=")) for word in clients.split()]
        found += [LocalSocket(pid, *known.get(pid, ("", "")), int(one), path) for one in backends for pid in pids]
    return tuple(found)


def _known(processes: Iterable[str], claimed: Mapping[int, str]) -> dict[int, tuple[str, str]]:
    """By pid: whose a process is, and what it can be called."""
    known: dict[int, tuple[str, str]] = {}
    for line in processes:
        pid, unit, program = line.split("\t", 2)
        known[int(pid)] = (claimed.get(int(pid), "" if unit == "-" else unit), told(program))
    return known


def _translation(line: str) -> tuple[tuple[Endpoint, Endpoint], Endpoint]:
    words = line.split()
    local, peer, outside = (Endpoint.of(words[at], words[at + 1]) for at in (0, 2, 4))
    return (local, peer), outside


_INTERPRETERS_OWN = ("-m", "-u", "-B", "-I", "-jar")
_INTERPRETER = re.compile(r"(\S*/)?(python|pypy|java)[\d.]*$")
_PATH_OR_MODULE = re.compile(r"[\w./-]*/[\w./-]*|[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
_TELLING = re.compile(r"://|@|=|passw|secret|token|^-", re.IGNORECASE)


def told(command_line: str) -> str:
    """A command line as far as it can be shown: the program and its script, nothing that may hold a secret.

    What follows an option may be its value, so that nothing behind the first one is shown; an interpreter's own are
    passed over, and what it runs is a path or a module.
    """
    program, *words = command_line.split() or [""]
    shown = [program] if not _TELLING.search(program) else []
    for word in words[:3]:
        if word in _INTERPRETERS_OWN and _INTERPRETER.match(program):
            continue
        if not _PATH_OR_MODULE.fullmatch(word) or _TELLING.search(word):
            break
        shown.append(word)
    return " ".join(shown)
