"""What one look at a moved service has to show, and what is not held against it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from poolward.acceptance import Sample, Terms, sample
from poolward.evidence import Census, DirectSession
from poolward.observed import Process, ServiceState
from poolward.observed.sessions import Backend, Endpoint, PooledClient, Sessions, Socket

RUNS = Process("web.service is active (running)", running=True, started=100.0, incarnation=100.0)
STATE = ServiceState("/etc/web/env", RUNS, None, None, None, "200")
TERMS = {"pooled": Terms("pooled", 5.0, has_health=True), "direct": Terms("direct", 5.0, has_health=True)}


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
