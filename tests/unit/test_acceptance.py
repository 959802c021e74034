"""What one look at a moved service has to show, and what is not held against it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from poolward.acceptance import Sample, Terms, sample, unfit
from poolward.evidence import Census, DirectSession
from poolward.observed import Process, ServiceState
from poolward.observed.sessions import Backend, PooledClient, Sessions
from poolward.observed.sockets import Endpoint, Socket

RUNS = Process("web.service is active (running)", running=True, started=100.0, incarnation=100.0)
STATE = ServiceState("/etc/web/env", RUNS, None, None, None, "200")
ENTRIES = frozenset({("pool1", "shop")})
TERMS = {
    "pooled": Terms("pooled", 5.0, has_health=True, entries=ENTRIES),
    "direct": Terms("direct", 5.0, has_health=True),
}


def backend(pid: int, port: int) -> Backend:
    return Backend(pid, "shop", "app", "", Endpoint("10.0.0.31", port), "idle", False, 0.0, 10.0)


def direct(count: int) -> Census:
    ends = [Endpoint("10.0.0.31", 40000 + number) for number in range(count)]
    sockets = [Socket(7, "web.service", "web", end, Endpoint("10.0.0.11", 5432)) for end in ends]
    return Census(tuple(DirectSession("db1", backend(n, s.local.port), s) for n, s in enumerate(sockets)))


def pooled(count: int, entry: str = "shop", pooler: str = "pool1") -> Census:
    ends = [Endpoint("10.0.0.31", 41000 + number) for number in range(count)]
    return Census((), tuple(PooledClient(entry, "app", end, 0, "", False, 0.0, 6432, pooler) for end in ends))


def judged(
    goal: str, census: Census, *, backends: int = 30, held: int = 0, health: str = "200", **terms: Any
) -> Sample:
    sessions = Sessions(0.0, 97, tuple(backend(number, 50000 + number) for number in range(backends)))
    return sample(0.0, replace(TERMS[goal], **terms), replace(STATE, health=health), census, sessions, (), held)


@pytest.mark.parametrize("goal", ["pooled", "direct"])
def test_a_server_that_others_keep_over_its_limit_fails_neither_a_move_nor_its_way_back(goal: str) -> None:
    census = pooled(8) if goal == "pooled" else direct(8)
    assert judged(goal, census, backends=99, held=8, held_before=8).problems == ()


def test_a_move_that_itself_brings_the_server_over_its_limit_has_failed() -> None:
    (problem,) = judged("pooled", pooled(8), backends=99, held=12, held_before=8).problems
    assert "99 sessions, over the 97 for applications" in problem
    assert judged("pooled", pooled(8), backends=97, held=12, held_before=8).good


@pytest.mark.parametrize(
    ("health", "good"), [("200", True), ("204", True), ("302", False), ("503", False), ("no answer", False)]
)
def test_every_status_of_success_is_good_health(health: str, good: bool) -> None:
    assert judged("pooled", pooled(8), health=health).good is good


def test_a_way_back_is_accepted_without_what_was_lacking_before_the_move_and_nothing_else() -> None:
    ill = judged("direct", direct(8), health="503", healthy_before=False)
    assert (ill.good, ill.problems) == (False, ()), "it is waited for, and does not fail"
    assert ill.as_before == ("its health URL answers 503, and was not well before",)
    idle = judged("direct", Census(), seen_before=False)
    assert (idle.good, idle.problems) == (False, ())
    assert judged("direct", Census()).problems
    assert judged("direct", direct(8), health="503").problems
    assert judged("direct", pooled(1), seen_before=False).problems, "what goes through the pooler is not back"
    assert judged("pooled", pooled(8), health="503", healthy_before=False).problems
    assert judged("pooled", Census(), seen_before=False).problems


def refused(census: Census, health: str, backends: int = 30) -> str:
    sessions = Sessions(0.0, 97, tuple(backend(number, 50000 + number) for number in range(backends)))
    return unfit(TERMS["pooled"], replace(STATE, health=health), census, [sessions])


def test_what_no_proof_could_hold_for_is_refused_before_anything_is_done_unless_the_server_is_full() -> None:
    assert refused(direct(8), "200") == ""
    assert "answers 503 before anything is done" in refused(direct(8), "503")
    assert "no session" in refused(Census(), "200")
    assert refused(Census(), "503", backends=97) == "", "that is the incident a move ends"


def test_a_session_through_another_entry_or_pooler_proves_nothing_and_is_named() -> None:
    assert judged("pooled", pooled(8)).good
    for census, told in ((pooled(2, "shop_txn"), "shop_txn on pool1"), (pooled(2, pooler="pool2"), "shop on pool2")):
        found = judged("pooled", census)
        assert any(told in problem for problem in found.problems)
        assert any("no session through shop on pool1" in problem for problem in found.problems)
    both = Census((), (*pooled(1).pooled, *pooled(1, "report").pooled))
    assert not judged("pooled", both).good
    assert judged("pooled", both, others=frozenset({("pool1", "report")})).good, "it went there before, undeclared"


def test_what_was_at_another_pooler_is_back_there_and_what_was_at_both_ends_is_at_both() -> None:
    former = frozenset({("pool2", "shop")})
    assert judged("pooled", pooled(8, pooler="pool2"), entries=former, restored=True, backends=99, held=9).good
    assert not judged("pooled", direct(8), entries=former, restored=True).good
    both = Census(direct(2).direct, pooled(3, pooler="pool2").pooled)
    assert judged("direct", both, entries=former, restored=True).good
    assert not judged("direct", both).good
