"""The bill against real PgBouncers under load, by PostgreSQL's own log: it is not exceeded, and it is reached.

Twenty fleets by chance; FLEETS_SEED=… gives twenty others. Then fleets made to reach what they may.
"""

from __future__ import annotations

import itertools
import os
import random
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import Any

import psycopg
import pytest

from lab.topology import Lab
from lab.wait import until
from poolward import declaration
from poolward.budget import RELOAD_IS_NO_RECONNECT_SINCE
from poolward.errors import PoolwardError
from poolward.fleet import USER_LINES_SINCE
from poolward.pools import EntryPools
from poolward.settings import Version
from tests.lab import fleet_load
from tests.lab.connection_log import peak
from tests.lab.random_fleets import FORCED_USERS_SINCE, ROLES, auth_database, databases, host, random_fleet
from tests.lab.scratch import ScratchServer, folder
from tests.lab.staged_fleets import Outcome, Staged, staged
from tests.lab.support import client, on

SEED = os.environ.get("FLEETS_SEED", "20")
OF_TWO, OF_THREE = range(14), range(14, 20)
"""The fleets of the first two poolers, and those of all three."""
SERVER_PORT, FIRST_PORT, AT_ONCE = 15432, 17000, 4
MOST_CLIENTS, FILLED, FILLED_WITHIN, AFTERWARDS = 110, 0.8, 30, 2
"""A fleet is filled where this share of what it can reach is there; it gets so many seconds for it."""
RECONNECTS, LEAST_CONNECTIONS = 1, 30
ALONE_PORT = 16999

pytestmark = pytest.mark.usefixtures("as_declared")


@pytest.fixture(scope="module")
def server(lab: Lab) -> Iterator[ScratchServer]:
    with ScratchServer(lab, SERVER_PORT, ROLES).running(("pool1", "pool2", "pool3")) as running:
        yield running


def versions_of(lab: Lab, poolers: Iterable[str]) -> dict[str, Version]:
    return {name: Version.parse(on(lab, name, "pgbouncer --version").splitlines()[0]) for name in poolers}


# Twenty fleets by chance


def under_load(server: ScratchServer, versions: Mapping[str, Version], number: int) -> Outcome:
    """One fleet by chance, its poolers, its clients, and what came of it."""
    name, choose = f"fleet{number:02}", random.Random(f"{SEED}/{number}")
    fleet = random_fleet(server.lab, choose, versions, name, server_port=SERVER_PORT, port=FIRST_PORT + number)
    with staged(server, name, fleet, versions) as stage:
        full = sum(map(stage.outcome().reachable, fleet.poolers))
        load = fleet_load.start(stage.doors(), min(MOST_CLIENTS, 10 + 2 * full), f"{SEED}/{number}")
        try:
            until("the load has begun", lambda: stage.peak_so_far() >= 2, 60, interval=0.5)
            stage.console("RELOAD")
            with suppress(PoolwardError):  # not every fleet can be filled so far
                until("it is nearly full", lambda: stage.peak_so_far() >= FILLED * full, FILLED_WITHIN, interval=1)
            for _ in range(RECONNECTS):
                stage.console("RECONNECT")
                time.sleep(AFTERWARDS)  # there is no event that says when it can do no more harm
        finally:
            told = fleet_load.stop(load)
        return stage.outcome(told)


def all_under_load(
    server: ScratchServer, versions: Mapping[str, Version], numbers: Iterable[int]
) -> dict[int, Outcome]:
    with ThreadPoolExecutor(AT_ONCE) as workers:
        return dict(
            zip(numbers, workers.map(lambda number: under_load(server, versions, number), numbers), strict=True)
        )


@pytest.fixture(scope="module")
def of_two(lab: Lab, server: ScratchServer) -> dict[int, Outcome]:
    return all_under_load(server, versions_of(lab, ("pool1", "pool2")), OF_TWO)


@pytest.fixture(scope="module")
def of_three(lab: Lab, server: ScratchServer, pool3: str) -> dict[int, Outcome]:
    return all_under_load(server, versions_of(lab, ("pool1", "pool2", pool3)), OF_THREE)


@pytest.fixture
def outcome(request: pytest.FixtureRequest, number: int) -> Outcome:
    found: Outcome = request.getfixturevalue("of_two" if number in OF_TWO else "of_three")[number]
    return found


