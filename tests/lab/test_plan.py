"""`poolward plan` and `poolward size` on the deployed lab: what they say, how they exit, that nothing changes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from lab.state import State
from lab.topology import REPOSITORY, Lab, host_named
from tests.lab.support import INVENTORY, console, on, psql, pyinfra, running_config

pytestmark = pytest.mark.usefixtures("as_declared")


def poolward(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("poolward")), *arguments]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=False)


def document(*arguments: str) -> tuple[int, dict[str, Any]]:
    done = poolward(*arguments, "--json")
    return done.returncode, json.loads(done.stdout)


def test_nothing_to_do_exits_0_with_the_bill(lab: Lab) -> None:
    code, said = document("plan", INVENTORY)
    assert (code, said["changes"]) == (0, [])
    bill = said["bills"]["db1"]
    reserved, stays_direct = int(psql(lab, "SHOW superuser_reserved_connections")), 4
    assert bill["left"] == int(psql(lab, "SHOW max_connections")) - reserved - stays_direct
    assert bill["fits"]
    assert "Nothing to do" in poolward("plan", INVENTORY).stdout


@pytest.fixture
def drifted(lab: Lab) -> Iterator[None]:
    """A value typed on the console, a file nobody reloaded, and an entry's limit changed."""
    console(lab, "pool1", "SET query_wait_timeout = 99")
    on(lab, "pool2", "sed -i 's/^reserve_pool_timeout = .*/reserve_pool_timeout = 7/' /etc/pgbouncer/pgbouncer.ini")
    yield
    assert pyinfra().returncode == 0


@pytest.mark.usefixtures("drifted")
def test_drift_is_named_with_old_and_new_value_and_what_it_takes_and_nothing_is_changed(lab: Lab) -> None:
    code, said = document("plan", INVENTORY)
    assert code == 2
    found = {(change["where"], change["what"]): change for change in said["changes"]}
    typed = found["pool1", "query_wait_timeout"]
    assert (typed["is_now"], typed["will_be"]) == ("99", "15")
    assert "reload" in typed["effect"]
    assert ("pool2", "pgbouncer.ini") in found
    assert running_config(lab, "pool1")["query_wait_timeout"] == "99"


def test_a_worst_case_that_does_not_fit_is_refused_with_the_bill_unless_the_operator_insists(lab: Lab) -> None:
    before = running_config(lab, "pool1")
    data = {"pgbouncer_databases": {"tracksolid_db": {"host": "db1", "max_db_connections": 60}}}
    refused = pyinfra(data=data)
    assert refused.returncode == 1
    assert "the poolers may open 122 connections, and 93 are left for them" in refused.text
    assert "Smallest change that fits: max_db_connections = 45 on tracksolid_db" in refused.text
    assert running_config(lab, "pool1") == before
    insisted = pyinfra(data={**data, "pgbouncer_allow_overcommit": True})
    assert insisted.returncode == 0, insisted.text
    assert "It goes on because of pgbouncer_allow_overcommit" in insisted.text
    assert pyinfra().returncode == 0


def test_size_counts_a_transaction_held_open_as_a_connection_needed(lab: Lab) -> None:
    held = 5
    password = State(lab).role_passwords()["dashboard"]
    address = lab.address(host_named("pool1"))
    arguments = {"host": address, "port": 6432, "dbname": "tracksolid_db", "user": "dashboard", "password": password}
    clients = [psycopg.connect(**arguments) for _ in range(held)]
    try:
        for client in clients:
            client.execute("SELECT 1")
        code, said = document("size", INVENTORY, "--window", "2", "--interval", "0.2")
    finally:
        for client in clients:
            client.close()
    assert code == 0
    need = next(need for need in said["servers"]["db1"] if need["role"] == "dashboard")
    assert need["peak_in_use"] == held
    assert need["pool_size"] == 8


@pytest.mark.parametrize(
    "arguments",
    [
        ["plan"],
        ["plan", "inventories/typo.py"],
        ["plan", INVENTORY, "--limit", "typo"],
        ["size", INVENTORY, "--window", "0"],
    ],
)
def test_errors_exit_1_with_a_sentence(arguments: list[str]) -> None:
    done = poolward(*arguments)
    assert done.returncode == 1
    assert done.stderr.strip()
    assert "Traceback" not in done.stderr
