"""Inventories that can be deployed, and what is read from them; those that cannot are in test_refusals."""

from __future__ import annotations

import pytest

from poolward import declaration
from poolward.errors import Refused
from poolward.settings import Version
from tests.unit.samples import ADDRESSES, GROUPS, TRIXIE, hosts, lab


def test_servers_and_poolers_of_the_lab():
    fleet = lab()
    server = fleet.servers["db1"]
    assert (server.address, server.port, server.auth_database) == (ADDRESSES["db1"], 5432, "postgres")
    assert (server.auth_role, server.allow_superusers, server.manage_hba) == ("pgbouncer_auth", ("postgres",), True)
    assert {name: pooler.address for name, pooler in fleet.poolers.items()} == {
        name: ADDRESSES[name] for name in GROUPS["poolers"]
    }
    assert [entry.dbname for entry in fleet.poolers["pool1"].entries] == [
        "tracksolid_db", "tracksolid_db", "tracksolid-archive"
    ]  # fmt: skip
    assert [service.name for service in fleet.services][:2] == ["webhook_receiver", "ingest_worker"]


@pytest.mark.parametrize(
    ("data", "address"),
    [
        ({"postgresql_address": "pg.internal"}, "pg.internal"),
        ({"ssh_hostname": "192.0.2.50"}, "192.0.2.50"),
        ({"ssh_hostname": None}, "db1"),
    ],
    ids=str,
)
def test_address_of_a_server(data, address):
    changed = hosts()
    changed["db1"] |= data
    assert declaration.read(changed, GROUPS).servers["db1"].address == address


@pytest.mark.parametrize(
    ("data", "address"),
    [
        ({"address": "192.0.2.77"}, "192.0.2.77"),
        ({"ssh_hostname": "pool1.example"}, None),  # looked up on the host itself
        ({"address": "2001:DB8::1"}, "2001:db8::1"),
    ],
    ids=str,
)
def test_address_a_pooler_comes_from(data, address):
    changed = hosts()
    changed["pool1"] |= data
    assert declaration.read(changed, GROUPS).poolers["pool1"].address == address


@pytest.mark.parametrize(
    ("written", "version", "package"),
    [(None, None, None), ("1.24.1", TRIXIE, None), ("1.18.0-1+deb12u1", Version(1, 18, 0), "1.18.0-1+deb12u1")],
)
def test_version_to_render_for_and_package_to_install(written, version, package):
    pooler = lab(pgbouncer_version=written).poolers["pool1"]
    assert (pooler.declared_version, pooler.package_version) == (version, package)


def test_operators_words_win_over_defaults_and_those_over_pgbouncers():
    pooler = lab(pgbouncer_settings={"query_wait_timeout": 5}).poolers["pool1"]
    assert pooler.effective("query_wait_timeout") == 5
    assert pooler.effective("server_login_retry") == 3
    assert pooler.effective("server_lifetime") == "3600"
    assert pooler.effective("server_tls_sslmode") == "prefer"


def test_one_host_may_differ_from_its_group():
    changed = hosts()
    changed["pool2"]["pgbouncer_settings"] = {"max_client_conn": 50}
    fleet = declaration.read(changed, GROUPS)
    assert fleet.poolers["pool1"].effective("max_client_conn") == 2000
    assert fleet.poolers["pool2"].effective("max_client_conn") == 50


def test_servers_of_a_pooler_are_those_it_has_entries_on():
    changed = hosts("db2", services=[])
    changed["db2"]["pgbouncer_auth_role"] = "pgbouncer_auth_db2"
    changed["pool2"]["pgbouncer_databases"] = {"crm": {"host": "db2"}}
    fleet = declaration.read(changed, {"databases": ["db1", "db2"], "poolers": ["pool1", "pool2"]})
    assert [server.name for server in fleet.servers_of(["pool1"])] == ["db1"]
    assert [server.name for server in fleet.servers_of(["pool2", "pool1"])] == ["db1", "db2"]
    assert fleet.pooled_databases == {"db1": ("tracksolid-archive", "tracksolid_db"), "db2": ("crm",)}


def test_hosts_outside_the_two_groups_are_not_judged():
    changed = hosts()
    changed["app1"]["pgbouncer_typo"] = 1
    read = declaration.read(changed, GROUPS)
    assert (read.servers, read.poolers) == (lab().servers, lab().poolers)


def test_problems_of_different_hosts_come_together_and_in_order():
    changed = hosts(pgbouncer_settings={"pool_mode": "transactoin"})
    changed["pool2"] |= {"pgbouncer_databases": {"*": {"host": "db9"}}, "pgbouncer_version": "latest"}
    with pytest.raises(Refused) as caught:
        declaration.read(changed, GROUPS)
    places = [problem.where for problem in caught.value.problems]
    assert places == sorted(places)
    assert len([place for place in places if place.startswith("pool1")]) == 1
    assert len([place for place in places if place.startswith("pool2")]) == 4
