"""Two PostgreSQL servers behind the same poolers: every entry, every password and every rule belongs to one of them."""

from __future__ import annotations

import itertools
import json
import random
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from lab.state import State
from lab.topology import REPOSITORY, Lab, host_named
from lab.wait import until
from tests.lab.bare_client import admitted
from tests.lab.support import client, console, deployed, main_pid, on, psql, purge_database, pyinfra, running_config

pytestmark = [pytest.mark.pool3, pytest.mark.usefixtures("two_servers")]

POOLERS = ("pool1", "pool2", "pool3")
SERVERS = {"db1": "pgbouncer_auth", "db2": "pgbouncer_auth_db2"}
# entry → server, database and limit; the two servers have a database of the same name
ENTRIES = {
    "tracksolid_db": ("db1", "tracksolid_db", 12),
    "tracksolid-archive": ("db1", "tracksolid-archive", 6),
    "billing": ("db2", "billing", 12),
    "billing_archive": ("db2", "tracksolid-archive", 6),
}
NOT_ON_POOL2 = "billing_archive"
NAMESAKES = ("worker", "dashboard")
REFUSED = ("SASL authentication failed", "password authentication failed")

INVENTORY = """\
from lab.inventory import lab_hosts

_entries = {entries!r}
_on_pool2 = {{name: keys for name, keys in _entries.items() if name != {not_on_pool2!r}}}
databases = lab_hosts("databases")
poolers = [
    (name, {{**data, "pgbouncer_databases": _on_pool2 if name == "pool2" else _entries}})
    for name, data in lab_hosts("poolers")
]
apps = lab_hosts("apps")
"""


@pytest.fixture(scope="module")
def inventory(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An inventory of the name `lab`, so that group_data/lab.py counts, with the entries of both servers."""
    entries = {
        name: {"host": server, "dbname": database, "max_db_connections": limit}
        for name, (server, database, limit) in ENTRIES.items()
    }
    path = tmp_path_factory.mktemp("inventories") / "lab.py"
    path.write_text(INVENTORY.format(entries=entries, not_on_pool2=NOT_ON_POOL2))
    return str(path)


@pytest.fixture(scope="module")
def two_servers(lab: Lab, pool3: str, db2: str, inventory: str) -> Iterator[None]:  # noqa: ARG001 - a fixture asks for another by a parameter alone
    """Both servers behind all poolers, db2 for the first time; afterwards no pooler has anything on it."""
    purge_database(lab, db2)
    deployed(inventory=inventory)
    yield
    deployed()


def entries_of(pooler: str) -> list[str]:
    return [name for name in ENTRIES if (pooler, name) != ("pool2", NOT_ON_POOL2)]


def passwords(lab: Lab) -> dict[str, dict[str, str]]:
    """By server, by role."""
    return {server: State(lab).role_passwords(server) for server in SERVERS}


def where(connection: psycopg.Connection[tuple[object, ...]]) -> str:
    found = connection.execute("SELECT session_user || ' ' || current_database() || ' ' || host(inet_server_addr())")
    return str((found.fetchone() or ("",))[0])


def at_home(lab: Lab, role: str, entry: str) -> str:
    """What `where` tells on the server and in the database of an entry."""
    server, database, _ = ENTRIES[entry]
    return f"{role} {database} {lab.address(host_named(server))}"


def outcome(lab: Lab, pooler: str, role: str, entry: str, password: str) -> str:
    try:
        with client(lab, pooler, role, entry, password=password) as connection:
            return where(connection)
    except psycopg.OperationalError as error:
        return str(error).rsplit("FATAL:", 1)[-1].strip()


def access(lab: Lab, server: str) -> dict[str, set[str]]:
    """PostgreSQL's own reading of its rules for the poolers: the databases by address."""
    rows = psql(
        lab,
        "SELECT address || ' ' || unnest(database) FROM pg_hba_file_rules "
        "WHERE user_name = '{all}' AND address IS NOT NULL AND NOT 'all' = ANY (database)",
        server=server,
    )
    found: dict[str, set[str]] = {}
    for address, database in (row.split(" ", 1) for row in rows.splitlines()):
        found.setdefault(address, set()).add(database)
    return found


def expected_access(lab: Lab, server: str) -> dict[str, set[str]]:
    databases = {
        pooler: {ENTRIES[entry][1] for entry in entries_of(pooler) if ENTRIES[entry][0] == server} for pooler in POOLERS
    }
    # pool2's version is not declared, so it may turn out to ask in the database postgres as the others do
    return {lab.address(host_named(pooler)): names | {"postgres"} for pooler, names in databases.items()}


def poolward(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("poolward")), *arguments]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("pooler", POOLERS)
def test_one_role_name_has_each_servers_own_password_and_not_the_others(lab: Lab, pooler: str) -> None:
    known = passwords(lab)
    cases = list(itertools.product(NAMESAKES, entries_of(pooler), SERVERS)) * 6
    random.Random(1).shuffle(cases)  # every order: what one login leaves behind in PgBouncer must not serve another
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda case: outcome(lab, pooler, case[0], case[1], known[case[2]][case[0]]), cases))
    for (role, entry, server), told in zip(cases, found, strict=True):
        if server == ENTRIES[entry][0]:
            assert told == at_home(lab, role, entry)
        else:
            assert told in REFUSED, (role, entry, server)


