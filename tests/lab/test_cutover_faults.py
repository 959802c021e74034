"""What breaks while a service moves, at every step: it ends wholly moved or wholly back, after one more run at most.

Each fault strikes from outside, when a journal on the service's host or on this side comes to a step; the product knows
nothing of it. What cannot mean anything is left out by reason:

- a full disk, a unit that fails to start or ends at once, one that comes up sick, one that dies in the soak: these wait
  for the step that meets them, so there is one place for each; a service that still connects directly is moved in
  test_cutover.py;
- a machine that died and a process that was killed leave the same behind on the hosts, but for the lease: the kill is
  struck everywhere, the machine dies once before and once after the restart;
- a pooler that stays away is missed by the proof alone, so between the login and the soak all places are one; that
  it dies and comes back is struck at each;
- before the login nothing was done to the service's host, and that is the only change since: one place stands for both.

All orders of kills, faults and goals that do not need a host are in tests/unit/test_moves.py.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from lab.counting import Counted, counting
from lab.topology import Lab
from lab.wait import until
from tests.lab import cutover_support as support
from tests.lab import fault_support as faults
from tests.lab.cutover_support import CUTOVER, ROLLBACK, beside, cutover, direct, rollback, settings_file
from tests.lab.fault_support import HOST, NAME, POOLER, UNIT, Original, Run, ledger, moving, reaches, whole
from tests.lab.support import main_pid, on, serves

pytestmark = [pytest.mark.usefixtures("as_declared", "all_direct"), pytest.mark.timeout(600)]

# Where a run can be struck: in the journal of its own machine, or (host) in that of the service's host. The soak begins
# with the first good look.
LOGIN, SWITCHED, RESTARTING, SOAK, SETTLED = "login", "host: switched", "host: restarting", "good look", "host: settled"
EVERYWHERE = (LOGIN, SWITCHED, RESTARTING, SOAK, SETTLED)


@pytest.fixture(scope="module")
def all_direct() -> Iterator[None]:
    assert rollback().returncode == 0
    yield
    assert rollback().returncode == 0


@pytest.fixture
def original(lab: Lab) -> Iterator[Original]:
    """The service as it is before the test: direct, with all its sessions; and afterwards again."""
    count = support.service_named(NAME).pool
    until("the service has all its sessions", lambda: direct(lab, NAME) == count, timeout=20)
    found = Original.of(lab)
    yield found
    if settings_file(lab, NAME)[1] != found.settings or beside(lab, NAME) != ["env"]:
        run = rollback(NAME)
        assert run.returncode == 0, run.text
    faults.balanced(lab)


def one_more(lab: Lab, original: Original, deploy: str) -> None:
    """One more run, to either end: the service is wholly there, the fleet free, and nobody else noticed."""
    with counting(lab) as counted:
        run = cutover(NAME, deploy=deploy)
        assert run.returncode == 0, run.text
        assert whole(lab, original) == ("pooled" if deploy == CUTOVER else "direct")
    assert faults.lease_is_free(lab)
    nobody_else_failed(counted)


def nobody_else_failed(counted: Counted) -> None:
    assert {name: dict(codes) for name, codes in counted.failed.items() if name != NAME and codes} == {}


def ended_whole(lab: Lab, original: Original, run: Run) -> str:
    """A run that came to its end by itself: moved, or taken back, and it says which."""
    said = run.wait()
    standing = whole(lab, original)
    assert (run.process.returncode == 0) == (standing == "pooled"), said
    assert ("TAKEN BACK" in said or "were not touched" in said) == (standing == "direct"), said
    assert faults.lease_is_free(lab)
    return said


@pytest.mark.parametrize(
    ("place", "then"),
    [
        (LOGIN, CUTOVER),
        (SWITCHED, ROLLBACK),
        (RESTARTING, CUTOVER),
        ("restarted", ROLLBACK),
        (SOAK, CUTOVER),
        (SETTLED, ROLLBACK),
    ],
)
def test_killed(lab: Lab, original: Original, place: str, then: str) -> None:
    with counting(lab) as counted, moving(lab, soak=3) as run:
        reaches(lab, run, place)
        run.kill()
    nobody_else_failed(counted)
    one_more(lab, original, then)


@pytest.mark.parametrize(("place", "then"), [(SWITCHED, CUTOVER), (RESTARTING, ROLLBACK)])
def test_killed_on_the_way_back(lab: Lab, original: Original, place: str, then: str) -> None:
    run = cutover(NAME)
    assert run.returncode == 0, run.text
    with moving(lab, ROLLBACK) as run:
        reaches(lab, run, place)
        run.kill()
    one_more(lab, original, then)


def test_killed_while_it_takes_back(lab: Lab, original: Original) -> None:
    with faults.drop_in(lab, f"ExecStartPre=+/bin/sh -c '! grep -q port=6432 /etc/{NAME}/env'"), moving(lab) as run:
        reaches(lab, run, "host: taking_back")
        run.kill()
    one_more(lab, original, CUTOVER)


@pytest.mark.parametrize(("place", "then"), [(SWITCHED, ROLLBACK), (SOAK, CUTOVER)])
def test_the_machine_of_the_operator_dies(lab: Lab, original: Original, place: str, then: str) -> None:
    """No packet of it arrives any more, and the next run comes from another machine: it waits for the lease to end."""
    with moving(lab, soak=5) as run:
        reaches(lab, run, place)
        with faults.cut_off(lab, HOST):
            run.kill()
    lease = "/var/lib/poolward/lease"
    on(lab, "db1", f"""sed -i 's/"machine": "[^"]*"/"machine": "gone"/' {lease}""")
    refused = cutover(NAME, deploy=then)
    assert refused.returncode == 1
    assert "Another run holds the fleet: " in refused.text
    assert "expires by itself in " in refused.text
    on(lab, "db1", f"sed -i '1s/^[0-9]*/1/' {lease}")  # two minutes later
    one_more(lab, original, then)


@pytest.mark.parametrize("place", EVERYWHERE)
def test_ssh_drops(lab: Lab, original: Original, place: str) -> None:
    with counting(lab) as counted, moving(lab, soak=3) as run:
        reaches(lab, run, place)
        faults.ssh_drops(lab, HOST)
        ended_whole(lab, original, run)
    nobody_else_failed(counted)


@pytest.mark.parametrize("place", [SWITCHED, SOAK])
def test_the_network_to_the_operator_is_cut_for_a_while(lab: Lab, original: Original, place: str) -> None:
    """Commands arrive and their answers do not; the run notices, waits, and comes to an end by itself."""
    with counting(lab) as counted, moving(lab, soak=3) as run:
        reaches(lab, run, place)
        with faults.cut_off(lab, HOST):
            until("the run waits", lambda: {"failed", "unread"} & set(run.steps()), timeout=60)
        ended_whole(lab, original, run)
    nobody_else_failed(counted)


@pytest.mark.parametrize("place", EVERYWHERE)
def test_the_host_of_the_service_loses_power(lab: Lab, original: Original, place: str) -> None:
    with moving(lab, soak=3) as run:
        reaches(lab, run, place)
        faults.host_loses_power(lab, HOST)
        ended_whole(lab, original, run)


def test_the_host_of_the_service_loses_power_before_the_mark(lab: Lab, original: Original) -> None:
    """What was kept for the way back is there, and nothing says of what."""
    with faults.slow_to_mark(lab), moving(lab) as run:
        until("the way back is kept", lambda: "env.before-poolward" in beside(lab, NAME), timeout=60, interval=0.1)
        assert "env.unproved-poolward" not in beside(lab, NAME)
        faults.host_loses_power(lab, HOST)
        assert "were not touched" in ended_whole(lab, original, run)


def test_a_rollback_needs_no_host_of_other_services(lab: Lab, original: Original) -> None:
    run = cutover(NAME)
    assert run.returncode == 0, run.text
    with faults.powered_off(lab, "app2", "gateway.service"):
        refused = rollback()
        assert refused.returncode == 1, refused.text
        assert "Without app2 there is a way back for: --data only=" in refused.text
        assert NAME in refused.text.partition("--data only=")[2].splitlines()[0].split(",")
        assert support.pooled(lab, NAME, POOLER), "nothing was changed"
        shown = faults.services()
        assert (shown["gateway"]["standing"], shown["gateway"]["direct"]) == ("unknown", None)
        assert "app2 cannot be reached" in shown["gateway"]["note"]
        assert shown[NAME]["standing"] == "pooled"
        run = rollback(NAME)
        assert run.returncode == 0, run.text
        assert "app2 cannot be reached: the way back leads past it." in run.text
    everybody_is_back(lab)
    assert whole(lab, original) == "direct"


def test_the_host_of_the_server_loses_power_in_the_soak(lab: Lab, original: Original) -> None:
    with moving(lab, soak=5) as run:
        reaches(lab, run, SOAK)
        faults.host_loses_power(lab, "db1")
        ended_whole(lab, original, run)
    everybody_is_back(lab)


@pytest.mark.parametrize("place", EVERYWHERE)
def test_the_pooler_dies_and_comes_back(lab: Lab, original: Original, place: str) -> None:
    """SIGKILL, and systemd starts it again: no acknowledged commit is lost, and no direct service notices."""
    with ledger(lab) as book, counting(lab) as counted, moving(lab, soak=3) as run:
        reaches(lab, run, place)
        struck = time.time()
        killed = main_pid(lab, POOLER)
        on(lab, POOLER, "systemctl kill -s KILL pgbouncer.service")
        until("another process runs", lambda: main_pid(lab, POOLER) not in ("0", killed), timeout=20)
        until("it serves again", lambda: serves(lab, POOLER), timeout=20)
        back = time.time()
        ended_whole(lab, original, run)
    nobody_else_failed(counted)
    assert all(struck - 1 <= at <= back + 5 for at in book.errors)


@pytest.mark.parametrize("place", [SWITCHED, SOAK])
def test_the_pooler_stays_away(lab: Lab, original: Original, place: str) -> None:
    """There is a way back without it."""
    with counting(lab) as counted, moving(lab, soak=3) as run:
        reaches(lab, run, place)
        on(lab, POOLER, "systemctl kill -s KILL pgbouncer.service; systemctl stop pgbouncer.service")
        try:
            said = run.wait()
            assert whole(lab, original) == "direct"
            assert run.process.returncode == 1, said
            assert "PgBouncer does not run on pool1" in said, said
        finally:
            on(lab, POOLER, "systemctl reset-failed pgbouncer.service; systemctl start pgbouncer.service")
            until("it serves again", lambda: serves(lab, POOLER), timeout=20)
    nobody_else_failed(counted)


def test_a_rollback_needs_no_pooler_host(lab: Lab, original: Original) -> None:
    run = cutover(NAME)
    assert run.returncode == 0, run.text
    with faults.powered_off(lab, POOLER):
        run = rollback(NAME)
        assert run.returncode == 0, run.text
        assert f"{POOLER} cannot be reached: the way back leads past it." in run.text
    assert whole(lab, original) == "direct"
    assert faults.lease_is_free(lab)


@pytest.mark.parametrize("place", EVERYWHERE)
def test_postgresql_restarts(lab: Lab, original: Original, place: str) -> None:
    """It hits every client, and only while it is away."""
    with ledger(lab) as book:
        with moving(lab, soak=3) as run:
            reaches(lab, run, place)
            struck = time.time()
            on(lab, "db1", "systemctl restart postgresql@17-main.service")
            back = time.time()
            ended_whole(lab, original, run)
        with counting(lab) as counted:
            healthy = [s.name for s in support.SERVICES if s.name != NAME]
            until("every service works again", lambda: set(healthy) <= worked(counted), timeout=30)
    everybody_is_back(lab)
    assert all(struck - 1 <= at <= back + 10 for at in book.errors)


def everybody_is_back(lab: Lab) -> None:
    """A service learns of each connection that the server's end has cost it when it uses that, one after the other."""
    others = [one for one in support.SERVICES if one.name != NAME]
    until("all have their sessions", lambda: all(direct(lab, one.name) == one.pool for one in others), timeout=60)


