"""What a pooler should be, per version of PgBouncer: read from the rendered file, not from the objects behind it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolward import declaration
from poolward.desired import pooler_config
from poolward.errors import Refused
from poolward.fleet import Fleet
from poolward.reparse import parse_ini
from tests.unit.samples import BOOKWORM, FORKY, TRIXIE, config, hosts, lab

NEWER = [TRIXIE, FORKY]


def two_servers() -> Fleet:
    """A second server with an auth role of its own, and one entry on each."""
    databases = {"shop": {"host": "db1"}, "crm": {"host": "db2", "dbname": "sales"}}
    data = hosts("db2", pgbouncer_databases=databases, services=[])
    data["db2"] |= {"pgbouncer_auth_role": "pgbouncer_auth_db2", "postgresql_port": 5433}
    return declaration.read(data, {"databases": ["db1", "db2"], "poolers": ["pool1"]})


def test_old_pooler_looks_verifiers_up_in_the_clients_own_database():
    ini = parse_ini(config("pool2", BOOKWORM).ini)
    assert set(ini.databases) == {"tracksolid_db", "tracksolid_db_session", "tracksolid-archive"}
    assert "auth_dbname" not in ini.settings
    assert ini.settings["auth_user"] == "pgbouncer_auth"
    assert "max_prepared_statements" not in ini.settings  # a default of ours that 1.18 would not start with


@pytest.mark.parametrize("version", NEWER, ids=str)
def test_newer_pooler_has_one_small_entry_for_lookups(version):
    ini = parse_ini(config("pool1", version).ini)
    assert ini.settings["auth_dbname"] == "pgbouncer_auth"
    assert ini.databases["pgbouncer_auth"] == {
        "host": "192.0.2.11",
        "port": "5432",
        "dbname": "postgres",
        "pool_size": "2",
        "reserve_pool_size" if version >= TRIXIE else "reserve_pool": "0",
        "max_db_connections": "2",
        "auth_user": "pgbouncer_auth",
        "auth_dbname": "pgbouncer_auth",  # a client that connects to it is looked up on its own server
    }
    assert ini.settings["max_prepared_statements"] == "200"


@pytest.mark.parametrize(("version", "name"), [(BOOKWORM, "reserve_pool"), (TRIXIE, "reserve_pool_size")], ids=str)
@pytest.mark.parametrize("written", ["reserve_pool", "reserve_pool_size"])
def test_reserve_of_an_entry_is_spelled_as_the_version_reads_it(version, name, written):
    shop = {"host": "db1", "dbname": "tracksolid_db", "pool_size": 7, written: 3}
    made = config("pool1", version, pgbouncer_databases={"shop": shop})
    line = parse_ini(made.ini).databases["shop"]
    assert {key: value for key, value in line.items() if key.startswith("reserve")} == {name: "3"}
    assert line["max_db_connections"] == "10"  # one full pool and its reserve


@pytest.mark.parametrize("version", [BOOKWORM, *NEWER], ids=str)
@pytest.mark.parametrize(
    ("keys", "settings", "limit"),
    [
        ({}, {}, 25),  # default_pool_size 20 + reserve 5
        ({"max_db_connections": 9}, {}, 9),
        ({"max_db_connections": "9"}, {}, 9),
        ({"pool_size": 4}, {}, 9),
        ({"pool_size": 4}, {"reserve_pool_size": 0}, 4),
        ({}, {"max_db_connections": 30}, 30),
    ],
    ids=str,
)
def test_every_entry_has_a_limit(version, keys, settings, limit):
    made = config("pool1", version, pgbouncer_databases={"shop": {"host": "db1", **keys}}, pgbouncer_settings=settings)
    assert parse_ini(made.ini).databases["shop"]["max_db_connections"] == str(limit)


def test_second_server_is_asked_with_its_own_role():
    made = pooler_config(two_servers(), "pool1", TRIXIE)
    ini = parse_ini(made.ini)
    assert ini.databases["crm"]["auth_user"] == ini.databases["crm"]["auth_dbname"] == "pgbouncer_auth_db2"
    assert (ini.databases["crm"]["dbname"], ini.databases["crm"]["port"]) == ("sales", "5433")
    assert "auth_user" not in ini.databases["shop"]
    assert {"pgbouncer_auth", "pgbouncer_auth_db2"} <= set(ini.databases)
    old = parse_ini(pooler_config(two_servers(), "pool1", BOOKWORM).ini)
    assert old.databases["crm"]["auth_user"] == "pgbouncer_auth_db2"
    assert set(old.databases) == {"shop", "crm"}


def test_userlist_holds_the_poolers_own_logins_and_nobody_else():
    assert set(pooler_config(two_servers(), "pool1", TRIXIE).userlist) == {"pgbouncer_auth", "pgbouncer_auth_db2"}


@pytest.mark.parametrize("version", [BOOKWORM, *NEWER], ids=str)
def test_without_auth_query_nothing_is_asked_and_the_declared_users_log_in(version):
    users = {"worker": {"verifier_from": "db1"}, "anna": {"password_command": ["vault"]}}
    made = config("pool1", version, pgbouncer_auth_query=False, pgbouncer_auth_users=users)
    ini = parse_ini(made.ini)
    assert [key for key in ini.settings if key.startswith("auth")] == ["auth_file", "auth_type"]
    assert set(ini.databases) == {"tracksolid_db", "tracksolid_db_session", "tracksolid-archive"}
    assert set(made.userlist) == {"pgbouncer_probe", "worker", "anna"}


def test_role_in_the_userlist_may_have_a_limit_on_an_old_pooler():
    limit = {"worker": {"max_user_connections": 4}}
    users = {"worker": {"verifier_from": "db1"}}
    made = config("pool2", BOOKWORM, pgbouncer_users=limit, pgbouncer_auth_users=users)
    assert parse_ini(made.ini).users == {"worker": {"max_user_connections": "4"}}


def test_console_users_of_a_version_that_cannot_look_them_up_are_refused():
    anna = {"pgbouncer_settings": {"admin_users": "anna"}}
    assert config("pool1", TRIXIE, **anna).settings["admin_users"] == "anna"
    with pytest.raises(Refused, match=r"admin_users names anna, who is not in userlist.txt: PgBouncer 1\.18\.0 looks"):
        config("pool2", BOOKWORM, **anna)
    known = {"pgbouncer_auth_users": {"anna": {"password_command": ["vault"]}}}
    assert config("pool2", BOOKWORM, **anna, **known).settings["admin_users"] == "anna"


def test_files_hold_no_secret_and_the_probe_gets_its_servers_own():
    made = pooler_config(two_servers(), "pool1", TRIXIE)
    services = made.probe_services({"db1": "canary-1", "db2": "canary-2"})
    assert {keys["dbname"]: keys["password"] for keys in services.values()} == {"shop": "canary-1", "crm": "canary-2"}
    assert "canary" not in made.ini + made.service_file + repr(made)


@pytest.mark.parametrize(
    ("listen_addr", "address"),
    [
        ("*", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.1"),
        ("::", "::1"),
        ("192.0.2.21", "192.0.2.21"),
        (["192.0.2.21", "127.0.0.1"], "192.0.2.21"),
        ("192.0.2.21, 127.0.0.1", "192.0.2.21"),
        ("", "/var/run/postgresql"),
    ],
    ids=str,
)
def test_probe_reaches_the_pooler_where_it_listens(listen_addr, address):
    assert config("pool1", pgbouncer_settings={"listen_addr": listen_addr}).login_address == address


@given(
    clients=st.integers(1, 100_000), size=st.integers(1, 500), reserve=st.integers(0, 100), entries=st.integers(1, 8)
)
def test_open_files_are_enough_for_every_client_and_server(clients, size, reserve, entries):
    shop = {"host": "db1", "pool_size": size, "reserve_pool_size": reserve}
    made = config(
        "pool1",
        pgbouncer_settings={"max_client_conn": clients},
        pgbouncer_databases={f"shop{number}": shop for number in range(entries)},
    )
    assert made.open_files_need >= clients + entries * (size + reserve)
    assert made.open_files * 4 >= made.open_files_need * 5
    limit = next(line for line in made.service_file.splitlines() if line.startswith("LimitNOFILE="))
    soft, hard = limit.removeprefix("LimitNOFILE=").split(":")
    assert made.open_files == int(soft) <= int(hard)


def test_equal_declarations_give_equal_bytes():
    assert config("pool1").ini == config("pool1").ini
    entries = hosts()["pool1"]["pgbouncer_databases"]
    assert config("pool1", pgbouncer_databases=dict(reversed(entries.items()))).ini == config("pool1").ini


def test_users_have_lines_from_the_version_that_can():
    changes = {"pgbouncer_users": {"grafana_ro": {"max_user_connections": 3}}}
    assert parse_ini(config("pool1", TRIXIE, **changes).ini).users == {"grafana_ro": {"max_user_connections": "3"}}
    with pytest.raises(Refused, match="stops asking auth_query"):
        pooler_config(lab(**changes), "pool1", BOOKWORM)


def test_package_below_the_operators_minimum_is_refused_with_both_versions():
    with pytest.raises(Refused, match=r"PgBouncer 1\.18\.0 is older than pgbouncer_minimum_version = 1\.24\.1"):
        config("pool2", BOOKWORM, pgbouncer_minimum_version="1.24.1")
    assert config("pool1", TRIXIE, pgbouncer_minimum_version="1.24.1").version == TRIXIE


def test_another_version_than_the_declared_one_is_refused_unless_the_whole_package_is_pinned():
    with pytest.raises(Refused, match=r"PgBouncer 1\.24\.1 is not the declared pgbouncer_version = 1\.26\.1"):
        config("pool1", TRIXIE, pgbouncer_version="1.26.1")
    # A pinned one is brought by the deploy, which installs it first.
    assert config("pool1", TRIXIE, pgbouncer_version="1.26.1-1.pgdg13+1").version == TRIXIE


def test_a_floor_with_a_package_revision_is_refused():
    with pytest.raises(Refused, match="the floor is a version of PgBouncer itself"):
        config("pool1", TRIXIE, pgbouncer_minimum_version="1.24.1-1+deb13u2")


@pytest.mark.parametrize("key", ["auth_user", "auth_query", "auth_dbname"])
def test_an_entry_does_not_say_how_verifiers_are_looked_up(key: str):
    with pytest.raises(Refused, match=f"{key} is Poolward's own to write"):
        config("pool1", FORKY, pgbouncer_databases={"shop": {"host": "db1", key: "other"}})