@pytest.mark.parametrize("pooler", POOLERS)
def test_namesakes_stay_on_their_own_server_when_its_connections_are_made_anew(lab: Lab, pooler: str) -> None:
    known = passwords(lab)
    clients = {
        entry: client(lab, pooler, "worker", entry, password=known[ENTRIES[entry][0]]["worker"])
        for entry in entries_of(pooler)
    }
    try:
        for connection in clients.values():
            connection.autocommit = True
        for _ in range(2):
            console(lab, pooler, "RECONNECT")
            told = {entry: where(connection) for entry, connection in reversed(clients.items())}
            assert told == {entry: at_home(lab, "worker", entry) for entry in clients}
    finally:
        for connection in clients.values():
            connection.close()


@pytest.mark.parametrize("pooler", POOLERS)
def test_a_role_of_one_server_alone_gets_into_that_servers_entries_only(lab: Lab, pooler: str) -> None:
    known, address = passwords(lab), lab.address(host_named(pooler))
    for role, home in (("invoicing", "db2"), ("scheduler", "db1"), ("postgres", "db1")):
        # where it is at home first, so that PgBouncer has seen the name before it is tried elsewhere
        for entry in sorted(entries_of(pooler), key=lambda entry: ENTRIES[entry][0] != home):
            for password in (known[home][role], "wrong", ""):
                may = ENTRIES[entry][0] == home and password == known[home][role]
                assert admitted(address, role, entry, password) is may, (role, entry)


def test_each_server_has_its_own_auth_role_and_the_function_where_it_is_asked(lab: Lab) -> None:
    asked = {
        "db1": {"postgres", "tracksolid_db", "tracksolid-archive"},
        "db2": {"postgres", "billing"},  # pool2 asks inside of its entries, and has the archive of db2 not
    }
    for server, own in SERVERS.items():
        roles = psql(lab, "SELECT rolname FROM pg_roles WHERE rolname ~ '^pgbouncer_' ORDER BY 1", server=server)
        assert roles.splitlines() == [own, "pgbouncer_probe"]
        present = "SELECT to_regprocedure('pgbouncer.user_lookup(text)') IS NOT NULL"
        databases = psql(lab, "SELECT datname FROM pg_database WHERE datallowconn", server=server).splitlines()
        assert {name for name in databases if psql(lab, present, name, server) == "t"} == asked[server]


def test_both_servers_let_the_poolers_into_their_own_databases(lab: Lab) -> None:
    for server in SERVERS:
        assert access(lab, server) == expected_access(lab, server)


def test_the_second_run_changes_nothing_and_finds_nothing(inventory: str) -> None:
    totals = deployed(inventory=inventory).totals
    assert (totals["success"], totals["error"]) == (0, 0)
    verified = poolward("verify", inventory, "--json")
    assert verified.returncode == 0, verified.stdout
    looked_at = {finding["where"] for finding in json.loads(verified.stdout)["findings"]}
    assert looked_at == {*SERVERS, *POOLERS}


