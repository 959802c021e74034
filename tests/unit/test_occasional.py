"""What one run of a job proves, and what it does not."""

from __future__ import annotations

import pytest

from poolward.observed import Endpoint, Unreadable
from poolward.observed.occasion import Occasion
from poolward.occasional import judged

APP, DB, POOL = "10.0.0.31", "10.0.0.11", "10.0.0.21"
SERVERS = {5432}


def ran(*sockets: str, status: int = 0, timed_out: bool = False) -> Occasion:
    """A run, with its sockets as the host printed them."""
    end = ["timeout"] if timed_out else []
    return Occasion.parse(["@sockets", *sockets, "@ran", str(status), "1.250", *end, "@end"])


def socket(port: int, to: str, whose: str = "own", state: str = "ESTAB") -> str:
    peer = f"{to}:{5432 if to == DB else 6432}"
    return f"{state}\t{APP}:{port}\t{peer}\t{whose}\t{port - 40000}\tpython3 /srv/report.py"


def clients(*ports: int) -> set[Endpoint]:
    return {one.local for one in ran(*(socket(port, POOL) for port in ports)).own}


def test_a_run_that_went_to_the_pooler_alone_is_proved() -> None:
    found = judged("pooled", ran(socket(40001, POOL), socket(40002, DB, "-")), clients(40001), SERVERS)
    assert (len(found.direct), len(found.pooled), found.problems, found.doubts) == (0, 1, (), ())


def test_a_session_past_the_pooler_is_named_with_process_and_addresses() -> None:
    found = judged("pooled", ran(socket(40001, POOL), socket(40002, DB)), clients(40001), SERVERS)
    assert found.problems == (
        "when it ran, 1 of its sessions connected directly (pid 2 python3 /srv/report.py at 10.0.0.31:40002 → "
        "10.0.0.11:5432)",
    )


def test_a_pooler_on_the_servers_port_is_told_by_its_own_list() -> None:
    run = ran(socket(40001, POOL).replace("6432", "5432"))
    assert not judged("pooled", run, clients(40001), SERVERS).problems
    assert judged("pooled", run, set(), SERVERS).problems


@pytest.mark.parametrize(
    ("status", "timed_out", "said"),
    [(3, False, "its run failed after 1.2 s: it ended with 3"), (1, True, "its run took longer than 1 s")],
)
def test_a_run_that_failed_or_was_ended_is_a_problem(status: int, timed_out: bool, said: str) -> None:
    found = judged("pooled", ran(socket(40001, POOL), status=status, timed_out=timed_out), clients(40001), SERVERS)
    assert [problem.startswith(said) for problem in found.problems] == [True]


def test_what_nobody_saw_is_not_proved_and_no_failure() -> None:
    nothing = judged("pooled", ran(), set(), SERVERS)
    assert (nothing.problems, nothing.doubts) == ((), ("it ran, and nobody saw a session of it through the pooler",))
    unnamed = judged("pooled", ran(socket(40001, POOL)), set(), SERVERS)
    assert not unnamed.problems
    assert unnamed.doubts[0].startswith("no pooler names 1 of its connections (pid 1 ")


def test_a_connection_too_short_to_see_whose_it_was_leaves_a_doubt_unless_somebody_held_it() -> None:
    short = socket(40009, DB, "-", "TIME-WAIT")
    run = ran(socket(40001, POOL), short)
    assert "too short to see whose they were (10.0.0.31:40009 → 10.0.0.11:5432)" in str(
        judged("pooled", run, clients(40001), SERVERS).doubts
    )
    held = ran(socket(40001, POOL), socket(40009, DB, "-"), short)
    assert judged("pooled", held, clients(40001), SERVERS).doubts == ()
    # One that was over before the run began is told apart.
    old = ran(socket(40001, POOL), socket(40009, DB, "-", "BEFORE"), short)
    assert judged("pooled", old, clients(40001), SERVERS).doubts == ()


def test_the_way_back_is_proved_the_other_way_round() -> None:
    good = judged("direct", ran(socket(40001, DB)), set(), SERVERS)
    assert (good.problems, good.doubts) == ((), ())
    bad = judged("direct", ran(socket(40001, DB), socket(40002, POOL)), clients(40002), SERVERS)
    assert bad.problems[0].startswith("when it ran, 1 of its sessions went through the pooler (pid 2 ")


def test_a_run_that_breaks_off_is_no_run() -> None:
    with pytest.raises(Unreadable):
        Occasion.parse(["@sockets", socket(40001, POOL)])
    with pytest.raises(Unreadable):
        Occasion.parse(["@sockets", "@ran", "0", "@end"])
