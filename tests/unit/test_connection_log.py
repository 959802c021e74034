"""What the tests of the bill read out of the logs of PostgreSQL and PgBouncer: tests/lab/connection_log.py."""

from __future__ import annotations

import pytest

from tests.lab.connection_log import backends, held, peak, spans


def server(*events: tuple[str, int, str]) -> str:
    says = {"in": "connection authorized: user=ana database=shop", "out": "disconnection: session time: 0:00:00"}
    return "\n".join(
        f"2026-01-01 10:00:00.{at} UTC [{port}] 10.0.0.2({port}) LOG:  {says[what]}" for at, port, what in events
    )


def pooler(*events: tuple[str, int, str]) -> str:
    says = {"in": "new connection to server (from 10.0.0.2:{})", "out": "closing because: obsolete (age=0s)"}
    return "\n".join(
        f"2026-01-01 10:00:00.{at} UTC [1] LOG S-0x{port}: shop/ana@10.0.0.1:5432 {says[what].format(port)}"
        for at, port, what in events
    )


@pytest.mark.parametrize(
    ("of_server", "of_pooler", "most"),
    [
        ([("100", 1, "in"), ("150", 2, "in")], [("090", 1, "in"), ("140", 2, "in")], 2),
        # PostgreSQL is slower to end the first one than the pooler is to open the next.
        (
            [("100", 1, "in"), ("150", 2, "in"), ("160", 1, "out")],
            [("090", 1, "in"), ("120", 1, "out"), ("140", 2, "in")],
            1,
        ),
        # The pooler hung up on a login before PostgreSQL had admitted it.
        (
            [("130", 1, "in"), ("150", 2, "in"), ("160", 1, "out")],
            [("090", 1, "in"), ("120", 1, "out"), ("140", 2, "in")],
            1,
        ),
        # The same port again, and that one is still there.
        (
            [("100", 1, "in"), ("125", 1, "out"), ("150", 1, "in"), ("160", 2, "in")],
            [("090", 1, "in"), ("120", 1, "out"), ("140", 1, "in"), ("155", 2, "in")],
            2,
        ),
        # PostgreSQL ended it itself.
        ([("100", 1, "in"), ("120", 1, "out"), ("150", 2, "in")], [("090", 1, "in"), ("140", 2, "in")], 1),
    ],
)
def test_a_connection_counts_as_long_as_both_ends_hold_it(
    of_server: list[tuple[str, int, str]], of_pooler: list[tuple[str, int, str]], most: int
):
    assert peak(held(backends(server(*of_server)), spans(pooler(*of_pooler)))) == most
