"""How a service says where its database is, and the rewrite of it: host, port and database, not a byte more. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from pydantic import SecretStr

from poolward.dsn_shapes import LOCATION, Reading, Shape, read, unencoded
from poolward.dsn_sockets import turned
from poolward.errors import PoolwardError

DEFAULT_PORT = 5432
# A name, an address, a directory of Unix sockets or an abstract one. A part of a password does not look like that.
_HOST = re.compile(r"[\w.-]+|[0-9A-Fa-f:.]+(%[\w.-]+)?|[/@][^\n\0]*")
# libpq goes to hostaddr, or to where a file we do not read says, whatever `host` is.
_DETOURS = ("hostaddr", "service")


@dataclass(frozen=True)
class Connection:
    """Where a client connects and as whom; what may be secret does not show.

    `host` is a name, an address, a directory of Unix sockets, or empty where none is named; `user` is empty where it is
    left to the client's operating system. `others` are what libpq tries after the first host, in its order.
    """

    shape: Shape
    host: str
    port: int
    database: str
    user: str
    password: SecretStr | None = None
    parameters: Mapping[str, str] = field(default_factory=dict, repr=False)
    others: tuple[tuple[str, int], ...] = ()
    inherited: frozenset[str] = frozenset()
    """The parameters that come from the environment (PGOPTIONS and its like), not from the setting itself."""

    @classmethod
    def of(cls, shape: Shape, values: Mapping[str, str]) -> Connection:
        """What these values mean, each under libpq's name; raises PoolwardError without repeating them."""
        if detour := next((name for name in _DETOURS if values.get(name)), None):
            raise PoolwardError(f"It is led elsewhere by {detour}.", "Say host, port and database themselves.")
        hosts = values.get("host", "").split(",")
        ports = [_port(port) for port in values.get("port", "").split(",")]
        if not all(host == "" or _HOST.fullmatch(host) for host in hosts):
            raise unencoded()
        if len(ports) not in (1, len(hosts)):
            raise PoolwardError(
                f"It names {len(hosts)} hosts and {len(ports)} ports.", "Name one port, or one for each."
            )
        endpoints = list(zip(hosts, ports * len(hosts) if len(ports) == 1 else ports, strict=True))
        user, password = values.get("user", ""), values.get("password")
        return cls(
            shape=shape,
            host=endpoints[0][0],
            port=endpoints[0][1],
            database=values.get("dbname") or user,
            user=user,
            password=SecretStr(password) if password else None,
            parameters={name: value for name, value in values.items() if name not in (*LOCATION, "user", "password")},
            others=tuple(endpoints[1:]),
        )


def parse(text: str, fallbacks: Mapping[str, str] | None = None) -> Connection:
    """Read a URL, keyword DSN or JDBC URL; raises PoolwardError, in which nothing of the text is repeated.

    `fallbacks`: what libpq takes from the environment where the text is silent, under libpq's names (PGHOST is host).
    """
    reading = read(text)
    missing = {} if reading.shape == "jdbc" else fallbacks or {}
    found = Connection.of(reading.shape, {**missing, **reading.values})
    return replace(found, inherited=frozenset(found.parameters) - reading.values.keys())


def rewritten(text: str, host: str, port: int, database: str | None = None) -> str:
    """The text with another host and port, and with another database where one is given; every other byte stays.

    What the text leaves to a default is written out. Raises PoolwardError where that is no rewrite of three values: a
    list of hosts says what to try next when a server is gone, and one address cannot say that.
    """
    reading = read(text)
    old = Connection.of(reading.shape, reading.values)
    if old.others:
        raise PoolwardError(
            f"It names {1 + len(old.others)} hosts, to be tried in turn; one address in their place would drop that.",
            "Decide which of them the service needs, name that one alone, and run again.",
        )
    text = turned(text, host, port)
    wanted = {"host": host, "port": str(port)} | ({"dbname": database} if database is not None else {})
    new = _replaced(text, read(text), wanted)
    expected = replace(old, host=host, port=port, database=old.database if database is None else database)
    if parse(new) != expected:
        raise PoolwardError(
            f"It cannot be rewritten to {host}:{port} with nothing else changed.", "Rewrite it by hand."
        )
    return new


def _replaced(text: str, reading: Reading, wanted: Mapping[str, str]) -> str:
    """Each wanted value at every place that names it."""
    changes = [(place, wanted[name]) for name in LOCATION if name in wanted for place in reading.places[name]]
    parts, at = [], 0
    for place, value in sorted(changes, key=lambda change: change[0].start):
        parts += [text[at : place.start], place.write(value)]
        at = place.end
    return "".join([*parts, text[at:]])


def _port(text: str) -> int:
    if text == "":
        return DEFAULT_PORT
    if not re.fullmatch("[0-9]{1,5}", text, re.ASCII) or not 0 < int(text) < 65536:
        raise unencoded()
    return int(text)
