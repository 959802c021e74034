"""What journals tell: moves and how they ended, wherever a run was killed; counts, errors, and what to do next."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from poolward import cutover_report, journal
from poolward.errors import PoolwardError
from poolward.history import summary
from poolward.history.records import Move, Result
from tests.unit.histories import ENDED, START, STOPPED, event, events, look, moved, of, told


def only(*made: dict[str, Any]) -> Move:
    [move] = of(*made).history.moves
    return move


def taken_back() -> list[dict[str, Any]]:
    """As a cutover writes it: the way back is proved too, before it says that it took the service back."""
    return [
        *moved()[:3],
        look(4, "shop", direct=2, pooled=6, longest_wait=0.4),
        event(40, "failed", "shop", reason="2 still connect directly", hint="Look at REPORT_URL."),
        event(41, "taking_back", "shop", path="/etc/shop/env"),
        event(42, "restarted", "shop", seconds=1.1),
        look(43, "shop", direct=8, pooled=0),
        event(46, "proved", "shop", soak=3, direct=8, pooled=0),
        event(47, "taken_back", "shop", reason="2 still connect directly", direct=8, pooled=0, seconds=7),
    ]


def test_a_move_that_ends_well() -> None:
    move = only(*moved(), event(71, "look", "shop", longest_wait=9.0))
    assert move.result is Result.MOVED
    assert (str(move.before), str(move.after)) == ("8 direct, 0 pooled", "0 direct, 8 pooled")
    assert (move.soak, move.seconds, [restart.seconds for restart in move.restarts]) == (60, 70.0, [0.9])
    assert move.settings == "DATABASE_URL in /etc/shop/env"
    assert move.happened == START + 2


def test_a_move_that_was_taken_back() -> None:
    move = only(*taken_back())
    assert move.result is Result.TAKEN_BACK
    assert str(move.after) == "8 direct, 0 pooled"
    assert (move.happened, move.returned) == (START + 2, START + 42)
    assert move.seconds == 47
    assert move.soak is None, "it was never proved where it was to go"
    assert move.reasons == ("2 still connect directly",), "said once"
    assert move.longest_wait == 0.4


@pytest.mark.parametrize("lines", range(1, 11))
def test_a_run_killed_anywhere_in_a_move_that_fails_is_never_told_as_moved(lines: int) -> None:
    made = taken_back()[:lines]
    found = of(*made)
    expected = Result.OPEN if lines < 5 else Result.FAILED if lines < 9 else Result.TAKEN_BACK
    assert found.history.moves[0].result is expected
    assert not found.history.clean
    assert found.verdict.startswith("Not done")
    assert found.steps[0].commands == ("poolward run cutover inventories/shop.py",)


@pytest.mark.parametrize("lines", range(1, 4))
def test_a_run_killed_in_a_move_that_would_end_well_is_not_finished(lines: int) -> None:
    found = of(*moved()[:lines])
    assert found.history.moves[0].result is Result.OPEN
    assert found.history.moves[0].touched == (lines > 1)
    assert "touched nothing" in found.stories[0][0] or lines > 1
    assert "killed" in found.headlines[0]


def test_a_proof_that_could_not_be_written_down_is_no_move() -> None:
    move = only(*moved(), event(71, "failed", "shop", reason="the host did not answer"))
    assert move.result is Result.FAILED


def switched_unseen(**facts: Any) -> list[dict[str, Any]]:
    """A job that nobody may run, switched."""
    reason = "nobody has seen it run since its settings were switched."
    return [*moved(**facts)[:2], event(9, "not_proved", "shop", reason=reason, direct=0, pooled=0, **facts)]


def test_a_job_that_was_not_seen_at_work_is_neither_moved_nor_failed_and_something_is_left_to_do() -> None:
    found = of(*switched_unseen(), event(10, "ended", left=[], ok=True))
    (move,) = found.history.moves
    assert (move.result, found.history.clean) == (Result.NOT_PROVED, False)
    assert found.verdict == "Not done: 1 not proved (shop)."
    assert "and while it has sessions, the same run again" in found.steps[0].text
    # A later run has seen it.
    assert of(*switched_unseen(), *moved(20)).history.standing["shop"].result is Result.MOVED


def test_a_job_that_was_not_seen_at_work_on_its_way_back_is_not_told_as_proved() -> None:
    found = of(*switched_unseen(what="rollback"), event(10, "ended", what="rollback", left=[], ok=True))
    assert "proved" not in found.verdict.replace("not proved", "")
    assert "by its settings; nobody has seen it run with them since" in found.steps[0].text


def test_a_switch_that_the_host_never_began_touched_nothing() -> None:
    made = [*taken_back()[:2], event(5, "switched", "shop", path="/etc/shop/env", variables=["DATABASE_URL"])]
    found = of(*made, event(6, "failed", "shop", reason="app1: the connection broke"), event(60, "untouched", "shop"))
    (move,) = found.history.moves
    assert (move.result, move.touched) == (Result.FAILED, False)


def test_a_service_that_is_stuck_says_what_to_do_by_hand() -> None:
    commands = ["cp --preserve=all /etc/shop/env.before-poolward /etc/shop/env", "systemctl restart shop.service"]
    made = [*taken_back()[:6], event(44, "stuck", "shop", reason="both ways failed", commands=commands)]
    found = of(*made, event(45, "ended", moved=[], left=["shop"], ok=False))
    assert found.history.moves[0].result is Result.STUCK
    assert found.history.moves[0].reasons == ("2 still connect directly", "both ways failed")
    assert found.steps[0].commands == tuple(commands)
    assert "as root on app1" in found.steps[0].text


def test_a_service_that_moves_twice_in_a_run_has_moved_twice() -> None:
    found = of(*taken_back(), *moved(100))
    assert [move.result for move in found.history.moves] == [Result.TAKEN_BACK, Result.MOVED]
    assert found.history.trouble == [], "the second move mended the first"


def test_a_rollback() -> None:
    back: dict[str, Any] = {"run": "r2", "what": "rollback"}
    made = [
        event(0, "begun", "shop", host="app1", pooler="pool1", entry="shop", direct=0, pooled=8, **back),
        event(2, "restarted", "shop", seconds=0.9, **back),
        event(9, "proved", "shop", seconds=9, soak=3, direct=8, pooled=0, **back),
        event(10, "ended", ok=True, left=["worker"], **back),
    ]
    found = of(*made)
    assert found.history.moves[0].result is Result.MOVED_BACK
    assert found.rows[0].route == ("pool1/shop", "the server")
    assert found.history.clean, "services that were not to go back are not left over"
    assert found.verdict == "Done: 1 service moved back and proved."
    assert of(*made[:2], event(5, "failed", "shop", **back)).history.moves[0].result is Result.FAILED


def test_two_runs_in_order_or_not_once_or_twice_are_one_history() -> None:
    kept_by_a_host = [line for line in events(ENDED) if line.get("service") == "gateway"]
    texts = set()
    for paths in itertools.permutations([STOPPED, ENDED]):
        journals = [*map(journal.read, paths), kept_by_a_host]
        found = summary.of(journals)
        texts.add((found.verdict, *found.headlines, found.load, found.history.events))
    assert len(texts) == 1
    assert texts.pop()[-1] == len(STOPPED.read_text().splitlines()) + len(ENDED.read_text().splitlines())


def test_what_a_stopped_run_leaves_to_do() -> None:
    found = told(STOPPED)
    assert not found.history.clean
    assert [move.service for move in found.history.trouble] == ["dashboard_api"]
    assert found.history.left == ["worker", "cron", "gateway", "grafana", "scheduler"]
    assert found.steps[0].text.startswith("Mend the reason given for dashboard_api")


def test_the_run_that_goes_on_ends_it() -> None:
    found = told()
    assert found.history.clean
    assert found.verdict == "Done: 8 services moved and proved, 1 stays direct (analytics_mcp)."
    assert found.direct == {"analytics_mcp": "session-level SET and options; a minor consumer"}
    assert [line.partition(":")[0] for line in found.skipped] == ["webhook_receiver", "ingest_worker"]


def test_what_a_run_skips_is_said_wherever_the_journal_says_it() -> None:
    started = event(
        -1, "started", skipped={"worker": "already pooled", "reports": "direct"}, left_direct={"reports": "SET"}
    )
    found = of(started, *moved(), event(80, "skipped", "cron", reason="already pooled"))
    assert found.skipped == ["worker: skipped, already pooled", "cron: skipped, already pooled"]
    assert found.direct == {"reports": "SET"}


def test_a_killed_run_leaves_what_it_did_not_reach() -> None:
    started = event(-1, "started", order=["shop", "worker", "cron"])
    found = of(started, *moved())
    assert found.history.left == ["worker", "cron"]
    assert not found.history.clean


def test_backends_before_during_and_after_are_those_of_the_looks() -> None:
    """By hand: the lines of the journal themselves."""
    lines = [line for line in events() if line["step"] == "look"]
    found = told()
    assert found.backends.before == lines[0]["backends"] == 87
    assert found.backends.most == max(line["backends"] for line in lines[1:-1])
    assert found.backends.after == lines[-1]["backends"] == 25
    for role in found.roles:
        assert role.before == lines[0]["by_role"][role.role]
        assert role.most == max(line["by_role"].get(role.role, 0) for line in lines[1:-1])
        assert role.after == lines[-1]["by_role"].get(role.role, 0)
    assert sum(role.before or 0 for role in found.roles) == 87


def test_what_nobody_counted_before_the_first_change_is_unknown_and_not_zero() -> None:
    found = of(*moved(), look(80, by_role={"shop": 2}, backends=3))
    assert (found.backends.before, found.backends.after) == (None, 3)
    assert [(role.before, role.after) for role in found.roles] == [(None, 2)]
    assert "before" not in found.load


def test_errors_are_counted_from_the_first_look_and_anew_after_a_restart() -> None:
    counters = [{"53300": 40}, {"53300": 43}, {"53300": 1, "57P01": 2}, {"53300": 45, "57P01": 2}]
    looks = [look(at, errors={"shop": codes}) for at, codes in zip((-5, 1, 10, 20), counters, strict=True)]
    [errors] = of(*moved(), *looks).errors
    # 3 until the restart at 2 s; then 1 and 2 of the new process, and 44 more, although 45 is more than 43
    assert errors.by_code == {"53300": 3 + 1 + 44, "57P01": 2}
    [only_more] = of(*moved(), look(-5, errors={"shop": {"x": 5}}), look(10, errors={"shop": {"x": 6}})).errors
    assert only_more.by_code == {"x": 6}, "all six are of the process that was started in between"
    [fewer] = of(look(0, errors={"shop": {"x": 5}}), look(1, errors={"shop": {"x": 2}})).errors
    assert fewer.by_code == {"x": 2}, "it was restarted by somebody else"
    [late] = of(*moved(), look(10, errors={"shop": {"x": 4}})).errors
    assert late.by_code == {"x": 4}, "the first look came after the restart"


def test_a_service_that_reports_no_errors_and_one_that_does_not_report_differ() -> None:
    found = of(*moved(), look(10, errors={"shop": {}}))
    assert found.errors_told == ["shop: no error"]
    assert of(*moved(), look(10)).errors_told == []


@pytest.mark.parametrize(
    ("clients", "servers", "ratio", "flat"),
    [(80, 16, 5.0, False), (6, 6, 1.0, True), (1, 1, 1.0, False), (0, 0, None, False)],
)
def test_a_pooler_that_multiplexes_nothing_is_pointed_out(
    clients: int, servers: int, ratio: float | None, flat: bool
) -> None:
    found = of(*moved(), look(80, clients={"pool1": clients}, servers={"pool1": servers}))
    [pooler] = found.poolers
    assert (pooler.ratio, pooler.flat) == (ratio, flat)
    assert any("saves nothing" in step.text for step in found.steps) == flat


def test_journals_of_two_inventories_are_no_history() -> None:
    with pytest.raises(PoolwardError, match="different inventories"):
        of(*moved(), event(0, "begun", "shop", inventory="inventories/staging.py"))
    of(*moved(), event(0, "begun", "shop", inventory="/srv/poolward/inventories/shop.py"))


def test_nothing_to_tell_is_an_error() -> None:
    with pytest.raises(PoolwardError, match="no event"):
        of()


def test_a_journal_is_read_up_to_where_it_was_cut_off(tmp_path: Path) -> None:
    whole = 'é\u2028\x85 of "shop"'
    path = tmp_path / "a.jsonl"
    written = journal.Journal("cutover", "inventories/shop.py", tmp_path)
    lines = [written.write("failed", "shop", reason=whole), written.write("failed", "shop", reason=whole)]
    text = "\n".join(lines).encode()
    for cut in range(len(lines[0].encode()) + 1, len(text)):
        path.write_bytes(text[:cut])
        assert [of["reason"] for of in journal.read(path)] == [whole]


def test_half_a_line_that_a_full_disk_left_hides_nothing_after_it_and_is_told(tmp_path: Path) -> None:
    written = journal.Journal("cutover", "inventories/shop.py", tmp_path)
    written.write("begun", "shop")
    whole = written.path.read_bytes()
    written.path.write_bytes(whole + whole[:30])
    written.write("proved", "shop")
    assert [event["step"] for event in journal.read(written.path)] == ["begun", "proved"]
    report = cutover_report.make([written.path])
    assert report.summary.headlines[1:] == [
        f"1 line of {written.path.name} cannot be read, as where the disk was full: something is missing here."
    ]
    assert report.document()["unreadable"] == {written.path.name: 1}
    assert report.summary.headlines[1] in report.page.read_text()
