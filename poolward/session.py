"""`python -m poolward.session`: asks a PostgreSQL server by libpq's connection string, in sessions that cannot write.

A process of its own, because pyinfra's is patched for gevent, and psycopg does not wait by gevent. The question comes
as JSON on standard input; the answer is what `observe_server.sh` and `sample_activity.sh` print on a database host, so
that the same code reads both. A part that the role may not see is `null`.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from poolward import shell
from poolward.errors import PoolwardError
from poolward.shell.psql import as_parameters

_WRONG = "password authentication failed"
# What PostgreSQL says to a role whose password was right.
_LET_IN_BEFORE = ("permission denied for database", "too many connections for role")


def observe(dsn: str, databases: list[str], auth_role: str) -> None:
    """Print what is true of the server, and of these databases in it."""
    roles = {"auth_role": auth_role, "own_roles": shell.own_roles(auth_role)}
    with _session(dsn) as (server, rights):
        state = _ask(server, "observe_server", roles)
        _print("server", state)
        _print("passwords", _ask(server, "observe_passwords", roles) if rights["passwords"] else None)
        _print("hba", _ask(server, "observe_hba", {}) if rights["hba"] else None)
        _print("hba_loaded", None)  # the file itself is the host's
        _print("hba_block", None)
        _print("hba_closed", None)
    for database in databases:
        if database in state["databases"]:
            _print(f"database {database}", _inside(dsn, database, roles))
    print("@end")


def _inside(dsn: str, database: str, roles: Mapping[str, str]) -> Any:
    try:
        with _session(dsn, database) as (server, _):
            return _ask(server, "observe_database", roles)
    except psycopg.OperationalError as error:
        _, fatal, why = str(error).rpartition("FATAL:")  # of the last attempt: libpq tries with TLS and without
        return {"unread": " ".join(f"{fatal}{why}".split())}


def sample(dsn: str, count: int, interval: float) -> None:
    """Print `count` samples of pg_stat_activity, one line each, `interval` seconds apart."""
    with _session(dsn) as (server, _):
        for _ in range(count):
            print(json.dumps(_ask(server, "sample_activity", {})), flush=True)
            time.sleep(interval)  # the distance between samples is what was asked for; nothing is waited for


def sessions(dsn: str) -> None:
    """Print every client session of the server but this one."""
    with _session(dsn) as (server, _):
        print(json.dumps(_ask(server, "observe_sessions", {})))


def log_in(dsn: str, role: str, password: str) -> None:
    """Print whether a role may log in with this password, in the database of the connection string.

    `ok` and `wrong` are PostgreSQL's own word; anything else, like a pg_hba.conf that does not let it in from here, is
    the reason why it cannot be told.
    """
    ours: dict[str, str | int | None] = {"user": role, "password": password, "connect_timeout": 5}
    try:
        psycopg.connect(make_conninfo(dsn, **ours)).close()
    except psycopg.OperationalError as error:
        why = " ".join(str(error).split())
        if any(reason in why for reason in _LET_IN_BEFORE):
            print("ok")
        else:
            print("wrong" if _WRONG in why else why)
    else:
        print("ok")


@contextmanager
def _session(dsn: str, database: str | None = None) -> Iterator[tuple[psycopg.Connection[Any], Mapping[str, Any]]]:
    """A session and its rights; raises PoolwardError unless it cannot write and sees the sessions of others."""
    keys = conninfo_to_dict(dsn)
    ours: dict[str, str | int | None] = {
        "connect_timeout": 5,
        "client_encoding": "utf8",
        "application_name": "poolward",
        "options": f"{keys.get('options') or ''} {shell.READ_ONLY}",
        "dbname": database or keys.get("dbname"),
    }
    with psycopg.connect(
        make_conninfo(dsn, **ours), autocommit=True, cursor_factory=psycopg.ClientCursor
    ) as connection:
        rights = _ask(connection, "observe_rights", {})
        if not rights["read_only"]:
            raise PoolwardError(
                "The session could write: what was asked of it on the way in (`options`) did not reach PostgreSQL.",
                "Name PostgreSQL's own host and port, not a pooler's.",
            )
        if not rights["sessions"]:
            role = rights["role"]
            raise PoolwardError(f"{role} does not see the sessions of others.", f"GRANT pg_monitor TO {role};")
        yield connection, rights


def _ask(connection: psycopg.Connection[Any], name: str, parameters: Mapping[str, str]) -> Any:
    row = connection.execute(as_parameters(shell.sql(name)).encode(), parameters).fetchone()
    return row[0] if row else None


def _print(section: str, value: Any) -> None:
    print(f"@{section}\n{json.dumps(value)}")


_ANSWERS: dict[str, Callable[..., None]] = {
    "observe": observe,
    "sample": sample,
    "sessions": sessions,
    "log_in": log_in,
}


def main() -> None:
    """Answer the one question; an error is a sentence on standard error."""
    question = json.load(sys.stdin)
    try:
        _ANSWERS[question.pop("ask")](**question)
    except (PoolwardError, psycopg.Error) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(1)


if __name__ == "__main__":
    main()