def worked(counted: Counted) -> set[str]:
    return {name for name, count in counted.succeeded.items() if count}


@pytest.mark.parametrize("pages", [0, 1, 2])
def test_the_disk_is_full_when_the_setting_is_written(lab: Lab, original: Original, pages: int) -> None:
    """Room for nothing, for the way back, for the mark as well: the settings stay, and the service is not restarted."""
    started = f"systemctl show {UNIT} -p MainPID --value"
    with counting(lab) as counted, faults.full_disk(lab, pages):
        pid = on(lab, HOST, started)
        run = cutover(NAME)
        assert run.returncode == 1
        assert "No space left on device" in run.text, run.text
        assert on(lab, HOST, started) == pid
        assert whole(lab, original) == "direct"
    assert faults.lease_is_free(lab)
    nobody_else_failed(counted)


AWKWARD = {
    "fails to start": f"ExecStartPre=+/bin/sh -c '! grep -q port=6432 /etc/{NAME}/env'",
    "starts and ends": (
        f"ExecStart=\nExecStart=/bin/sh -c 'if grep -q port=6432 /etc/{NAME}/env; then exit 1; fi; "
        "exec /usr/bin/python3 /usr/local/lib/lab/service.py'\nUser=root"
    ),
    "comes up sick": (
        f"ExecStart=\nExecStart=/bin/sh -c 'if grep -q port=6432 /etc/{NAME}/env; then export HEALTH_PORT=8999; fi; "
        "exec /usr/bin/python3 /usr/local/lib/lab/service.py'\nUser=root"
    ),
}


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("fails to start", "could not restart worker.service"),
        ("starts and ends", "It was restarted and does not run: worker.service is activating (auto-restart)."),
        ("comes up sick", "its health URL answers"),
    ],
)
def test_the_service_does_not_come_up(lab: Lab, original: Original, kind: str, reason: str) -> None:
    with counting(lab) as counted, faults.drop_in(lab, AWKWARD[kind]):
        run = cutover(NAME)
        assert run.returncode == 1
        assert "TAKEN BACK  worker: " in run.text
        assert reason in run.text, run.text
        assert whole(lab, original) == "direct"
    assert faults.lease_is_free(lab)
    nobody_else_failed(counted)