@pytest.mark.parametrize("number", [*OF_TWO, *(pytest.param(number, marks=pytest.mark.pool3) for number in OF_THREE)])
def test_no_fleet_exceeds_its_bill(outcome: Outcome):
    seen = f"FLEETS_SEED={SEED} {outcome}"
    assert len(outcome.backends) >= LEAST_CONNECTIONS, seen
    assert outcome.peak() <= outcome.bill.worst_case, seen
    for pooler in outcome.fleet.poolers:
        assert outcome.peak(pooler) <= outcome.reachable(pooler, outcome.reconnects(pooler)) <= outcome.share(pooler), (
            pooler,
            seen,
        )
        for database in (*databases(outcome.name), auth_database(outcome.name)):
            assert outcome.peak(pooler, database) <= outcome.share(pooler, database), (pooler, database, seen)


@pytest.mark.parametrize("fleets", ["of_two", pytest.param("of_three", marks=pytest.mark.pool3)])
def test_the_load_filled_most_of_them(request: pytest.FixtureRequest, fleets: str):
    outcomes: Mapping[int, Outcome] = request.getfixturevalue(fleets)
    filled = [round(outcome.filled, 2) for outcome in outcomes.values()]
    assert sum(share >= FILLED for share in filled) >= 0.6 * len(filled), f"FLEETS_SEED={SEED} {filled}"


# Fleets made to reach what they may


@pytest.fixture
def version(lab: Lab, pooler: str) -> Version:
    return versions_of(lab, [pooler])[pooler]


@contextmanager
def alone(
    server: ScratchServer, pooler: str, version: Version, entries: Mapping[str, Any], **data: Any
) -> Iterator[Staged]:
    """A fleet of one pooler, with one database behind all its entries."""
    name = f"alone{next(_names)}"
    settings = {"listen_port": ALONE_PORT, "unix_socket_dir": folder(ALONE_PORT), **data.pop("pgbouncer_settings", {})}
    declared = {entry: {"host": "db1", "dbname": f"{name}_x", **keys} for entry, keys in entries.items()}
    hosts = {
        "db1": host(server.lab, "db1", postgresql_port=SERVER_PORT, pgbouncer_auth_database=auth_database(name)),
        pooler: host(
            server.lab,
            pooler,
            pgbouncer_version=str(version),
            pgbouncer_settings=settings,
            pgbouncer_databases=declared,
            **data,
        ),
    }
    fleet = declaration.read(hosts, {"databases": ["db1"], "poolers": [pooler]})
    with staged(server, name, fleet, {pooler: version}) as stage:
        yield stage


_names = itertools.count()


def entered(stage: Staged, role: str, entry: str) -> psycopg.Connection[tuple[Any, ...]]:
    pooler = stage.poolers[0]
    password = stage.server.passwords[role]
    return client(stage.server.lab, pooler.name, role, entry, password=password, port=pooler.config.port)


def hold(connection: psycopg.Connection[tuple[Any, ...]]) -> None:
    """Begin a transaction and stay in it, with the server connection it takes."""
    connection.execute("SELECT 1")


def test_a_fleet_made_for_it_reaches_its_bill_exactly(server: ScratchServer, pooler: str, version: Version):
    users = {"dan": {"pool_size": 5, "reserve_pool_size": 2}} if version >= USER_LINES_SINCE else {}
    of_dan = 5 + 2 if users else 3 + 1
    entries: dict[str, dict[str, Any]] = {
        "every_pool_full": {"max_db_connections": 3 * (3 + 1) + of_dan},
        "limit_of_the_entry": {"pool_size": 2, "reserve_pool_size": 1, "max_db_connections": 7},
    }
    holders = [("ana", 4), ("ben", 4), ("cid", 4), ("dan", of_dan)]
    held = [(role, "every_pool_full") for role, number in holders for _ in range(number)]
    held += [(role, "limit_of_the_entry") for role in ("ana", "ana", "ana", "ben", "ben", "ben", "cid")]
    if version >= FORCED_USERS_SINCE:
        entries["forced"] = {"user": "dan", "pool_size": 1, "max_db_connections": of_dan}
        held += [("ana", "forced")] * of_dan
    settings = {"default_pool_size": 3, "reserve_pool_size": 1, "reserve_pool_timeout": 0.1}
    with alone(server, pooler, version, entries, pgbouncer_settings=settings, pgbouncer_users=users) as stage:
        with ExitStack() as connections, ThreadPoolExecutor(len(held)) as together:
            # All log in at once, so that PgBouncer looks up two at a time; then all are in a transaction at once.
            clients = [
                connections.enter_context(found) for found in together.map(lambda who: entered(stage, *who), held)
            ]
            list(together.map(hold, clients))
        outcome = stage.outcome()
    assert outcome.peak() == outcome.bill.worst_case == outcome.reachable(pooler), outcome


