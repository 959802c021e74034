"""The order of a deploy over several hosts, and where it stops: by pyinfra's own command on simulated hosts."""

from __future__ import annotations

import pytest

POOLERS = ("pool1", "pool2")
DATABASE_SIDE = {"make_secrets", "run_sql", "write_hba"}
CONFIGURATION = ["stage", "stage", "stage", "try_candidate", "switch", "confirm"]


def test_every_stage_ends_on_all_hosts_before_the_next_begins(first):
    stages = [0 if script == "install" else 1 if script in DATABASE_SIDE else 2 for _, script in first.changes]
    assert stages == sorted(stages)
    assert [stages.count(stage) for stage in range(3)] == [2, 4, 2 * len(CONFIGURATION)]


def test_groups_interleave_but_for_the_line_between_two_stages(deploy, monkeypatch):
    groups = "tests/fake/deploys/two_groups.py"
    assert deploy(script=groups).operations == ["database 1", "pooler 1", "database 2", "pooler 2", "database 3"]
    monkeypatch.setenv("POOLWARD_STAGE", "1")
    assert deploy(script=groups).operations == [
        "database 1",
        "database 2",
        "database 3",
        "stage",
        "pooler 1",
        "pooler 2",
    ]


def test_stages_are_divided_on_every_host(first):
    names = [name.removeprefix("PgBouncer | ") for name in first.operations]
    assert names.index("Every pooler has its package") == 1
    assert names.index("Every database knows its poolers") == 3
    assert names[-1] == "Every pooler is proved"


def test_everything_is_read_before_anything_is_changed(first):
    before = set(first.log[: first.log.index(first.changes[0])])
    assert before == {("pool1", "observe_pooler"), ("pool2", "observe_pooler"), ("db1", "observe_server")}


def test_poolers_are_changed_one_by_one_each_proved_before_the_next(first):
    configured = [(host, script) for host, script in first.changes if script in CONFIGURATION]
    assert configured == [(host, script) for host in POOLERS for script in CONFIGURATION]
    proofs = [(host, script) for host, script in first.log if script in ("login", "switch")]
    assert proofs == [(host, script) for host in POOLERS for script in ("switch", "login")]


def test_run_on_hosts_that_are_as_declared_changes_nothing(deploy):
    run = deploy("--json", deployed=True)
    assert run.returncode == 0, run.stderr
    assert (run.changes, run.changed) == ([], 0)
    assert {host for host, script in run.log if script == "login"} == set(POOLERS)


def test_another_version_of_a_running_pooler_comes_with_its_own_turn(deploy):
    run = deploy("--data", "pgbouncer_version=1.24.1-9", deployed=True)
    assert run.returncode == 0, run.stderr
    told = [(host, script) for host, script in run.log if script in ("install", "login")]
    assert told == [("pool1", "install"), ("pool1", "login"), ("pool2", "install"), ("pool2", "login")]


def test_application_hosts_are_never_spoken_to(first):
    assert {host for host, _ in first.log} == {"db1", *POOLERS}


# what goes wrong where → what may have been changed by then, and the words the operator reads
FAILURES = {
    "installation on one pooler": ({"pool2": {"install": "fail"}}, {"install"}, "could not install PgBouncer"),
    "secrets": ({"db1": {"make_secrets": "fail"}}, {"install"}, "own secrets"),
    "database side": ({"db1": {"run_sql": "fail"}}, {"install", "make_secrets"}, "could not set up postgres"),
}  # fmt: skip


@pytest.mark.parametrize("failure", FAILURES)
def test_failing_host_stops_the_run_on_all(deploy, failure):
    faults, done_before, words = FAILURES[failure]
    run = deploy(faults=faults)
    failing = {script for scripts in faults.values() for script in scripts}
    assert run.returncode == 1
    assert words in run.stderr
    assert {script for _, script in run.changes} == done_before | failing
    assert "Traceback" not in run.stderr


def test_pooler_whose_candidate_is_refused_is_not_switched_and_the_next_not_touched(deploy):
    run = deploy(faults={"pool1": {"try_candidate": "fail"}})
    assert run.returncode == 1
    assert "its own PgBouncer refuses the new configuration" in run.stderr
    assert [script for host, script in run.changes if host == "pool1"][-2:] == ["try_candidate", "unstage"]
    assert [script for host, script in run.changes if host == "pool2"] == ["install"]


def test_pooler_that_is_not_proved_is_taken_back_and_the_next_not_touched(deploy):
    run = deploy(faults={"pool1": {"proof": "fail"}})
    assert run.returncode == 1
    assert "The probe cannot log in through @fake/pool1" in run.stderr
    assert [script for host, script in run.changes if host == "pool1"][-2:] == ["switch", "take_back"]
    assert [script for host, script in run.changes if host == "pool2"] == ["install"]


def test_switch_that_fails_is_not_proved_nor_confirmed(deploy):
    run = deploy(faults={"pool1": {"switch": "fail"}})
    assert run.returncode == 1
    assert [script for host, script in run.log if host == "pool1"][-1] == "switch"


@pytest.mark.parametrize(
    ("host", "script", "fault", "deployed"),
    [
        ("pool2", "observe_pooler", "cut", False),
        ("pool2", "observe_pooler", "cut", True),
        ("pool2", "observe_pooler", "empty", True),
        ("pool2", "observe_pooler", "fail", True),
        ("db1", "observe_server", "cut", False),
        ("db1", "observe_server", "empty", True),
    ],
)
def test_host_that_cannot_be_read_stops_before_any_change(deploy, host, script, fault, deployed):
    run = deploy(deployed=deployed, faults={host: {script: fault}})
    assert run.returncode == 1
    assert run.changes == []
    assert "no host was changed" in run.stderr
    assert host in run.stderr
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize("fault", ["cut", "empty"])
def test_secrets_that_cannot_be_read_are_not_taken_for_missing_ones(deploy, fault):
    run = deploy(deployed=True, faults={"db1": {"secrets": fault}})
    assert run.returncode == 1
    assert run.changes == []


def test_limit_touches_the_named_pooler_and_the_database_it_needs(deploy):
    run = deploy("--limit", "@fake/pool1")
    assert run.returncode == 0, run.stderr
    assert [script for host, script in run.changes if host == "pool1"] == ["install", *CONFIGURATION]
    assert {script for host, script in run.changes if host == "db1"} == {"make_secrets", "run_sql"}
    assert not [script for host, script in run.changes if host == "pool2"]


def test_no_output_mode_shows_a_secret(deploy, first):
    loud = deploy("-vvv", "--debug", "--diff")
    assert "tracksolid_db" in loud.stderr
    assert "canary" not in first.stdout + first.stderr + loud.stdout + loud.stderr