def test_the_service_dies_in_the_soak(lab: Lab, original: Original) -> None:
    """systemd starts it again, and it works; but it died."""
    with counting(lab) as counted, moving(lab, soak=4) as run:
        reaches(lab, run, SOAK)
        on(lab, HOST, f"systemctl kill -s KILL {UNIT}")
        said = ended_whole(lab, original, run)
    assert "TAKEN BACK  worker: " in said
    nobody_else_failed(counted)


def test_another_run_has_taken_the_fleet_over(lab: Lab, original: Original) -> None:
    """A run that was silent for too long finds the lease gone: it leaves the service to who has it now."""
    holder = {"who": "alice", "machine": "elsewhere", "boot": "x", "pid": 7, "started": "1", "why": "run a rollback"}
    line = json.dumps({**holder, "since": time.time()})
    with moving(lab, soak=45) as run:
        reaches(lab, run, SOAK)
        lease = "/var/lib/poolward/lease"
        on(lab, "db1", f"printf '%s other\\n%s\\n' $(($(date +%s) + 90)) '{line}' > {lease}")
        said = run.wait()
    assert run.process.returncode == 1
    assert "Another run has taken the fleet over: alice on elsewhere (pid 7)" in said
    assert "TAKEN BACK" not in said
    assert beside(lab, NAME) == ["env", "env.before-poolward", "env.unproved-poolward"]
    assert settings_file(lab, NAME)[1] == original.moved(lab)
    on(lab, "db1", f"rm {lease}")
    one_more(lab, original, ROLLBACK)
