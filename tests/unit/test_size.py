"""Pool sizes from samples worked out by hand."""

from __future__ import annotations

from poolward.size import Need, needs


def row(role: str, active: int, idle_in_transaction: int, sessions: int) -> dict[str, object]:
    return {
        "database": "shop",
        "role": role,
        "active": active,
        "idle_in_transaction": idle_in_transaction,
        "sessions": sessions,
    }


def test_a_session_that_holds_a_transaction_open_counts_as_one_that_works() -> None:
    samples = [[row("web", 2, 1, 30)], [row("web", 4, 3, 31), row("report", 0, 0, 5)], []]
    assert needs(samples) == [Need("shop", "web", 7, 10 / 3, 31), Need("shop", "report", 0, 0.0, 5)]


def test_the_proposal_has_headroom_and_never_less_than_two() -> None:
    assert [need.pool_size for need in needs([[row("web", 7, 0, 30), row("idle", 0, 0, 9)]])] == [11, 2]


def test_nobody_connected_needs_nothing() -> None:
    assert needs([[], []]) == []
