"""Poolers that are peers: a request to cancel a query reaches it, whichever of them it was sent to."""

from __future__ import annotations

import selectors
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import psycopg
import pytest

from lab.state import State
from lab.topology import Lab, host_named
from lab.wait import until
from tests.lab.support import console, deployed, on, psql, pyinfra

pytestmark = [pytest.mark.pool3, pytest.mark.usefixtures("pool3")]

PEERS = {"pool1": 1, "pool3": 3}
ONLY_PEERS = ("--limit", "pool1", "--limit", "pool3")
BOTH_WAYS = [("pool1", "pool3"), ("pool3", "pool1")]


@pytest.fixture(scope="module")
def peered(pool3: str) -> Iterator[None]:  # noqa: ARG001 - a fixture asks for another by a parameter alone
    deployed({"pgbouncer_peers": PEERS})
    yield
    deployed()


@contextmanager
def load_balancer(addresses: list[str]) -> Iterator[int]:
    """A port on this machine whose connections go to these poolers, one after the other."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for address in addresses:
                client, _ = listener.accept()
                threading.Thread(target=_relay, args=(client, address), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]


def _relay(client: socket.socket, address: str) -> None:
    with client, socket.create_connection((address, 6432)) as server, selectors.DefaultSelector() as ready:
        ready.register(client, selectors.EVENT_READ, server)
        ready.register(server, selectors.EVENT_READ, client)
        while True:
            for key, _ in ready.select():
                read = key.fileobj.recv(65536)  # type: ignore[union-attr]  # only sockets are registered
                if not read:
                    return
                key.data.sendall(read)


@contextmanager
def running(lab: Lab, here: str, there: str) -> Iterator[tuple[psycopg.Connection[tuple[object, ...]], Future[object]]]:
    """A query through one pooler. A first request to cancel it goes to the other one, a second one to the same."""
    addresses = [lab.address(host_named(name)) for name in (here, there, here)]
    password = State(lab).role_passwords()["worker"]
    query = f"SELECT pg_sleep(60) /* through {here} */"
    active = f"SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query = '{query}'"
    with (
        load_balancer(addresses) as port,
        psycopg.connect(
            host="127.0.0.1", port=port, dbname="tracksolid_db", user="worker", password=password, autocommit=True
        ) as connection,
        ThreadPoolExecutor(1) as pool,
    ):
        execution = pool.submit(connection.execute, query.encode())
        until("the query runs", lambda: psql(lab, active) == "1", timeout=20)
        yield connection, execution


@pytest.mark.parametrize(("here", "there"), BOTH_WAYS)
def test_without_peers_a_request_that_went_to_the_other_pooler_is_lost(lab: Lab, here: str, there: str) -> None:
    lost = "journalctl -u pgbouncer -o cat | grep -c 'failed cancel request' || true"
    before = int(on(lab, there, lost))
    with running(lab, here, there) as (connection, execution):
        connection.cancel_safe(timeout=10)
        until("the other pooler refuses the request", lambda: int(on(lab, there, lost)) > before, timeout=10)
        assert not execution.done()
        connection.cancel_safe(timeout=10)
        assert isinstance(execution.exception(timeout=20), psycopg.errors.QueryCanceled)


@pytest.mark.usefixtures("peered")
@pytest.mark.parametrize(("here", "there"), BOTH_WAYS)
def test_between_peers_it_reaches_the_query(lab: Lab, here: str, there: str) -> None:
    with running(lab, here, there) as (connection, execution):
        connection.cancel_safe(timeout=10)
        assert isinstance(execution.exception(timeout=20), psycopg.errors.QueryCanceled)


@pytest.mark.usefixtures("peered")
def test_peers_that_got_lost_are_named_and_come_back(lab: Lab) -> None:
    declared = {"pgbouncer_peers": PEERS}
    assert pyinfra(*ONLY_PEERS, "--json", data=declared).totals["success"] == 0
    on(lab, "pool1", r"sed -i 's/^3 = .*/3 = host=192.0.2.1 port=6432/' /etc/pgbouncer/pgbouncer.ini")
    console(lab, "pool1", "RELOAD")
    verified = pyinfra(*ONLY_PEERS, data=declared, deploy="deploy/verify.py")
    assert verified.returncode == 1
    address = lab.address(host_named("pool3"))
    assert f"peer 3: 192.0.2.1 port 6432 → {address} port 6432" in verified.text
    mended = pyinfra(*ONLY_PEERS, data=declared)
    assert mended.returncode == 0, mended.text
    assert console(lab, "pool1", "SHOW PEERS").split("|")[:3] == ["3", address, "6432"]
    assert console(lab, "pool3", "SHOW PEERS").split("|")[:3] == ["1", lab.address(host_named("pool1")), "6432"]


def test_a_pooler_too_old_to_be_a_peer_is_refused() -> None:
    run = pyinfra(data={"pgbouncer_peers": {**PEERS, "pool2": 2}})
    assert run.returncode == 1
    assert "PgBouncer 1.18.0 cannot pass a cancel request on to its peers" in run.text
    assert "Starting operation" not in run.text
