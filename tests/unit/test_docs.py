"""The settings reference says what the table says."""

from __future__ import annotations

from docs import generate
from poolward.catalogue import table


def test_the_page_is_up_to_date() -> None:
    assert generate.PAGE.read_text(encoding="utf-8") == generate.page(), "run: python -m docs.generate"


def test_every_setting_has_a_row() -> None:
    rows = [line for line in generate.page().splitlines() if line.startswith("| `")]
    assert len(rows) == len(table())
