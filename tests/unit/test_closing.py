"""The direct path after a cutover: closed only where nobody is on it any more."""

from __future__ import annotations

from poolward import closing
from poolward.observed import Endpoint, PooledServer
from poolward.service import Service
from tests.unit.test_evidence import APP, DB, POOL, backend, client, seen, socket

WEB = Service(name="web", host="app1", unit="web.service")


def test_a_path_is_offered_only_when_its_last_session_is_gone() -> None:
    direct = [socket("web.service", 40000, DB), socket("other.service", 40001, DB)]
    before = seen(direct, [backend(1, direct[0].local), backend(2, direct[1].local)], [], [])
    paths = closing.paths(before, [WEB])
    assert paths == {("db1", "postgres", APP)}
    moved = [socket("web.service", 40002, POOL), direct[1]]
    while_another_uses_it = seen(moved, [backend(2, direct[1].local)], [client(40002)], [])
    assert closing.unused(paths, while_another_uses_it) == []
    afterwards = seen(moved[:1], [], [client(40002)], [])
    assert closing.unused(paths, afterwards) == [("db1", "postgres", APP)]


def test_a_pooler_on_the_application_host_keeps_its_way_to_the_server() -> None:
    end = Endpoint(APP, 50000)
    look = seen([], [backend(7, end)], [], [PooledServer("shop", "postgres", 7, end)])
    assert closing.unused({("db1", "postgres", APP)}, look) == []


def test_the_offer_says_which_lines_where_and_how_to_undo_them() -> None:
    told = closing.offer([("db1", 'odd"role', "2001:db8::1"), ("db1", "web", "10.0.0.31")])
    assert told[1:] == [
        '  host  all  "odd""role"  2001:db8::1/128  reject',
        '  host  all  "web"  10.0.0.31/32  reject',
    ]
    assert "open again" in told[0]
    assert closing.offer([]) == []


def test_clients_per_server_connection() -> None:
    look = seen([], [], [client(1), client(2), client(3)], [])
    assert closing.multiplexing(look) == {}
