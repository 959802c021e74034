"""The incident of the lab, move by move: 113 connections asked for of 97, until the third move."""

from __future__ import annotations

import random

from poolward.bill import Bill, Line
from poolward.budget_moves import AfterMove, Mover, after_each

BILL = Bill(
    "db1",
    "17",
    (Line("max_connections", 100), Line("kept for superusers", -3)),
    (
        Line("pool1  main", 25, pooler="pool1", entry="main"),
        Line("pool1  lookup of verifiers", 2, pooler="pool1"),
        Line("pool2  main", 25, pooler="pool2", entry="main"),
        Line("pool2  session", 8, pooler="pool2", entry="session"),
    ),
)
MOVES = [
    Mover("webhook", 20, "pool1", "main"),
    Mover("ingest", 20, "pool1", "main"),
    Mover("dashboard", 18, "pool1", "main"),
    Mover("worker", 15, "pool1", "main"),
    Mover("gateway", 16, "pool2", "main"),
    Mover("grafana", 12, "pool2", "main"),
    Mover("scheduler", 6, "pool2", "session"),
]


def test_each_move_adds_what_its_pool_may_open_and_takes_what_the_service_did() -> None:
    steps = after_each(BILL, [], MOVES)
    assert [step.worst_case for step in steps] == [
        87 + 20 + 2,
        67 + 25 + 2,
        49 + 25 + 2,
        34 + 25 + 2,
        18 + 27 + 16,
        6 + 27 + 25,
        27 + 25 + 6,
    ]
    assert all(step.allowed for step in steps[1:])


def test_an_overfull_server_may_be_relieved_but_not_burdened() -> None:
    first, second, *_ = after_each(BILL, [], MOVES)
    assert (first.before, first.worst_case, first.allowed) == (107, 109, True)
    assert str(first) == (
        "after webhook: 87 direct + 20 pooled + 2 lookups = 109 of 97, 12 over, "
        "but the services may open no more than before"
    )
    assert (second.worst_case, second.allowed) == (94, True)
    burdened = AfterMove("a", direct=80, pools=30, lookups=2, left=97, before=105)
    assert not burdened.allowed


def test_going_on_where_an_earlier_run_stopped_gives_the_same_numbers() -> None:
    whole = after_each(BILL, [], MOVES)
    for number in range(1, len(MOVES)):
        assert after_each(BILL, MOVES[:number], MOVES[number:]) == whole[number:]


def test_the_pools_never_count_more_than_their_bound_nor_more_than_their_clients() -> None:
    choose = random.Random(1)
    for _ in range(300):
        moves = [Mover(str(n), choose.randint(0, 30), "pool1", "main") for n in range(choose.randint(1, 6))]
        for number, step in enumerate(after_each(BILL, [], moves), 1):
            clients = sum(mover.connections for mover in moves[:number])
            assert (step.pools, step.lookups) == (min(25, clients), 2)
