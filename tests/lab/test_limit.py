"""A run of one host does what that host needs, on the database host too, and harms no other."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.topology import Lab, host_named
from tests.lab.support import client, deployed, main_pid, on, psql, purge_database, purge_pooler, pyinfra

pytestmark = pytest.mark.usefixtures("as_declared")

HBA = "/etc/postgresql/17/main/pg_hba.conf"


@pytest.fixture
def from_nothing(lab: Lab) -> Iterator[None]:
    purge_pooler(lab, "pool1")
    purge_database(lab)
    yield
    deployed()


def hba_lines(lab: Lab) -> list[str]:
    return [line for line in on(lab, "db1", f"cat {HBA}").splitlines() if "scram-sha-256  # pool" in line]


@pytest.mark.usefixtures("from_nothing")
def test_one_pooler_is_deployed_from_nothing_with_what_it_needs_on_the_server(lab: Lab):
    other = main_pid(lab, "pool2")
    run = pyinfra("--limit", "pool1")
    assert run.returncode == 0, run.text
    client(lab, "pool1").close()
    assert "Connected (its state is needed)" in run.text
    assert "[pool2]" not in run.text
    assert "[app1]" not in run.text
    assert main_pid(lab, "pool2") == other
    # The lines of the whole fleet, because pg_hba.conf is the server's: pool2 has to be let in whenever its turn comes.
    assert {line.split()[3] for line in hba_lines(lab)} >= {
        f"{lab.address(host_named(name))}/32" for name in ("pool1", "pool2")
    }
    again = pyinfra("--limit", "pool1", "--json")
    assert again.returncode == 0
    assert again.totals["success"] == again.totals["error"] == 0


@pytest.mark.usefixtures("from_nothing")
def test_the_database_host_alone_is_set_up_for_all_poolers(lab: Lab):
    run = pyinfra("--limit", "db1")
    assert run.returncode == 0, run.text
    assert on(lab, "pool1", "systemctl is-active pgbouncer.service || true").strip() == "inactive"
    present = "SELECT to_regprocedure('pgbouncer.user_lookup(text)') IS NOT NULL"
    # In each database for pool2, whose version asks there; in postgres for pool1.
    assert [psql(lab, present, name) for name in ("postgres", "tracksolid_db", "tracksolid-archive")] == ["t"] * 3
    assert len(hba_lines(lab)) >= 2


@pytest.mark.parametrize("options", [("--limit", "app1"), ("--limit", "apps")])
def test_a_run_without_pooler_or_database_is_an_error(options: tuple[str, ...]):
    run = pyinfra(*options)
    assert run.returncode == 1
    assert "--limit leaves neither a pooler nor a database host in the run." in run.text
    assert "Starting operation" not in run.text


def test_one_pooler_does_not_shut_out_another_whose_address_the_inventory_does_not_tell(lab: Lab):
    before = hba_lines(lab)
    assert len(before) >= 2
    # A name instead of an address, as an inventory has it: a pooler's is then known only when it is in the run.
    for pooler in ("pool1", "pool2"):
        run = pyinfra("--limit", pooler, "--json", data={"address": "pooler.internal"})
        assert run.returncode == 0, run.stderr
        assert hba_lines(lab) == before
        assert run.totals["success"] == 0
