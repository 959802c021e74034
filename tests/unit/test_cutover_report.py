"""The page and the terminal summary of a cutover: what they say, that they stand alone, that nothing breaks them."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from poolward import cutover_page, cutover_report, cutover_tables
from poolward.errors import PoolwardError
from poolward.history import summary
from poolward.history.summary import Summary
from tests.unit.histories import ENDED, STOPPED, event, events, look, moved, of, told
from tests.unit.html_page import Page

HOSTILE = "<script>alert('1')</script>\"&amp;]]>[/bold]--><b>\x1b[31m\x00"


def terminal(found: Summary) -> str:
    output = io.StringIO()
    Console(file=output, width=120, color_system=None).print(cutover_tables.summary(found))
    return "\n".join(line.rstrip() for line in output.getvalue().splitlines()) + "\n"


def html(found: Summary) -> str:
    return cutover_page.html(found, ["a.jsonl"])


@pytest.mark.parametrize(("name", "paths"), [("cutover-stopped", [STOPPED]), ("cutover", [STOPPED, ENDED])])
def test_the_page_and_the_summary_are_as_they_were_read(
    golden: Callable[[str, str], None], name: str, paths: list[Path]
) -> None:
    found = told(*paths)
    golden(f"{name}.txt", terminal(found))
    golden(f"{name}.html", cutover_page.html(found, [path.name for path in paths]))


def test_the_page_stands_alone() -> None:
    page = Page(html(told()))
    assert page.loads == []
    policy = [of["content"] for tag, of in page.tags if tag == "meta" and of.get("http-equiv")]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'"], "and a browser would load nothing anyway"


def test_the_table_beneath_the_chart_holds_the_numbers_of_the_looks() -> None:
    looks = {}
    for line in events():
        if line["step"] == "look":
            direct = {name: of["direct"] for name, of in line["by_service"].items() if of["direct"]}
            poolers = {name: held for name, held in line["by_pooler"].items() if held}
            numbers = [direct, poolers, line["others"], line["backends"], line["limit"]]
            looks[datetime.fromtimestamp(line["at"], UTC).strftime("%H:%M:%S")] = numbers
    rows = [row for row in Page(html(told())).rows() if len(row) == 9 and row[0] != "look at"]
    assert len(rows) == 11, "the first look, and ten times a service went or came back; the last is the last look"
    for at, _, direct, services, pooled, poolers, others, total, limit in rows:
        of_services, of_poolers, *numbers = looks[at]
        assert (services, int(direct)) == (said(of_services), sum(of_services.values()))
        assert (poolers, int(pooled)) == (said(of_poolers), sum(of_poolers.values()))
        assert [int(others), int(total), int(limit)] == numbers


def said(counts: dict[str, int]) -> str:
    return ", ".join(f"{name}\xa0{count}" for name, count in counts.items())


def test_every_move_is_in_the_table_with_its_numbers() -> None:
    page = Page(html(told()))
    begun = [line for line in events() if line["step"] == "begun"]
    rows = [row for row in page.rows() if len(row) == 12 and row[0] != "begun at"]
    assert [row[1].split()[0] for row in rows] == [line["service"] for line in begun]
    for row, line in zip(rows, begun, strict=True):
        assert line["from"] in row[3]
        assert line["to"] in row[3]
        assert row[4] == f"{line['direct']} direct, 0 pooled"
    assert [row[2] for row in rows].count("taken back") == 1


def hostile(value: Any) -> Any:
    """The same with every text made hostile that is a name or a sentence; what steers the fold stays."""
    if isinstance(value, dict):
        kept = ("step", "what", "run")
        return {
            (hostile(key) if key not in KEYS else key): (of if key in kept else hostile(of))
            for key, of in value.items()
        }
    if isinstance(value, list):
        return [hostile(of) for of in value]
    return f"{value}{HOSTILE}" if isinstance(value, str) else value


KEYS = {key for line in events() for key in line} | {"direct", "pooled"}


def test_a_hostile_name_is_only_text() -> None:
    found = summary.of([[hostile(line) for line in events()]])
    page = Page(html(found))
    assert page.loads == []
    assert {tag for tag, _ in page.tags} == {tag for tag, _ in Page(html(told())).tags}
    assert "\x1b" not in page.source
    assert "\x00" not in page.source
    said = "".join("".join(texts) for texts in page.texts.values())
    assert said.count("<script>alert('1')</script>") > 50, "it is there, as it was written"
    assert "[/bold]" in terminal(found)
    assert "\x1b" not in terminal(found)


junk = st.none() | st.booleans() | st.floats() | st.integers() | st.text() | st.lists(st.text(), max_size=2)
junk |= st.dictionaries(st.text(max_size=4), st.floats() | st.text(), max_size=3)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_whatever_is_missing_or_no_sense_the_rest_is_told(data: st.DataObject) -> None:
    lines = json.loads(json.dumps(events(STOPPED)))
    for _ in range(data.draw(st.integers(1, 12))):
        line = data.draw(st.sampled_from(lines))
        name = data.draw(st.sampled_from(sorted(line)))
        if data.draw(st.booleans()):
            del line[name]
        elif name != "inventory":
            line[name] = data.draw(junk)
        if not line:
            lines.remove(line)
    found = summary.of([lines])
    assert Page(html(found)).loads == []
    assert terminal(found)
    json.dumps(found.document(), default=str)


def many(looks: int, services: int) -> list[dict[str, Any]]:
    """So many looks at so many restless services, with one look in between that is higher than all."""
    rng = random.Random(1)
    names = [f"service_{number}" for number in range(services)]
    made = [event(0, "started", order=names)]
    for number in range(looks):
        peak = 999 if number == looks // 3 else None
        counts = {name: {"direct": peak or rng.randrange(20), "pooled": rng.randrange(20)} for name in names}
        made.append(look(number * 2.0, by_service=counts, by_pooler={"pool1": rng.randrange(30), "pool2": 3}))
    for number, name in enumerate(names):
        made += moved(number * looks * 2.0 / services, name)
    return made


@pytest.mark.parametrize("services", [9, 50])
def test_five_thousand_looks_fit_into_a_megabyte_and_the_peak_is_there(services: int) -> None:
    found = of(*many(5000, services))
    page = Page(html(found))
    assert len(page.source.encode()) < 1_000_000
    assert "999 at most" in page.source
    assert any("most backends" in row[1] and "service_0\xa0999" in row[3] for row in page.rows() if len(row) > 1)


def test_the_page_is_a_picture_for_each_day() -> None:
    back: dict[str, Any] = {"run": "r2", "what": "rollback"}
    day = 86400.0
    cutover = [look(0, direct=8), *moved(), look(75, pooled=8)]
    rollback = [look(day, pooled=8, **back), event(day + 1, "begun", "shop", **back), look(day + 9, direct=8, **back)]
    source = html(of(*cutover, *rollback))
    assert [tag for tag, _ in Page(source).tags].count("svg") == 2
    assert "2026-03-03, 14:00:00 to 14:00:09 UTC" in source
    assert "2026-03-02 14:00:00" in source, "a time of day alone would be ambiguous"


def test_the_page_lands_beside_the_last_journal_and_is_as_private(tmp_path: Path) -> None:
    journal = tmp_path / STOPPED.name
    journal.write_bytes(STOPPED.read_bytes())
    made = cutover_report.make([ENDED, journal])
    assert made.page == journal.with_suffix(".html")
    assert made.page.stat().st_mode & 0o777 == 0o600
    first = made.page.read_bytes()
    assert cutover_report.make([ENDED, journal]).page.read_bytes() == first
    assert sorted(path.name for path in tmp_path.iterdir()) == [made.page.name, journal.name]


def test_a_page_never_replaces_a_journal_and_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(PoolwardError, match="is a journal"):
        cutover_report.make([ENDED, STOPPED], ENDED)
    with pytest.raises(PoolwardError, match="No such file"):
        cutover_report.make([STOPPED], tmp_path / "missing" / "a.html")
    with pytest.raises(PoolwardError, match="cannot be read: No such file"):
        cutover_report.make([tmp_path / "missing.jsonl"])
