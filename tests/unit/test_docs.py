"""The settings reference says what the table says, the examples of bills what the arithmetic says."""

from __future__ import annotations

import pytest

from docs import bills, generate
from poolward.catalogue import table


def test_the_page_is_up_to_date() -> None:
    assert generate.PAGE.read_text(encoding="utf-8") == generate.page(), "run: python -m docs.generate"


def test_every_setting_has_a_row() -> None:
    rows = [line for line in generate.page().splitlines() if line.startswith("| `")]
    assert len(rows) == len(table())


def test_the_bills_are_up_to_date() -> None:
    assert bills.PAGE.read_text(encoding="utf-8") == bills.page(), "run: python -m docs.generate"


@pytest.mark.parametrize(
    ("title", "left", "worst_case", "rolling"),
    [  # by hand: 97 = 100 - 3; 2 more per pooler for the lookup of verifiers
        ("20 + 5 on one database", 97, 27, 54),
        ("25 + 10 with max_db_connections = 50", 97, 52, 104),
        ("2 replicas × 25", 97, 54, 81),
        ("3 replicas × 25", 97, 81, 108),
        ("20 application hosts × 25 on a plan of 500 connections", 497, 540, 567),
        ("The same while every application host runs old and new at once", 497, 540, 1080),
    ],
)
def test_the_bills_of_well_known_setups(title: str, left: int, worst_case: int, rolling: int) -> None:
    example = next(example for example in bills.EXAMPLES if example.title == title)
    found = bills.bill(example)
    assert (found.left, found.worst_case) == (left, worst_case)
    assert found.worst_case_while_rolling(example.rolling_hosts) == rolling
