"""A service that only its operator's commands know moves as every other does."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from lab.topology import Lab, host_named
from lab.wait import until
from tests.lab import occasional_support as samples
from tests.lab.occasional_support import breaks, cutover, kept, ledger_sessions, ledger_settings, rollback, standing
from tests.lab.support import on

pytestmark = pytest.mark.usefixtures("as_declared")

DIRECT, POOLED = (2, 0), (0, 2)


@pytest.fixture(scope="module")
def inventory(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    samples.install_ledger(lab)
    until("it has its sessions", lambda: ledger_sessions(lab) == DIRECT, timeout=20)
    yield samples.inventory(tmp_path_factory.mktemp("inventory"), samples.LEDGER_DECLARED)
    samples.uninstall_ledger(lab)


@pytest.fixture
def original(lab: Lab, inventory: str) -> Iterator[str]:
    """Its settings before a test; afterwards they are so again, and nothing of a move is left."""
    found = ledger_settings(lab)
    yield found
    breaks(lab, "")
    if kept(lab, "app1"):
        assert rollback(inventory).returncode == 0
    assert (ledger_settings(lab), kept(lab, "app1")) == (found, [])


@pytest.mark.parametrize(
    ("how", "said"),
    [("fails", "write_command ended with 3"), ("tears", "read_command prints something else than was written")],
)
def test_settings_that_cannot_be_written_are_as_they_were(
    lab: Lab, inventory: str, original: str, how: str, said: str
) -> None:
    process = samples.ledger_pid(lab)
    breaks(lab, how)
    run = cutover(inventory)
    assert run.returncode == 1
    assert said in run.text
    if how == "fails":
        assert "TAKEN BACK" in run.text
        assert samples.ledger_pid(lab) == process
    else:
        # Nor can they be put back: the commands to do it by hand are said, and the next run does it.
        assert "And taking it back failed" in run.text
        assert "/usr/local/bin/ledger set </var/lib/poolward/services/ledger_sync/before" in run.text
        breaks(lab, "")
        assert rollback(inventory).returncode == 0
    assert (ledger_settings(lab), ledger_sessions(lab)) == (original, DIRECT)


def test_killed_between_its_settings_and_its_restart_it_is_finished_by_the_next_run_and_comes_back_byte_by_byte(
    lab: Lab, inventory: str, original: str
) -> None:
    started = time.time()
    with samples.moving(inventory) as run:
        until("its settings are written", lambda: ledger_settings(lab) != original, 60, interval=0.02)
        run.kill()
    journal = map(json.loads, on(lab, "app1", "cat /var/lib/poolward/journal.jsonl").splitlines())
    steps = [event["step"] for event in journal if event["at"] > started]
    assert steps[-1:] in (["switched"], ["restarting"])
    again = cutover(inventory)
    assert again.returncode == 0, again.text
    pooler = lab.address(host_named("pool1"))
    assert ledger_settings(lab) == original.replace("host=db1", f"host={pooler}").replace("port=5432", "port=6432")
    assert ledger_sessions(lab) == POOLED
    assert standing(inventory, "ledger_sync") == ("pooled", *POOLED)
    # Root's alone, with the former settings and without a mark.
    listed = on(lab, "app1", "cd /var/lib/poolward/services; stat -c '%A %U %n' ledger_sync ledger_sync/before")
    assert listed.splitlines() == ["drwx------ root ledger_sync", "-rw------- root ledger_sync/before"]
    assert kept(lab, "app1") == ["before", "changed"]
    assert rollback(inventory).returncode == 0
    assert (ledger_settings(lab), ledger_sessions(lab)) == (original, DIRECT)