def test_every_server_has_a_bill_of_its_own(inventory: str) -> None:
    planned = poolward("plan", inventory, "--json")
    assert planned.returncode == 0, planned.stdout
    bills = json.loads(planned.stdout)["bills"]
    # 12 and 6 per pooler, and 2 for lookups where they have an entry of their own
    assert {name: bill["worst_case"] for name, bill in bills.items()} == {"db1": 20 + 18 + 20, "db2": 20 + 12 + 20}


def test_a_run_of_one_pooler_mends_what_that_one_needs_on_both_servers(lab: Lab, inventory: str) -> None:
    other = main_pid(lab, "pool2")
    console(lab, "pool1", "SET query_wait_timeout = 99")
    console(lab, "pool2", "SET query_wait_timeout = 99")
    for server, role in SERVERS.items():
        psql(lab, f"ALTER ROLE {role} CREATEDB", server=server)
    run = pyinfra("--limit", "pool1", inventory=inventory)
    assert run.returncode == 0, run.text
    assert running_config(lab, "pool1")["query_wait_timeout"] == "15"
    assert running_config(lab, "pool2")["query_wait_timeout"] == "99"
    assert main_pid(lab, "pool2") == other
    for server, role in SERVERS.items():
        assert psql(lab, f"SELECT rolcreatedb FROM pg_roles WHERE rolname = '{role}'", server=server) == "f"
    console(lab, "pool2", "RELOAD")


def test_a_run_of_one_server_leaves_the_other_alone(lab: Lab, inventory: str) -> None:
    for server in SERVERS:
        psql(lab, "DROP FUNCTION pgbouncer.user_lookup(text)", "postgres", server)
    run = pyinfra("--limit", "db2", inventory=inventory)
    assert run.returncode == 0, run.text
    present = "SELECT to_regprocedure('pgbouncer.user_lookup(text)') IS NOT NULL"
    assert [psql(lab, present, "postgres", server) for server in SERVERS] == ["f", "t"]
    # Through pool1 only those get in whose server can be asked.
    told = {
        entry: outcome(lab, "pool1", "worker", entry, passwords(lab)[ENTRIES[entry][0]]["worker"]) for entry in ENTRIES
    }
    assert [told[entry] == at_home(lab, "worker", entry) for entry in ENTRIES] == [False, False, True, True]
    assert pyinfra("--limit", "db1", inventory=inventory).returncode == 0
    assert outcome(lab, "pool1", "worker", "tracksolid_db", passwords(lab)["db1"]["worker"]) == at_home(
        lab, "worker", "tracksolid_db"
    )


@pytest.fixture
def db2_down(lab: Lab) -> Iterator[None]:
    on(lab, "db2", "systemctl stop postgresql@17-main.service")
    yield
    on(lab, "db2", "systemctl start postgresql@17-main.service")
    known = passwords(lab)["db2"]["worker"]
    for pooler in POOLERS:
        until(
            f"{pooler} reaches db2 again",
            lambda pooler=pooler: outcome(lab, pooler, "worker", "billing", known) == at_home(lab, "worker", "billing"),
            timeout=20,
        )


@pytest.mark.usefixtures("db2_down")
def test_a_server_that_is_down_stops_the_deploy_by_name_and_not_the_other_servers_clients(
    lab: Lab, inventory: str
) -> None:
    before = {pooler: running_config(lab, pooler) for pooler in POOLERS}
    rules = access(lab, "db1")
    run = pyinfra(data={"pgbouncer_defaults": {**_defaults(), "query_wait_timeout": 14}}, inventory=inventory)
    assert run.returncode == 1
    assert "Not everything could be read; no host was changed." in run.text
    assert "server db2: PostgreSQL could not be asked" in run.text
    assert "server db1" not in run.text
    assert {pooler: running_config(lab, pooler) for pooler in POOLERS} == before
    assert access(lab, "db1") == rules
    known = passwords(lab)
    for pooler in POOLERS:
        told = outcome(lab, pooler, "worker", "tracksolid_db", known["db1"]["worker"])
        assert told == at_home(lab, "worker", "tracksolid_db")


