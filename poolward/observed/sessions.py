"""Who is connected to what: the lists of a pooler, the backends of a server. The sockets of a host are in `sockets`."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from poolward.observed._answer import Unreadable, sections
from poolward.observed.sockets import Endpoint


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
