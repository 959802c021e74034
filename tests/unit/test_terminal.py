"""What is shown is shown as it is called: nothing in a name is read as a style."""

from __future__ import annotations

import pytest

from poolward import tables, terminal
from poolward.plan import Change
from poolward.size import Need


def test_a_name_in_brackets_stands_as_it_is(capsys: pytest.CaptureFixture[str]):
    terminal.console(width=200).print(
        tables.changes([Change("pool1", "[users] worker.pool_size", "we[/b]", "[bold]x", "a reload; clients stay")]),
        terminal.led("bold red", "Refused [/x].", " See [dim]."),
    )
    said = capsys.readouterr().out
    for name in ("[users] worker.pool_size", "we[/b]", "[bold]x", "Refused [/x]. See [dim]."):
        assert name in said


def test_a_role_in_brackets_is_sized(capsys: pytest.CaptureFixture[str]):
    need = Need("shop", "we[/b]", peak_sessions=3, peak_in_use=1, average_in_use=0.5)
    terminal.console(width=200).print(tables.sizes("db1[/]", [need], 10, 1))
    assert "we[/b]" in capsys.readouterr().out
