"""The three pool modes as a client meets them, on every version: what it may rely on, and what it may not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest

from lab.topology import Lab
from lab.wait import until
from tests.lab.support import client, console, deployed

pytestmark = [pytest.mark.pool3, pytest.mark.usefixtures("three_modes")]

# One database three times; two server connections per role, so that a client can meet the other one.
SMALL = {"host": "db1", "dbname": "tracksolid_db", "pool_size": 2, "reserve_pool_size": 0, "max_db_connections": 5}
ENTRIES = {mode: {**SMALL, "pool_mode": mode} for mode in ("session", "transaction", "statement")}
POOLERS = ("pool1", "pool2", "pool3")

Connection = psycopg.Connection[tuple[Any, ...]]
Connect = Callable[..., Connection]


@pytest.fixture(scope="module")
def three_modes(pool3: str) -> Iterator[None]:  # noqa: ARG001 - a fixture asks for another by a parameter alone
    deployed({"pgbouncer_databases": ENTRIES})
    yield
    deployed()


@pytest.fixture(params=POOLERS)
def connect(lab: Lab, request: pytest.FixtureRequest) -> Iterator[Connect]:
    """Clients of one pooler; when they are gone, so are their server connections with whatever was set on them."""
    with ExitStack() as clients:

        def connect(mode: str, *, autocommit: bool = False) -> Connection:
            connection = client(lab, request.param, "worker", mode)
            clients.callback(connection.close)
            connection.autocommit = autocommit
            return connection

        yield connect
    console(lab, request.param, "RECONNECT")


def one(connection: Connection, sql: str) -> Any:
    found = connection.execute(sql.encode()).fetchone()
    assert found is not None
    return found[0]


def backend(connection: Connection) -> int:
    return int(one(connection, "SELECT pg_backend_pid()"))


def test_transaction_mode_lends_a_server_connection_for_one_transaction(connect: Connect) -> None:
    first, second = connect("transaction"), connect("transaction")
    lent = backend(first)
    assert backend(first) == lent  # within a transaction it stays
    first.commit()
    assert backend(second) == lent  # then it is anybody's
    other = backend(first)
    assert other != lent  # and the next transaction gets what is free
    second.rollback()
    first.rollback()


def test_transaction_mode_loses_a_set_and_leaks_it_to_another_client(connect: Connect) -> None:
    first, second = connect("transaction"), connect("transaction")
    default = one(first, "SHOW lock_timeout")
    first.execute("SET lock_timeout = '7s'")
    first.commit()
    assert one(second, "SHOW lock_timeout") == "7s"
    assert one(first, "SHOW lock_timeout") == default
    first.execute("SET LOCAL lock_timeout = '8s'")
    assert one(first, "SHOW lock_timeout") == "8s"  # this is the way to set something there
    first.commit()
    assert one(first, "SHOW lock_timeout") == default


def test_session_mode_keeps_a_server_connection_for_the_client_alone(connect: Connect) -> None:
    first, second = connect("session", autocommit=True), connect("session", autocommit=True)
    own = backend(first)
    assert backend(second) != own
    first.execute("SET lock_timeout = '7s'")
    first.execute("CREATE TEMPORARY TABLE kept (id integer)")
    first.execute("SELECT pg_advisory_lock(42)")
    assert one(second, "SHOW lock_timeout") != "7s"
    assert one(second, "SELECT pg_try_advisory_lock(42)") is False
    assert [backend(first) for _ in range(3)] == [own] * 3
    assert one(first, "SHOW lock_timeout") == "7s"
    assert one(first, "SELECT count(*) FROM kept") == 0


def test_session_mode_hands_a_clean_server_connection_to_the_next_client(connect: Connect) -> None:
    first = connect("session", autocommit=True)
    own, default = backend(first), one(first, "SHOW lock_timeout")
    first.execute("SET lock_timeout = '7s'")
    first.execute("CREATE TEMPORARY TABLE gone (id integer)")
    first.close()

    def after() -> Connection | None:
        """A client that got the same one; until PgBouncer has cleaned it, it hands out another."""
        following = connect("session", autocommit=True)
        if backend(following) == own:
            return following
        following.close()
        return None

    following = until("the server connection is lent again", after, timeout=10)
    assert following is not None
    assert one(following, "SHOW lock_timeout") == default
    assert one(following, "SELECT to_regclass('gone') IS NULL") is True


def test_statement_mode_refuses_a_transaction_and_runs_single_statements(connect: Connect) -> None:
    single = connect("statement", autocommit=True)
    assert one(single, "SELECT sum(balance) FROM accounts") == 100_000
    assert one(single, "UPDATE accounts SET balance = balance WHERE id = 1 RETURNING id") == 1
    with pytest.raises(psycopg.OperationalError, match="transaction blocks not allowed in statement pooling mode"):
        single.execute("BEGIN")
    with pytest.raises(psycopg.OperationalError, match="transaction blocks not allowed in statement pooling mode"):
        connect("statement").execute("SELECT 1")  # psycopg begins a transaction by itself


def test_a_session_alias_stands_beside_the_transaction_pool_of_the_same_database(lab: Lab, connect: Connect) -> None:
    session, transaction = connect("session", autocommit=True), connect("transaction", autocommit=True)
    assert one(session, "SELECT current_database()") == one(transaction, "SELECT current_database()") == "tracksolid_db"
    session.execute("SELECT pg_advisory_lock(43)")
    assert one(transaction, "SELECT pg_try_advisory_lock(43)") is False  # one database behind both
    assert backend(session) != backend(transaction)
    session.execute("SET lock_timeout = '7s'")
    # A session's settings never reach the pool beside it: that has server connections of its own.
    held = [connect("transaction") for _ in range(2)]
    assert [one(connection, "SHOW lock_timeout") for connection in held] == ["0", "0"]
    for pooler in POOLERS:
        rows = (row.split("|") for row in console(lab, pooler, "SHOW DATABASES").splitlines())
        modes = {row[0]: ENTRIES[row[0]]["pool_mode"] in row for row in rows if row[0] in ENTRIES}
        assert modes == dict.fromkeys(ENTRIES, True)