def test_each_reconnect_adds_one_to_a_pool_whose_connections_are_all_busy(
    server: ScratchServer, pooler: str, version: Version
):
    settings = {"default_pool_size": 3, "reserve_pool_size": 0, "query_wait_timeout": 40}
    with alone(server, pooler, version, {"shop": {"max_db_connections": 20}}, pgbouncer_settings=settings) as stage:
        with ExitStack() as connections, ThreadPoolExecutor(8) as together:
            clients = [connections.enter_context(entered(stage, "ana", "shop")) for _ in range(8)]
            holding = {one: together.submit(hold, one) for one in clients}

            def so_many_hold(number: int) -> bool:
                return sum(held.done() for held in holding.values()) == number

            until("the pool is full", partial(so_many_hold, 3), 30)
            for number in range(4, 8):
                stage.console("RECONNECT")
                until("one more holds", partial(so_many_hold, number), 30)
            # The eighth has waited all the time, and gets its turn when the pool is no longer over its size.
            for one in [one for one in clients if holding[one].done()]:
                one.rollback()
            until("all have held", partial(so_many_hold, 8), 30)
        outcome = stage.outcome()
    of_ana = [backend for backend in outcome.backends if backend.user == "ana"]
    assert peak(of_ana) == EntryPools("shop", 3, 0, 20, ("ana",), reconnects=4).bound == 3 + 4


def test_a_reload_adds_one_too_before_1_24(server: ScratchServer, pooler: str, version: Version):
    settings = {"default_pool_size": 2, "reserve_pool_size": 0, "query_wait_timeout": 40}
    with alone(server, pooler, version, {"shop": {"max_db_connections": 20}}, pgbouncer_settings=settings) as stage:
        with ExitStack() as connections, ThreadPoolExecutor(4) as together:
            clients = [connections.enter_context(entered(stage, "ana", "shop")) for _ in range(4)]
            holding = {one: together.submit(hold, one) for one in clients}

            def held() -> int:
                return sum(one.done() for one in holding.values())

            until("the pool is full", lambda: held() == 2, 30)
            stage.console("RELOAD")
            more = 1 if version < RELOAD_IS_NO_RECONNECT_SINCE else 0
            until("as many hold as may", lambda: held() == 2 + more, 30)
            time.sleep(AFTERWARDS)  # there is no event that says when it can do no more harm
            assert held() == 2 + more
            for one in [one for one in clients if holding[one].done()]:
                one.rollback()
            until("all have held", lambda: held() == 4, 30)
        of_ana = [backend for backend in stage.outcome().backends if backend.user == "ana"]
    assert peak(of_ana) == 2 + more


def test_a_limit_per_user_counts_over_all_entries_from_1_23_and_in_each_alone_before(
    server: ScratchServer, pooler: str, version: Version
):
    entries = {name: {"max_db_connections": 9} for name in ("shop", "archive")}
    with alone(server, pooler, version, entries, pgbouncer_settings={"max_user_connections": 2}) as stage:
        with entered(stage, "ana", "shop") as first, entered(stage, "ana", "shop") as second:
            hold(first)
            hold(second)
            if version >= USER_LINES_SINCE:
                stage.console("SET query_wait_timeout = 1")
                with pytest.raises(psycopg.OperationalError, match="query_wait_timeout"):
                    entered(stage, "ana", "archive")
            else:
                with entered(stage, "ana", "archive") as third:
                    hold(third)
        of_ana = [backend for backend in stage.outcome().backends if backend.user == "ana"]
    assert peak(of_ana) == (2 if version >= USER_LINES_SINCE else 3)


@pytest.mark.parametrize(("interval", "left"), [("0", 3), ("50ms", 0)], ids=["as_is", "with_a_check_interval"])
def test_a_statement_whose_client_has_gone_runs_on_beyond_the_bill(
    server: ScratchServer, pooler: str, version: Version, interval: str, left: int
):
    """Unless client_connection_check_interval lets PostgreSQL notice: no limit of PgBouncer's counts it any more."""

    def running() -> int:
        return int(server.sql("SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)'"))

    server.sql(f"ALTER ROLE dan SET client_connection_check_interval = '{interval}'")
    with alone(server, pooler, version, {"shop": {"max_db_connections": 2}}) as stage:
        for number in range(3):
            before = number if left else 0
            until("the last one was ended", lambda before=before: running() == before, 10)
            connection = entered(stage, "dan", "shop")
            connection.pgconn.send_query(b"SELECT pg_sleep(60)")
            until("the statement runs", lambda before=before: running() == before + 1, 10)
            connection.close()
        until("PostgreSQL is left with what it does not notice", lambda: running() == left, 10)
        assert stage.outcome().share(pooler, f"{stage.name}_x") == 2
    server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'dan'")
