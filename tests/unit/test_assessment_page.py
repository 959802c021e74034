"""The page of an assessment: it stands alone, shows what the terminal shows, and nothing a host says breaks it."""

from __future__ import annotations

import html
import io
from pathlib import Path

import pytest
from rich.console import Console

from poolward import assessment_page, pages
from poolward.assessment import Assessment, ServerLoad
from poolward.errors import PoolwardError
from poolward.hazards import Hazard, ServiceAssessment, Stranger, Suspicion
from poolward.holders import Holder, Owner, Presence
from tests.unit.html_page import Page

HOSTILE = "<script>alert('1')</script>\"&amp;[/bold]"
LISTENS = Hazard("LISTEN", "seen 3 times", 3, "socket", "session", "a session alias")


def found(name: str = "web") -> Assessment:
    owner = Owner(name, "service", f"python3 /srv/{name}.py", "app1")
    holder = Holder(owner, name, True, "shop", name, "10.0.0.31", 7, {"idle": 7}, 9000.0)
    return Assessment(
        2.0,
        0.5,
        (ServerLoad("db1", 7, 9, 97, (holder,)),),
        (
            ServiceAssessment(name, "app1", "transaction", Presence(7, 0, True), (LISTENS,)),
            ServiceAssessment("calm", "app1", "transaction", Presence(2), ()),
        ),
        (Suspicion("db1", name, "shop", "SET", "seen twice", 2, (name, "calm"), ()),),
        (Stranger(name, "db1", name, LISTENS),),
        ("calm",),
        (f"Anything of {name}.",),
    )


def page(assessment: Assessment) -> Page:
    return Page(assessment_page.html(assessment, "inventories/shop.py", "2026-03-02 14:00:00 UTC"))


def test_it_stands_alone_and_says_what_the_terminal_says():
    shown = page(found())
    assert shown.loads == []
    output = io.StringIO()
    found().show(Console(file=output, width=400, color_system=None))
    terminal = " ".join(output.getvalue().split())
    cells = [html.unescape(cell) for row in shown.rows() for cell in row if cell]
    assert len(cells) > 40
    assert [cell for cell in cells if " ".join(cell.split()) not in terminal] == []
    assert "Not every service fits the pool it is declared for." in shown.source


def test_no_name_on_any_host_breaks_it():
    shown = page(found(HOSTILE))
    assert [tag for tag, _ in shown.tags if tag == "script"] == []
    assert HOSTILE in "".join(shown.texts["td"])


def test_it_is_its_owners_alone_and_comes_at_once(tmp_path: Path):
    target = tmp_path / "page.html"
    target.write_text("before")
    pages.write(target, "after", "--html")
    assert (target.read_text(), target.stat().st_mode & 0o777) == ("after", 0o600)
    assert list(tmp_path.iterdir()) == [target]
    with pytest.raises(PoolwardError, match="cannot be written"):
        pages.write(tmp_path / "nowhere" / "page.html", "after", "--html")
