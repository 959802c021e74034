"""What a service's settings say, where that is, where it is to go, and the settings that say so."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from lab.apps import environment_file
from lab.topology import SERVICES
from poolward import env_file
from poolward.dsn import Connection
from poolward.errors import PoolwardError, Refused
from poolward.fleet import Fleet
from poolward.moves import next_step
from poolward.moving import Move
from poolward.observed import Process, ServiceState
from poolward.observed.composed import SettingsFile
from poolward.service import Address, Service, moved_variables, settings_of
from poolward.target import Paths, paths, reached, standing, target, targets
from tests.unit.samples import lab

FORMER = frozenset({("pool1", "tracksolid_db")})
PASSWORD = "p@ss:w/rd 'é\\\" $`%41"
RESOLVED = {"db1": ["192.0.2.11"], "pool1": ["192.0.2.21"], "pool2": ["192.0.2.22"], "elsewhere": ["192.0.2.99"]}


def service(**words: Any) -> Service:
    known: dict[str, Any] = {"name": "web", "host": "app1", "pooler": "pool1", "unit": "web.service", "env_file": "/e"}
    how = {} if "host_variable" in words else {"url_variables": ("URL",)}
    return Service(**{**known, **how, **words})


def connection(**values: Any) -> Connection:
    known: dict[str, Any] = {"shape": "url", "host": "db1", "port": 5432, "database": "tracksolid_db", "user": "app"}
    return Connection(**{**known, **values})


PARTS = {
    "host_variable": "DB_HOST",
    "port_variable": "DB_PORT",
    "database_variable": "DB_NAME",
    "user_variable": "DB_USER",
    "password_variable": "DB_PASSWORD",
}
ASIDE = {"DB_HOST": "db1", "DB_PORT": "5432", "DB_NAME": "shop", "DB_USER": "app", "DB_PASSWORD": PASSWORD}


@pytest.mark.parametrize("sample", SERVICES, ids=lambda sample: sample.name)
def test_each_of_the_labs_services_is_read_moved_and_moved_back(sample: Any) -> None:
    """The lab writes their files; the bytes of each come back, and nothing but the address differs in between."""
    fleet = lab()
    declared = next(one for one in fleet.services if one.name == sample.name)
    content = environment_file(sample, PASSWORD).encode()
    variables = env_file.variables(content)
    (name, found), *others = settings_of(declared, variables).items()
    assert not others
    assert (found.host, found.port, found.database) == ("db1", 5432, sample.database)
    assert standing(declared, variables, fleet, RESOLVED) == "direct"
    if not declared.moves:
        return
    assert (found.user, found.password and found.password.get_secret_value()) == (sample.role, PASSWORD)
    address = target(declared, fleet, found, RESOLVED).address
    entry = "tracksolid_db_session" if sample.name == "scheduler" else sample.database
    assert address == (RESOLVED[declared.pooler][0], 6432, entry)
    changes = moved_variables(declared, variables, {name: address})
    moved = env_file.replaced(content, changes)
    after = settings_of(declared, env_file.variables(moved))[name]
    assert after == replace(found, host=address.host, port=6432, database=entry)
    assert standing(declared, env_file.variables(moved), fleet, RESOLVED) == "pooled"
    back = moved_variables(declared, env_file.variables(moved), {name: Address("db1", 5432, sample.database)})
    assert env_file.replaced(moved, back) == content


def test_variables_for_the_parts() -> None:
    found = settings_of(service(**PARTS), ASIDE)
    assert found == {"DB_HOST": settings_of(service(**PARTS), ASIDE)["DB_HOST"]}
    one = found["DB_HOST"]
    assert (one.shape, one.host, one.port, one.database, one.user) == ("variables", "db1", 5432, "shop", "app")
    assert one.password
    assert one.password.get_secret_value() == PASSWORD


def test_what_the_parts_leave_open_is_declared_or_a_default() -> None:
    found = settings_of(service(host_variable="H", role="app", database="shop"), {"H": "db1"})["H"]
    assert (found.port, found.database, found.user) == (5432, "shop", "app")
    assert settings_of(service(role="app"), {"URL": "postgresql://db1"})["URL"].database == "app"


@pytest.mark.parametrize(
    ("value", "host", "port"),
    [("db1:5433", "db1", 5433), ("[::1]:5433", "::1", 5433), ("10.0.0.1:1", "10.0.0.1", 1)],
)
def test_one_variable_may_hold_host_and_port(value: str, host: str, port: int) -> None:
    declared = service(host_variable="H", database="shop")
    found = settings_of(declared, {"H": value})["H"]
    assert (found.host, found.port) == (host, port)
    for address, written in (("pool1", "pool1:6432"), ("2001:db8::1", "[2001:db8::1]:6432")):
        changes = moved_variables(declared, {"H": value}, {"H": Address(address, 6432, "shop")})
        assert changes == {"H": written}


def test_an_ipv6_address_without_a_port_is_none() -> None:
    assert settings_of(service(host_variable="H", database="d"), {"H": "2001:db8::1"})["H"].host == "2001:db8::1"


def test_libpqs_variables_fill_what_a_url_leaves_open_and_are_known_as_such() -> None:
    variables = {
        "URL": "postgresql:///shop",
        "PGHOST": "db1",
        "PGPORT": "5433",
        "PGUSER": "app",
        "PGOPTIONS": "-c jit=off",
    }
    found = settings_of(service(), variables)["URL"]
    assert (found.host, found.port, found.user, found.inherited) == ("db1", 5433, "app", {"options"})
    changes = moved_variables(service(), variables, {"URL": Address("pool1", 6432, "shop")})
    assert changes == {"URL": "postgresql://pool1:6432/shop"}


def test_several_connections_are_read_and_moved_each_by_itself() -> None:
    declared = service(url_variables=("URL", "REPORT"))
    variables = {"URL": "postgresql://app@db1/tracksolid_db", "REPORT": "host=db1 user=r dbname=tracksolid-archive"}
    fleet = lab()
    found = targets(declared, fleet, settings_of(declared, variables), RESOLVED)
    assert {name: one.entry for name, one in found.items()} == {"URL": "tracksolid_db", "REPORT": "tracksolid-archive"}
    changes = moved_variables(declared, variables, {name: one.address for name, one in found.items()})
    assert changes == {
        "URL": "postgresql://app@192.0.2.21:6432/tracksolid_db",
        "REPORT": "port=6432 host=192.0.2.21 user=r dbname=tracksolid-archive",
    }
    half = {**variables, "URL": changes["URL"]}
    assert standing(declared, half, fleet, RESOLVED) == "mixed"
    assert moved_variables(declared, half, {name: one.address for name, one in found.items()}) == {
        "REPORT": changes["REPORT"]
    }


def test_a_variable_that_is_not_there_yet_is_added() -> None:
    declared = service(**PARTS)
    variables = {"DB_HOST": "db1", "DB_NAME": "shop"}
    changes = moved_variables(declared, variables, {"DB_HOST": Address("pool1", 6432, "shop")})
    assert changes == {"DB_HOST": "pool1", "DB_PORT": "6432"}


@pytest.mark.parametrize(
    ("words", "variables", "reason"),
    [
        ({}, {"URI": "x"}, "URL: It is not set.*\n.*Did you mean URI"),
        ({}, {"URL": "mysql://app:canary@db1/d"}, "URL: It is no PostgreSQL URL"),
        ({}, {"URL": "postgresql://db1/d", "PGHOSTADDR": "10.0.0.1"}, "led elsewhere by hostaddr"),
        ({"role": "app"}, {"URL": "postgresql://root:canary@db1/d"}, 'says root, and "role" says app'),
        ({"database": "shop"}, {"URL": "postgresql://app:canary@db1"}, 'says app, and "database" says shop'),
        (PARTS, {**ASIDE, "DB_HOST": "a,b"}, "several hosts"),
        (PARTS, {**ASIDE, "DB_PORT": "canary"}, "does not belong there"),
        ({"url_variables": ("URL", "B")}, {"URL": "postgresql://a:canary@db1:x/d", "B": ""}, "URL:(.|\n)*B: It is not"),
    ],
)  # fmt: skip
def test_settings_that_cannot_be_read(words: dict[str, Any], variables: dict[str, str], reason: str) -> None:
    with pytest.raises(Refused, match=reason) as caught:
        settings_of(service(**words), variables)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("words", "variables", "reason"),
    [
        ({"host_variable": "H", "database": "shop"}, {"H": "db1"}, 'The port has to become 6432(.|\n)*"port_variable"'),
        (
            {"host_variable": "H", "port_variable": "P", "database": "d"},
            {"H": "db1"},
            "The database has to become shop",
        ),
        ({}, {"URL": "postgresql://app:canary@a,b/shop"}, "names 2 hosts"),
    ],
)
def test_settings_that_cannot_be_moved(words: dict[str, Any], variables: dict[str, str], reason: str) -> None:
    declared = service(**words)
    name = declared.host_variable or "URL"
    with pytest.raises(Refused, match=reason) as caught:
        moved_variables(declared, variables, {name: Address("pool1", 6432, "shop")})
    assert "canary" not in str(caught.value)


def entries(**more: Any) -> Fleet:
    shop = {"shop": {"host": "db1"}, "shop_session": {"host": "db1", "dbname": "shop", "pool_mode": "session"}}
    return lab(pgbouncer_databases={**shop, **more}, services=[])


@pytest.mark.parametrize(
    ("words", "entry", "mode"),
    [
        ({}, "shop", "transaction"),
        ({"pool": "session"}, "shop_session", "session"),
        ({"pool": "shop_session"}, "shop_session", "session"),
        ({"pool": "shop"}, "shop", "transaction"),
    ],
)
def test_the_entry_that_serves_the_wanted_pool(words: dict[str, Any], entry: str, mode: str) -> None:
    found = target(service(**words), entries(), connection(database="shop"), RESOLVED)
    assert (found.entry, found.address.database, found.pool_mode, found.server) == (entry, entry, mode, "db1")


def test_of_several_entries_the_one_named_like_its_database() -> None:
    fleet = entries(shop_two={"host": "db1", "dbname": "shop"})
    assert target(service(), fleet, connection(database="shop"), RESOLVED).entry == "shop"
    fleet = lab(pgbouncer_databases={n: {"host": "db1", "dbname": "shop"} for n in ("one", "two")}, services=[])
    with pytest.raises(PoolwardError, match="several entries for shop: one, two"):
        target(service(), fleet, connection(database="shop"), RESOLVED)


def test_an_entry_with_a_forced_user_serves_that_role_alone() -> None:
    forced = {"shop": {"host": "db1", "user": "app"}}
    fleet = lab(pgbouncer_databases=forced, pgbouncer_version="1.26.1", services=[])
    assert target(service(), fleet, connection(database="shop"), RESOLVED).entry == "shop"
    with pytest.raises(PoolwardError, match="it has none at all"):
        target(service(), fleet, connection(database="shop", user="other"), RESOLVED)


@pytest.mark.parametrize(
    ("words", "values", "reason"),
    [
        (
            {"pool": "session"},
            {"database": "tracksolid-archive"},
            r"no entry in pool_mode session.*it has tracksolid-arch",
        ),
        ({"pool": "nightly"}, {}, "no entry called nightly"),
        ({}, {"database": "billing"}, "for the database billing of db1; it has none at all"),
        ({}, {"host": "elsewhere"}, "elsewhere, port 5432, is neither a server nor a pooler"),
        ({}, {"host": "db1", "port": 5433}, "db1, port 5433, is neither"),
        ({}, {"host": "localhost"}, "localhost, port 5432, is neither"),
        ({}, {"host": ""}, "The local Unix socket, port 5432, is neither"),
        ({}, {"host": "pool1", "port": 6432, "database": "gone"}, "pool1 has no entry 'gone'"),
        ({}, {"others": (("db2", 5432),)}, "several hosts"),
    ],
)
def test_what_has_no_target(words: dict[str, Any], values: dict[str, Any], reason: str) -> None:
    with pytest.raises(PoolwardError, match=reason) as caught:
        target(service(**words), lab(), connection(**values), RESOLVED)
    assert caught.value.hint


@pytest.mark.parametrize("host", ["db1", "DB1", "192.0.2.11", "::ffff:192.0.2.11"[7:], "db1.internal"])
def test_a_server_is_known_by_its_name_and_by_its_addresses(host: str) -> None:
    resolved = {**RESOLVED, "db1.internal": ["192.0.2.11"]}
    assert target(service(), lab(), connection(host=host), resolved).server == "db1"


def test_a_name_that_resolves_elsewhere_is_another_machine_though_it_is_called_alike() -> None:
    with pytest.raises(PoolwardError, match="is neither"):
        target(service(), lab(), connection(), {"db1": ["192.0.2.99"]})


def test_without_any_resolving_the_inventorys_names_count() -> None:
    assert target(service(), lab(), connection()).server == "db1"


def test_an_address_in_front_of_several_poolers_stands_for_all_of_them() -> None:
    declared = service(pooler="pgbouncer.internal:6000")
    found = target(declared, lab(), connection(), RESOLVED)
    assert found.address == ("pgbouncer.internal", 6000, "tracksolid_db")
    assert found.poolers == ("pool1", "pool2")
    only = target(service(pooler="192.0.2.22:6000"), lab(), connection(), RESOLVED)
    assert only.poolers == ("pool2",)
    url = {"URL": "postgresql://app@pgbouncer.internal:6000/tracksolid_db"}
    assert standing(declared, url, lab(), RESOLVED) == "pooled"


@pytest.mark.parametrize(
    ("url", "words", "where"),
    [
        ("postgresql://app@db1/tracksolid_db", {}, "direct"),
        ("postgresql://app@pool1:6432/tracksolid_db", {}, "pooled"),
        ("postgresql://app@192.0.2.21:6432/tracksolid_db", {}, "pooled"),
        ("postgresql://app@pool2:6432/tracksolid_db", {}, "mixed"),
        ("postgresql://app@pool1:6432/tracksolid_db", {"pool": "session"}, "mixed"),
        ("postgresql://app@pool1:5432/tracksolid_db", {}, "mixed"),
        ("postgresql://app@pool1:6432/gone", {}, "mixed"),
        ("postgresql://app@db1:5433/tracksolid_db", {}, "unknown"),
        ("postgresql://app@elsewhere/tracksolid_db", {}, "unknown"),
        ("postgresql://app@db1,db2/tracksolid_db", {}, "unknown"),
        ("postgresql://app@pool2:6432/tracksolid_db", {"direct": "LISTEN", "pooler": ""}, "pooled"),
    ],
)
def test_where_the_settings_say_it_stands(url: str, words: dict[str, Any], where: str) -> None:
    assert standing(service(**words), {"URL": url}, lab(), RESOLVED) == where


@pytest.mark.parametrize(
    ("url", "words", "names"),
    [
        ("postgresql://app@db1/tracksolid_db", {}, set()),
        ("postgresql://app@pool2:6432/tracksolid_db", {}, {"pool2"}),
        ("postgresql://app@192.0.2.21:6432/gone", {"direct": "LISTEN", "pooler": ""}, {"pool1"}),
        ("postgresql://app@bouncer:6000/tracksolid_db", {"pooler": "bouncer:6000"}, {"pool1", "pool2"}),
        ("postgresql://app@pool1:5432/tracksolid_db", {}, None),
        ("postgresql://app@elsewhere/tracksolid_db", {}, None),
        ("postgresql://app@db1,pool1/tracksolid_db", {}, None),
    ],
)
def test_the_poolers_that_settings_name(url: str, words: dict[str, Any], names: set[str] | None) -> None:
    assert reached(service(**words), {"URL": url}, lab(), RESOLVED) == names


def test_a_service_behind_one_pooler_can_be_sent_to_another() -> None:
    now = connection(host="pool2", port=6432, database="tracksolid_db_session")
    assert target(service(), lab(), now, RESOLVED).address == ("192.0.2.21", 6432, "tracksolid_db")


def test_a_direct_service_without_settings_stands_nowhere_one_could_tell() -> None:
    declared = Service("mcp", "app1", direct="LISTEN")
    assert settings_of(declared, {}) == {}
    assert standing(declared, {}, lab()) == "unknown"


@pytest.mark.parametrize(
    ("words", "url", "standing_now", "there"),
    [
        ({}, "postgresql://app@db1/tracksolid_db", "direct", Paths(True, frozenset())),
        ({"pooler": "pool2"}, "postgresql://app@pool1:6432/tracksolid_db", "mixed", Paths(False, FORMER)),
        ({"pool": "session"}, "postgresql://app@pool1:6432/tracksolid_db", "mixed", Paths(False, FORMER)),
        ({}, "postgresql://app@elsewhere/tracksolid_db", "unknown", None),
    ],
)
def test_where_settings_lead_is_told_apart_from_where_they_are_declared_to(
    words: Any, url: str, standing_now: str, there: Paths | None
) -> None:
    assert standing(service(**words), {"URL": url}, lab(), RESOLVED) == standing_now
    assert paths(service(**words), {"URL": url}, lab(), RESOLVED) == there


def test_what_was_put_back_stays_where_it_leads_and_is_not_switched_to_the_server() -> None:
    """A service that was at pool1, and whose move to pool2 failed."""
    declared = service(pooler="pool2")
    settings = SettingsFile("root", "root", "640", 10.0, b"URL=postgresql://app@pool1:6432/tracksolid_db\n")
    process = Process("web.service is active", running=True, started=5.0, incarnation=5.0)
    state = ServiceState("/e", process, settings, None, {"goal": "pooled"}, "")
    restored = paths(declared, {"URL": "postgresql://app@pool1:6432/tracksolid_db"}, lab(), RESOLVED)
    back: Any = SimpleNamespace(
        service=declared, run=SimpleNamespace(fleet=lab()), resolved=RESOLVED, goal="direct", restored=None
    )
    assert next_step(Move.position(back, state), "direct") == "switch"
    back.restored = restored
    assert next_step(Move.position(back, state), "direct") == "restart"
    fresh = replace(state, process=replace(process, started=20.0))
    assert next_step(Move.position(back, fresh), "direct") == "prove"
