"""A login as a service will log in once it has moved: its own credentials, from its own host, through its pooler."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from pyinfra.api import Host

from poolward import tunnel
from poolward.dsn import Connection
from poolward.dsn_sockets import is_socket
from poolward.errors import PoolwardError
from poolward.observed import Sessions
from poolward.service import Address
from poolward.target import Target

_SECONDS = 40
# How libpq calls what a JDBC URL says; what only a driver knows is left out.
_LIBPQ_NAMES = {"ApplicationName": "application_name", "sslmode": "sslmode", "options": "options"}
_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
# What would lead the login elsewhere than through the tunnel, or is the tunnel's own.
_NOT_TAKEN_OVER = frozenset(
    {"host", "hostaddr", "port", "dbname", "user", "password", "connect_timeout", "passfile", "requirepeer"}
)


@dataclass(frozen=True)
class Login:
    """A login that succeeded."""

    role: str
    database: str
    milliseconds: int
    server_started: float
    """When the server behind it was started, in seconds of the epoch: one server from another."""
    seen_from: str
    """The address the server sees it come from: the pooler's, or behind none the client's. Empty on a Unix socket."""

    def check(self, target: Target, database: str, sessions: Sessions) -> None:
        """Raises PoolwardError where it did not end at this database of the server that was looked at."""
        if abs(self.server_started - sessions.started) > 1 or self.database != database:
            raise PoolwardError(
                f"{target.address.host}:{target.address.port}/{target.entry} leads to the database {self.database} of "
                f"another server than {target.server}.",
                "Correct the entry in pgbouncer_databases, or its service. Nothing was changed.",
            )


def log_in(
    host: Host, connection: Connection, address: Address, *, prepare: bool, unit: str = "", container: str = ""
) -> Login:
    """Log in at this address from the service's host, or from within its container there (an id).

    Raises PoolwardError with the reason it was refused.

    `unit` is the service's, as whose user a Unix socket is opened; `prepare` as a driver that prepares its statements.
    """
    keywords: dict[str, object] = {**_parameters(connection), "host": address.host, "dbname": address.database}
    keywords["user"] = connection.user
    if connection.password is not None:
        keywords["password"] = connection.password.get_secret_value()
    if is_socket(address.host):
        with tunnel.through_socket(host, address.host, address.port, unit) as directory:
            answer = _answer({"keywords": {**keywords, "host": directory, "port": address.port}, "prepare": prepare})
    else:
        path = tunnel.out_of(host, container, *address[:2]) if container else tunnel.through(host, *address[:2])
        with path as port:
            answer = _answer({"keywords": {**keywords, "hostaddr": "127.0.0.1", "port": port}, "prepare": prepare})
    if not answer["ok"]:
        raise PoolwardError(
            f"It cannot log in at {address.host}:{address.port}/{address.database} as {connection.user}: "
            f"{answer['error']}",
            _hint(str(answer["error"])),
        )
    return Login(
        str(answer["role"]),
        str(answer["database"]),
        int(str(answer["milliseconds"])),
        float(str(answer["started"])),
        str(answer["seen_from"] or ""),
    )


def _parameters(connection: Connection) -> dict[str, str]:
    if connection.shape == "jdbc":
        return {_LIBPQ_NAMES[name]: value for name, value in connection.parameters.items() if name in _LIBPQ_NAMES}
    found = {name: value for name, value in connection.parameters.items() if name not in _NOT_TAKEN_OVER}
    if found.get("ssl") in _SSL_MODES:  # asyncpg's name for it
        found.setdefault("sslmode", found["ssl"])
    return found


def _answer(request: Mapping[str, object]) -> dict[str, object]:
    try:
        done = subprocess.run(
            [sys.executable, "-m", "poolward.login_check"],
            input=json.dumps(request),
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
            # The service's settings count, and not what this person's own environment adds to a connection.
            env={name: value for name, value in os.environ.items() if not name.startswith("PG")},
        )
        answer: dict[str, object] = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        return {"ok": False, "error": f"no answer within {_SECONDS} s"}
    except ValueError:
        # Not what it printed: a traceback may quote the password.
        return {"ok": False, "error": "the trial itself failed, which is a fault of Poolward's"}
    return answer


def _hint(error: str) -> str:
    if "certificate" in error or "private key" in error:
        return (
            "The login is made on this machine: a certificate that the service's settings name has to be here under "
            "the same path. Nothing was changed."
        )
    if "prepared statement" in error:
        return (
            "PgBouncer carries prepared statements over transactions from 1.21 on, with max_prepared_statements. Say "
            '"prepared_statements": "off" if the driver prepares none, or "pool": "session". Nothing was changed.'
        )
    return "Nothing was changed. poolward verify shows what the pooler itself thinks."
