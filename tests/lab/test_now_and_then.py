"""A job, which lives now and then: its move is proved by a run that is watched, or ends as not proved."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.topology import Lab
from lab.wait import until
from tests.lab import occasional_support as samples
from tests.lab.occasional_support import JOB_UNIT, cutover, does, job_file, rollback, standing
from tests.lab.support import console, on

pytestmark = pytest.mark.usefixtures("as_declared", "job")


@pytest.fixture(scope="module")
def job(lab: Lab) -> Iterator[None]:
    samples.install_job(lab)
    yield
    samples.uninstall_job(lab)


@pytest.fixture(scope="module")
def allowed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An inventory that gives leave to run it."""
    return samples.inventory(tmp_path_factory.mktemp("inventory"), samples.JOB_RUNS)


@pytest.fixture(scope="module")
def forbidden(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An inventory that does not."""
    return samples.inventory(tmp_path_factory.mktemp("inventory"), samples.JOB_DECLARED)


@pytest.fixture
def original(lab: Lab) -> Iterator[str]:
    """Its settings before a test, and after."""
    does(lab, "")
    found = job_file(lab)
    yield found
    does(lab, "")
    assert job_file(lab) == found


def runs(lab: Lab) -> int:
    """How often it was started, as systemd has it in its journal."""
    return int(on(lab, "app2", f"journalctl -u {JOB_UNIT} -o cat | grep -c '^Starting' || true"))


@pytest.mark.usefixtures("original")
def test_it_is_run_once_through_the_pooler_and_once_more_on_its_way_back(lab: Lab, allowed: str) -> None:
    before = runs(lab)
    run = cutover(allowed)
    assert run.returncode == 0, run.text
    assert "✓ ran it" in run.text
    assert "direct 0, pooled 1, ended with 0" in run.text
    assert runs(lab) == before + 1
    assert standing(allowed, "nightly_report") == ("pooled", 0, 0)
    back = rollback(allowed)
    assert back.returncode == 0, back.text
    assert "direct 1, pooled 0, ended with 0" in back.text
    assert runs(lab) == before + 2


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("two", "1 of its sessions connected directly (pid "),
        ("fails", "Its run failed after "),
    ],
)
def test_a_run_that_is_not_as_it_should_be_takes_the_move_back(
    lab: Lab, allowed: str, original: str, how: str, said: str
) -> None:
    does(lab, how)
    run = cutover(allowed)
    assert run.returncode == 1
    assert "TAKEN BACK  nightly_report: " in run.text
    assert said in run.text
    if how == "two":
        assert "/usr/bin/python3 /srv/nightly_report.py at 10." in run.text
    assert job_file(lab) == original


@pytest.mark.usefixtures("original")
def test_a_job_that_nobody_may_run_is_not_proved_until_its_sessions_are_seen(lab: Lab, forbidden: str) -> None:
    before = runs(lab)
    run = cutover(forbidden)
    assert run.returncode == 0, run.text
    assert "NOT PROVED: nightly_report" in run.text
    assert runs(lab) == before
    assert standing(forbidden, "nightly_report") == ("pooled, not proved", 0, 0)
    # Somebody runs it, and the next run sees that.
    does(lab, "long")
    on(lab, "app2", f"systemctl start --no-block {JOB_UNIT}")
    until("it has its session", lambda: "tracksolid_db" in console(lab, "pool2", "SHOW CLIENTS"), timeout=20)
    run = cutover(forbidden)
    assert run.returncode == 0, run.text
    assert "✓ proved: direct 0, pooled 1" in run.text
    assert "NOT PROVED" not in run.text
    does(lab, "")
    assert rollback(forbidden).returncode == 0
