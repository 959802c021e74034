"""Who is connected to what, from three sides: an application host's sockets, a pooler's lists, a server's backends."""

from __future__ import annotations

import csv
import ipaddress
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from poolward.observed._answer import Unreadable, sections


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


@dataclass(frozen=True)
class Backend:
    """A client session on a PostgreSQL server (pg_stat_activity)."""

    pid: int
    database: str
    role: str
    application: str
    peer: Endpoint | None
    """Where its client is; None for a Unix socket."""
    state: str
    superuser: bool
    idle: float
    """Seconds since its state changed last."""
    age: float


@dataclass(frozen=True)
class Sessions:
    """The sessions of one server, and how many it may have."""

    started: float
    """When the server started, in seconds of the epoch."""
    limit: int
    """`max_connections` less what is reserved."""
    backends: tuple[Backend, ...]

    @classmethod
    def parse(cls, text: str, host: str = "") -> Sessions:
        """Read what `observe_sessions.sql` prints on this host; raises Unreadable."""
        try:
            read = json.loads(text)
            return cls(
                float(read["started"]),
                read["max_connections"] - read["superuser_reserved_connections"] - read["reserved_connections"],
                tuple(_backend(row, host) for row in read["backends"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise Unreadable(f"The server's sessions could not be read ({type(error).__name__}: {error}).") from error


@dataclass(frozen=True)
class PooledClient:
    """One row of SHOW CLIENTS."""

    database: str
    role: str
    peer: Endpoint | None
    pid: int
    """The client's process, known only for a Unix socket; else 0."""
    application: str
    waiting: bool
    wait: float
    """Seconds it has been waiting for a server connection."""
    through: int = 0
    """The port of the pooler it came in by."""
    host: str = ""
    """The pooler's host; with a pid, the client's, too."""


@dataclass(frozen=True)
class PooledServer:
    """One row of SHOW SERVERS: the backend's pid, and this end of the connection where it is TCP."""

    database: str
    role: str
    pid: int
    local: Endpoint | None


@dataclass(frozen=True)
class Traffic:
    """What goes through one pooler."""

    clock: float
    clients: tuple[PooledClient, ...]
    servers: tuple[PooledServer, ...]
    max_wait: float
    """Seconds the client that waits longest has waited."""
    log: tuple[str, ...]
    """What it said of failing clients and servers since it was asked last."""
    running: bool = True

    @classmethod
    def parse(cls, lines: Iterable[str], host: str = "") -> Traffic:
        """Read the output of `observe_traffic.sh` on this host; raises Unreadable when any part of it is missing."""
        found = sections(lines)
        try:
            if "stopped" in found:
                return cls(float(found["clock"][0]), (), (), 0.0, (), running=False)
            pools = list(csv.DictReader(found["pools"]))
            return cls(
                float(found["clock"][0]),
                tuple(_client(row, host) for row in csv.DictReader(found["clients"]) if row["database"] != "pgbouncer"),
                tuple(_server(row, host) for row in csv.DictReader(found["servers"])),
                max((int(row["maxwait"]) + int(row["maxwait_us"]) / 1e6 for row in pools), default=0.0),
                tuple(found["log"]),
            )
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise Unreadable(f"The pooler's sessions could not be read ({type(error).__name__}: {error}).") from error


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


def _backend(row: Mapping[str, object], host: str) -> Backend:
    address, port = row["address"], row["port"]
    return Backend(
        pid=int(str(row["pid"])),
        database=str(row["database"]),
        role=str(row["role"]),
        application=str(row["application"]),
        peer=Endpoint.of(str(address), str(port)).seen_on(host) if address is not None else None,
        state=str(row["state"]),
        superuser=bool(row["superuser"]),
        idle=float(str(row["idle"] or 0)),
        age=float(str(row["age"] or 0)),
    )


def _client(row: Mapping[str, str], host: str) -> PooledClient:
    local = row["addr"] == "unix"
    return PooledClient(
        database=row["database"],
        role=row["user"],
        peer=None if local else Endpoint.of(row["addr"], row["port"]).seen_on(host),
        pid=int(row["remote_pid"] or 0) if local else 0,
        application=row["application_name"] or "",
        waiting=row["state"].startswith("waiting"),
        wait=int(row["wait"]) + int(row["wait_us"]) / 1e6,
        through=int(row["local_port"] or 0),
        host=host,
    )


def _server(row: Mapping[str, str], host: str) -> PooledServer:
    local = row["addr"] == "unix" or row["local_addr"] in ("", "unix")
    return PooledServer(
        row["database"],
        row["user"],
        int(row["remote_pid"] or 0),
        None if local else Endpoint.of(row["local_addr"], row["local_port"]).seen_on(host),
    )