def _defaults() -> dict[str, object]:
    from tests.unit.samples import group_data

    defaults: dict[str, object] = group_data("all")["pgbouncer_defaults"]
    return defaults


@pytest.fixture
def two_ways(lab: Lab, inventory: str) -> Iterator[str]:
    """pool1 reaches db2 from a second address, as a host with two networks does; db1 as before."""
    second, db2 = "10.255.255.21", lab.address(host_named("db2"))
    pool1 = lab.address(host_named("pool1"))
    on(lab, "pool1", f"ip address add {second}/32 dev eth0; ip route add {db2}/32 dev eth0 src {second}")
    on(lab, "db2", f"ip route add {second}/32 via {pool1}")
    yield second
    # a connection whose address is gone would hang instead of ending
    console(lab, "pool1", "RECONNECT")
    console(lab, "pool1", "WAIT_CLOSE")
    on(lab, "pool1", f"ip route del {db2}/32; ip address del {second}/32 dev eth0")
    on(lab, "db2", f"ip route del {second}/32")
    assert pyinfra("--limit", "pool1", inventory=inventory).returncode == 0
    assert access(lab, "db2") == expected_access(lab, "db2")


def test_each_server_lets_a_pooler_in_from_the_address_it_comes_from_there(
    lab: Lab, inventory: str, two_ways: str
) -> None:
    console(lab, "pool1", "RECONNECT")
    run = pyinfra("--limit", "pool1", inventory=inventory)
    assert run.returncode == 0, run.text
    first = lab.address(host_named("pool1"))
    assert [first in access(lab, server) for server in SERVERS] == [True, False]
    assert [two_ways in access(lab, server) for server in SERVERS] == [False, True]
    for entry in ENTRIES:
        told = outcome(lab, "pool1", "worker", entry, passwords(lab)[ENTRIES[entry][0]]["worker"])
        assert told == at_home(lab, "worker", entry)


def test_an_entry_that_moves_to_the_other_server_is_announced_as_what_it_is(lab: Lab, inventory: str) -> None:
    known = passwords(lab)
    moved = {
        name: {"host": server, "dbname": database, "max_db_connections": limit}
        for name, (server, database, limit) in {**ENTRIES, "billing": ("db1", "tracksolid_db", 12)}.items()
    }
    with client(lab, "pool1", "worker", "billing", password=known["db2"]["worker"]) as connection:
        connection.autocommit = True
        assert where(connection) == at_home(lab, "worker", "billing")
        run = pyinfra("--limit", "pool1", data={"pgbouncer_databases": moved}, inventory=inventory)
        assert run.returncode == 0, run.text
        assert "clients of billing have to log in again, unless the new server is a copy" in run.text
        # It showed db2 who it is, and cannot do so to db1.
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            connection.execute("SELECT 1")
    assert outcome(lab, "pool1", "worker", "billing", known["db2"]["worker"]) in REFUSED
    until(
        "the entry serves db1's worker",
        lambda: (
            outcome(lab, "pool1", "worker", "billing", known["db1"]["worker"])
            == at_home(lab, "worker", "tracksolid_db")
        ),
        timeout=10,
    )


def test_entries_taken_out_again_shut_the_poolers_out_of_that_server(lab: Lab) -> None:
    planned = poolward("plan", "inventories/lab.py", "--json")
    assert planned.returncode == 2
    lines = [change for change in json.loads(planned.stdout)["changes"] if change["where"] == "db2"]
    assert [change["what"] for change in lines] == ["pg_hba.conf"] * len(POOLERS)
    # One pooler after the other: what the others still need stays.
    assert pyinfra("--limit", "pool1").returncode == 0
    assert access(lab, "db2").keys() == {lab.address(host_named(pooler)) for pooler in POOLERS[1:]}
    deployed()
    assert access(lab, "db2") == {}
    assert "poolward" not in on(lab, "db2", "cat /etc/postgresql/17/main/pg_hba.conf")
    assert poolward("verify", "inventories/lab.py").returncode == 0
    for pooler in POOLERS:
        address = lab.address(host_named(pooler))
        assert not admitted(address, "worker", "billing", passwords(lab)["db2"]["worker"])
