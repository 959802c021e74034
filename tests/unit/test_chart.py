"""The chart, read back from the picture: its bands never overlap, and its heights are the numbers it was given."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from itertools import pairwise
from xml.etree.ElementTree import Element, fromstring

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolward.history import axes, chart, series
from poolward.history.chart import Chart
from poolward.history.palette import fills
from poolward.history.series import Layer, Mark, Point
from tests.unit.histories import START

LAYERS = [*(Layer("direct", f"service{n}") for n in range(3)), Layer("pooler", "pool1"), Layer("others", "")]
STEP = 10.0
"""Seconds between two looks."""
Edge = tuple[float, float, float]


def drawn(values: list[tuple[int, ...]], limit: int | None = 97, marks: tuple[Mark, ...] = ()) -> Element:
    points = [Point(START + STEP * number, of, limit) for number, of in enumerate(values)]
    layers = LAYERS[: len(values[0])] if values else LAYERS
    return fromstring(chart.svg(Chart("c", "Backends", "stacked", layers, [points], marks)))


def level_edges(path: str) -> list[Edge]:
    """The level edges of a path, (left, right, height), walked with nothing but M, H, V and Z."""
    edges: list[Edge] = []
    x = y = 0.0
    for letter, numbers in re.findall(r"([MHVZ])([-\d.,e]*)", path):
        if letter == "M":
            x, y = map(float, numbers.split(","))
        elif letter == "H":
            edges.append((min(x, float(numbers)), max(x, float(numbers)), y))
            x = float(numbers)
        elif letter == "V":
            y = float(numbers)
    return edges


def bands(picture: Element) -> list[list[Edge]]:
    """The level edges of each band, from the bottom upwards; the swatches of the legend are no paths."""
    groups = [group for group in picture.iter("g") if group.get("class") == "band"]
    return [level_edges(path(group)) for group in groups if group.find("path") is not None]


def path(group: Element) -> str:
    found = group.find("path")
    assert found is not None
    return found.get("d") or ""


def line(pairs: list[tuple[float, float]]) -> tuple[float, float]:
    """Slope and start of the line through the outermost pairs."""
    (a, p), (b, q) = min(pairs), max(pairs)
    slope = (q - p) / (b - a)
    return slope, p - slope * a


def scales(picture: Element) -> tuple[tuple[float, float], tuple[float, float]]:
    """From times and from counts to places, as the ticks beside the chart tell a reader."""
    texts = [(text.text or "", float(text.get("x") or 0), float(text.get("y") or 0)) for text in picture.iter("text")]
    midnight = datetime.fromtimestamp(START, UTC).replace(hour=0, minute=0, second=0).timestamp()
    times = [
        (midnight + sum(int(part) * of for part, of in zip(said.split(":"), (3600, 60, 1), strict=False)), x)
        for said, x, _ in texts
        if re.fullmatch(r"\d\d:\d\d(:\d\d)?", said)
    ]
    return line(times), line([(float(said), y - 4) for said, _, y in texts if said.isdigit()])


@given(st.lists(st.tuples(*[st.integers(0, 30)] * 5), min_size=4, max_size=40))
def test_the_heights_of_the_bands_are_the_numbers_and_none_overlaps(values: list[tuple[int, ...]]) -> None:
    picture = drawn(values)
    (per_second, left), (per_count, floor) = scales(picture)
    found = bands(picture)
    assert len(found) == 5
    for number, numbers in enumerate(values):
        x = left + per_second * (
            START + STEP * number + STEP / 2 if number + 1 < len(values) else START + STEP * number + 0.2
        )
        below = floor
        for edges, count in zip(found, numbers, strict=True):
            heights = sorted((y for start, end, y in edges if start < x < end), reverse=True)
            assert len(heights) == (2 if count else 0)
            if count:
                assert heights[0] == pytest.approx(below, abs=0.11), "it begins where the one beneath it ends"
                assert (heights[1] - heights[0]) / per_count == pytest.approx(count, abs=0.2)
                below = heights[1]
        assert (below - floor) / per_count == pytest.approx(sum(numbers), abs=0.2)


@given(st.lists(st.integers(0, 1000), max_size=20))
def test_stacking(values: list[int]) -> None:
    edges = chart.stacked(values)
    assert [upper - lower for lower, upper in edges] == values
    assert [lower for lower, _ in edges] == [0, *(upper for _, upper in edges)][: len(edges)]


def test_nothing_is_drawn_where_nobody_looked() -> None:
    points = [Point(START + at, (5,), None) for at in (0, 10, 400, 410)]
    segments = series.segments(points, 300)
    assert [len(segment) for segment in segments] == [2, 2]
    picture = fromstring(chart.svg(Chart("c", "", "", [Layer("direct", "shop")], segments, ())))
    (per_second, left), _ = scales(picture)
    [edges] = bands(picture)
    assert not [edge for edge in edges if edge[0] < left + per_second * (START + 200) < edge[1]]
    assert [edge for edge in edges if edge[0] < left + per_second * (START + 405) < edge[1]]


def test_a_move_is_a_line_at_its_time_with_its_name() -> None:
    picture = drawn([(5,)] * 7, marks=(Mark(START + 20, "shop", False), Mark(START + 21, "shop taken back", True)))
    (per_second, left), _ = scales(picture)
    groups = [group for group in picture.iter("g") if group.get("class") == "mark"]
    assert [group.findtext("text") for group in groups] == ["shop", "shop taken back"]
    assert groups[0].findtext("title") == "shop at 14:00:20 UTC"
    place = float(path(groups[0]).partition("L")[2].partition(",")[0])
    assert place == pytest.approx(left + per_second * (START + 20), abs=0.2)
    assert [group.find("path[@stroke-dasharray]") is not None for group in groups] == [False, True]


def test_the_limit_is_a_line_at_its_height() -> None:
    picture = drawn([(5,)] * 7, limit=97)
    _, (per_count, floor) = scales(picture)
    group = next(group for group in picture.iter("g") if group.get("class") == "limit")
    [(_, _, height)] = level_edges(path(group))
    assert (height - floor) / per_count == pytest.approx(97, abs=0.2)


@given(st.integers(0, 100_000))
def test_the_counts_beside_the_chart_are_round_and_reach_over_the_highest(highest: int) -> None:
    ticks = axes.count_ticks(highest)
    assert ticks[0] == 0
    assert ticks[-2] <= max(highest, 1) <= ticks[-1]
    assert len({b - a for a, b in pairwise(ticks)}) == 1
    assert len(ticks) <= 8
    assert re.fullmatch(r"[125]0*", str(ticks[1]))


@given(st.floats(1e6, 4e9), st.floats(1, 4e6))
def test_the_times_beneath_the_chart_are_within_it(first: float, seconds: float) -> None:
    ticks = axes.time_ticks(first, first + seconds)
    assert all(first <= at <= first + seconds for at, _ in ticks)
    assert len(ticks) <= 10
    assert len(ticks) >= 2 or seconds < 15


@given(st.lists(st.floats(64, 864), max_size=80).map(sorted))
def test_names_of_moves_keep_their_order_and_stay_on_the_paper(places: list[float]) -> None:
    spread = axes.spread(places, 14, 64, 864)
    assert spread == sorted(spread)
    assert all(63.9 <= place <= 864.1 for place in spread)
    if 1 < len(places) <= 50:
        assert min(b - a for a, b in pairwise(spread)) >= 13.8


def test_the_bands_of_fifty_services_are_all_told_apart() -> None:
    layers = [Layer("direct", str(number)) for number in range(50)] + [Layer("pooler", "pool1"), Layer("others", "")]
    assert len(set(fills(layers))) == len(layers)


looks = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 60), st.integers(0, 60)), min_size=1, max_size=400)


@given(looks, st.integers(20, 40))
def test_what_is_left_out_was_no_peak_and_what_is_left_was_seen(made: list[tuple[int, int, int]], wide: int) -> None:
    at, points = START, []
    for pause, a, b in made:
        at += pause
        points.append(Point(at, (a, b), 97))
    kept = [point for segment in series.segments(points, wide) for point in segment]
    assert set(kept) <= set(points)
    assert kept == sorted(kept, key=lambda point: point.at)
    assert len(kept) <= 2 * (wide + 1) + 4
    assert (kept[0].at, kept[-1]) == (points[0].at, points[-1])
    for value in (lambda p: p.total, lambda p: p.values[0], lambda p: p.values[1]):
        assert max(map(value, kept)) == max(map(value, points))
    width = (points[-1].at - START) / wide or 1
    for point in points:
        near = [other.total for other in kept if abs(other.at - point.at) <= width + 1e-6]
        assert min(near) <= point.total <= max(near), "no column hides how high or how low it went"
