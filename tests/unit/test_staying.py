"""Who is counted as staying direct on the bill: whose sessions these are, and what a deploy is refused for."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from poolward import budget, declaration
from poolward.bill import Bill
from poolward.fleet import Fleet
from poolward.observed import ServerState
from tests.unit.samples import BOOKWORM, GROUPS, TRIXIE, hosts, lab, server_state

VERSIONS = {"pool1": TRIXIE, "pool2": BOOKWORM}
ADDRESSES = {"pool1": "192.0.2.21", "pool2": "192.0.2.22"}
HERE = {"pool1": "127.0.0.1", "pool2": "192.0.2.22"}
STAYS = {"name": "mcp", "host": "app2", "direct": "session SET"}
MOVES = {"pooler": "pool1", "env_file": "/etc/shop", "url_variables": ["DATABASE_URL"]}
Row = tuple[str, str, int] | tuple[str, str, int, str]


def with_sessions(*rows: Row) -> ServerState:
    """Sessions by role, address, number and application."""
    backends = [
        {"database": "d", "role": role, "address": address, "count": count, "active": 0, "superuser": False}
        | {"application": application[0] if application else ""}
        for role, address, count, *application in rows
    ]
    return dataclasses.replace(server_state(), backends=tuple(backends))


def made(*rows: Row, fleet: Fleet | None = None, **given: Any) -> Bill:
    state, at = with_sessions(*rows), {"addresses": ADDRESSES, **given}
    return budget.bill(fleet or lab(services=[]), "db1", state, VERSIONS, **at)


def stays(bill: Bill) -> dict[str, int]:
    return {line.what.removeprefix("stays direct: "): -line.connections for line in bill.has if "stays" in line.what}


def one_machine() -> Fleet:
    """Everything on the database host, or beside it: a service there that moves."""
    services = [{"name": "shop", "host": "db1", "unit": "shop.service", "connections": 40, **MOVES}]
    return declaration.read(hosts(services=services), {**GROUPS, "apps": ["app1", "app2", "db1"]})


def test_what_comes_from_the_database_host_stays_and_refuses() -> None:
    found = made(("monitor", "local", 20), ("pgbouncer_auth", "local", 5), ("pgbouncer_probe", "127.0.0.1", 1))
    assert stays(found) == {"monitor on db1 itself": 20}
    assert (found.left, found.worst_case, found.refused) == (97 - 20, 80, True)


@pytest.mark.parametrize("address", ["local", "127.0.0.1", "::1", "192.0.2.11"])
def test_of_what_comes_from_the_database_host_its_pooler_s_connections_do_not_stay(address: str) -> None:
    rows = [("worker", address, 25), ("monitor", "127.0.0.1", 2)]
    for at in ("127.0.0.1", "192.0.2.11"):
        beside = made(*rows, addresses={**HERE, "pool1": at}, opened={"pool1": 25})
        assert stays(beside) == {"monitor, worker on db1 itself": 2}
        assert not beside.refused
        assert stays(made(*rows, addresses={**HERE, "pool1": at}, opened={"pool1": 30})) == {}
        # A pooler that was not asked may have opened all of them.
        assert stays(made(*rows, addresses={**HERE, "pool1": at})) == {}


def test_a_host_with_database_and_pooler_is_one_machine_by_whatever_address() -> None:
    data = hosts(services=[])
    for one in data.values():
        one |= {"postgresql_address": "db1.internal"}
    fleet = declaration.read(data, {**GROUPS, "poolers": ["db1", "pool2"]})
    at = {"db1": "10.0.0.7", "pool2": "192.0.2.22"}
    rows: tuple[Row, ...] = (("worker", "10.0.0.7", 25), ("monitor", "local", 2))
    assert stays(made(*rows, fleet=fleet, addresses=at, opened={"db1": 25})) == {"monitor, worker on db1 itself": 2}


def test_services_on_the_database_host_that_are_declared_to_move_leave() -> None:
    for address in ("local", "127.0.0.1", "192.0.2.11"):
        found = made(("worker", address, 40), fleet=one_machine(), addresses={})
        assert stays(found) == {}
        assert found.fits


def test_a_direct_service_counts_as_declared_or_as_it_is_seen() -> None:
    def with_service(*rows: Row, **words: Any) -> Bill:
        return made(*rows, fleet=lab(services=[{**STAYS, **words}]))

    assert stays(with_service(connections=2)) == {"mcp": 2}
    assert stays(with_service(("report", "192.0.2.32", 2), connections=4)) == {"mcp": 4}
    assert stays(with_service(("report", "192.0.2.32", 7), connections=4)) == {"mcp": 7}
    seen = with_service(("report", "192.0.2.32", 7))
    assert stays(seen) == {"mcp": 7}
    assert any("mcp stays direct and counts as it is seen now" in note for note in seen.staying)
    assert stays(with_service()) == {}
    assert any("mcp stays direct and is not counted" in note for note in with_service().staying)


def test_beside_services_that_move_a_direct_one_is_told_apart_by_its_application_name_or_its_role() -> None:
    shop = {"name": "shop", "host": "app2", "unit": "shop.service", "role": "shop", **MOVES}
    rows: tuple[Row, ...] = (("report", "192.0.2.32", 3), ("report", "192.0.2.32", 2, "mcp"), ("x", "192.0.2.32", 9))

    def counted(*services: dict[str, Any]) -> dict[str, int]:
        return stays(made(*rows, fleet=lab(services=list(services))))

    assert counted(shop, STAYS) == {"mcp": 2}
    assert counted(shop, {**STAYS, "role": "report"}) == {"mcp": 5}
    # Whoever does not say its role may have this one.
    assert counted({**shop, "role": ""}, {**STAYS, "role": "report"}) == {"mcp": 2}
    assert counted({**shop, "role": "report"}, {**STAYS, "role": "report"}) == {"mcp": 2}


def test_several_direct_services_of_a_host_count_once() -> None:
    services = [{**STAYS, "connections": 4}, {**STAYS, "name": "cron", "connections": 3}]
    fleet = lab(services=services)
    assert stays(made(("a", "192.0.2.32", 5), fleet=fleet)) == {"mcp": 4, "cron": 3}
    found = made(("a", "192.0.2.32", 90), fleet=fleet)
    assert stays(found) == {"mcp": 4, "cron": 3, "others on app2": 83}
    assert not found.refused


def test_a_direct_service_counts_on_the_server_it_is_seen_on() -> None:
    data = hosts(services=[{**STAYS, "connections": 40}])
    data["db2"] = {**data["db1"], "ssh_hostname": "192.0.2.12", "pgbouncer_auth_role": "pgbouncer_auth_db2"}
    for one in data.values():
        one["pgbouncer_databases"] = {"a": {"host": "db1"}, "b": {"host": "db2"}}
    fleet = declaration.read(data, {**GROUPS, "databases": ["db1", "db2"]})

    def bill(server: str, *rows: Row) -> Bill:
        return budget.bill(fleet, server, with_sessions(*rows), VERSIONS, ADDRESSES)

    assert stays(bill("db1", ("report", "192.0.2.32", 3))) == {"mcp": 40}
    assert stays(bill("db2")) == {}
    assert any("is seen on db2, so it is not counted here: mcp (40)." in note for note in bill("db2").staying)


def test_what_nobody_declared_is_on_the_bill_and_refuses_nothing() -> None:
    found = made(("other", "10.9.9.9", 70), ("other", "10.9.9.10", 2), ("monitoring", "10.9.9.9", 1))
    assert stays(found) == {"monitoring": 1, "other": 72}
    assert [line.source for line in found.has if line.connections == -72] == ["seen now, from 2 addresses"]
    assert (found.left, found.worst_case, found.fits, found.refused) == (97 - 73, 80, False, False)
    assert any("other from 10.9.9.9: 70" in note for note in found.staying)
    declared = made(("other", "10.9.9.9", 70), fleet=lab(services=[{**STAYS, "connections": 20}]))
    assert declared.refused  # for what is declared


def test_poolers_and_hosts_of_declared_services_are_no_strangers() -> None:
    rows: tuple[Row, ...] = (("web", "192.0.2.21", 30), ("web", "192.0.2.31", 30), ("pgbouncer_auth", "192.0.2.99", 3))
    assert stays(made(*rows, fleet=lab())) == {"analytics_mcp": 4}
    assert made(*rows, fleet=lab()).staying == ()


def test_where_the_address_of_a_service_is_not_known_nobody_is_called_a_stranger() -> None:
    data = hosts()
    for one in data.values():
        del one["ssh_hostname"]
    rows: tuple[Row, ...] = (("web", "192.0.2.31", 90), ("web", "10.9.9.9", 1))
    found = made(*rows, fleet=declaration.read(data, GROUPS))
    assert stays(found) == {"analytics_mcp": 4}
    assert any("seen now and not counted: web from 10.9.9.9: 1; web from 192.0.2.31: 90" in n for n in found.staying)
    assert not any("no declared service" in note for note in found.staying)
    # `address` is where a host connects from, whatever it is logged in to by.
    for name, address in (("app1", "192.0.2.31"), ("app2", "192.0.2.32")):
        data[name] |= {"ssh_hostname": f"{name}.internal", "address": address}
    assert stays(made(*rows, fleet=declaration.read(data, GROUPS))) == {"analytics_mcp": 4, "web": 1}
    # A pooler nobody has found yet may be anyone.
    assert stays(made(*rows, fleet=declaration.read(data, GROUPS), addresses={})) == {"analytics_mcp": 4}
