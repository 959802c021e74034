"""A stacked chart of backends over time as one SVG: bands, the limit, a line for each move, axes, a legend. Pure.

Each look holds until the next one: counts are whole numbers, and what was between two looks nobody knows. The tree is
built and written by ElementTree, which escapes every name.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from xml.etree.ElementTree import Element, SubElement, tostring

from poolward.history import axes, words
from poolward.history.axes import Scale
from poolward.history.palette import HATCHES, Fill, fills
from poolward.history.series import Layer, Mark, Point

_WIDTH, _LEFT, _RIGHT, _PLOT = 960, 64, 96, 300
_LETTER = 6.2
"""How wide a letter of a mark's name is, at most on average."""
_NAME, _LABEL = 26, 44
"""Letters of a mark's name and of a label that are shown; all of them are in its title."""
_LEGEND_COLUMNS, _LEGEND_ROW = 3, 20
_DASHED: dict[str, object] = {"stroke_width": 1.5, "stroke_dasharray": "7 4"}

Vertices = list[tuple[float, float]]


@dataclass(frozen=True)
class Chart:
    """What is drawn."""

    name: str
    """Of its own on the page: the ids within the picture begin with it."""
    title: str
    description: str
    layers: Sequence[Layer]
    segments: Sequence[Sequence[Point]]
    """Where nothing was seen between two of them, nothing is drawn."""
    marks: Sequence[Mark]


def stacked(values: Sequence[int]) -> list[tuple[int, int]]:
    """The lower and the upper edge of each band of a look, from the bottom upwards."""
    edges, lower = [], 0
    for value in values:
        edges.append((lower, lower + value))
        lower += value
    return edges


def svg(chart: Chart) -> str:
    """The chart as an `<svg>` element that needs no style sheet; lines and letters have the colour of the text."""
    points = [point for segment in chart.segments for point in segment]
    top = round(34 + 0.82 * _LETTER * min(_NAME, max((len(mark.name) for mark in chart.marks), default=0)))
    x, y = _scales(points, chart.marks, top)
    rows = -(-(len(chart.layers) + 1) // _LEGEND_COLUMNS)
    height = top + _PLOT + 60 + rows * _LEGEND_ROW
    root = _element(None, "svg", viewBox=f"0 0 {_WIDTH} {height}", role="img", id=chart.name, font_size=11)
    root.set("aria-labelledby", f"{chart.name}-title {chart.name}-description")
    _element(root, "title", chart.title, id=f"{chart.name}-title")
    _element(root, "desc", chart.description, id=f"{chart.name}-description")
    painted = list(zip(chart.layers, fills(chart.layers), strict=True))
    _patterns(root, chart.name, [fill for _, fill in painted])
    _axes(root, x, y)
    for index, (layer, fill) in enumerate(painted):
        path = " ".join(_outline(shape, x, y) for shape in _shapes(chart.segments, index, x.high))
        title = f"{layer.label}: {_told([point.values[index] for point in points])}"
        _band(root, chart.name, fill, title, d=path)
    _limit(root, chart.segments, x, y)
    _marks(root, chart.marks, x, top)
    _legend(root, chart.name, painted, top + _PLOT + 56)
    return tostring(root, encoding="unicode", short_empty_elements=True)


def _scales(points: Sequence[Point], marks: Sequence[Mark], top: int) -> tuple[Scale, Scale]:
    times = [point.at for point in points] + [mark.at for mark in marks]
    first, last = min(times, default=0.0), max(times, default=0.0)
    # The last look holds for a moment too, or it could not be seen.
    end = last + max(1.0, (last - first) / 100)
    highest = max((max(point.total, point.limit or 0) for point in points), default=1)
    x = Scale(first, end, _LEFT, _WIDTH - _RIGHT)
    return x, Scale(0, axes.count_ticks(highest)[-1], top + _PLOT, top)


def _shapes(segments: Sequence[Sequence[Point]], index: int, end: float) -> Iterable[Vertices]:
    """The outlines of a band, in times and counts: one wherever it holds anything."""
    for number, segment in enumerate(segments):
        after = segments[number + 1][0].at if number + 1 < len(segments) else end
        held = min(after, segment[-1].at + (end - segments[-1][-1].at))
        until = [*(point.at for point in segment[1:]), held]
        steps = [(point.at, to, *stacked(point.values)[index]) for point, to in zip(segment, until, strict=True)]
        for filled, group in groupby(steps, key=lambda step: step[3] > step[2]):
            if filled:
                part = list(group)
                upper = [(at, high) for since, to, _, high in part for at in (since, to)]
                lower = [(at, low) for since, to, low, _ in reversed(part) for at in (to, since)]
                yield [*upper, *lower]


def _outline(shape: Vertices, x: Scale, y: Scale, close: str = "Z") -> str:
    """A path along edges that are all level or upright."""
    places = [(x(at), y(count)) for at, count in shape]
    commands = [f"M{places[0][0]:g},{places[0][1]:g}"]
    for (old_x, old_y), (new_x, new_y) in pairwise(places):
        if new_x != old_x:
            if commands[-1][0] == "H":
                commands.pop()
            commands.append(f"H{new_x:g}")
        if new_y != old_y:
            commands.append(f"V{new_y:g}")
    return "".join(commands) + close


def _band(parent: Element, name: str, fill: Fill, title: str, **place: object) -> None:
    tag = "path" if "d" in place else "rect"
    group = _element(parent, "g", class_="band")
    _element(group, "title", title)
    _element(group, tag, fill=fill.colour, **place)
    if fill.hatch:
        _element(group, tag, fill=f"url(#{name}-hatch{fill.hatch})", **place)


def _patterns(root: Element, name: str, used: Iterable[Fill]) -> None:
    definitions = _element(root, "defs")
    for hatch in sorted({fill.hatch for fill in used} - {0}):
        square: dict[str, object] = {"width": 8, "height": 8, "patternUnits": "userSpaceOnUse"}
        pattern = _element(definitions, "pattern", id=f"{name}-hatch{hatch}", **square)
        _element(pattern, "path", d=HATCHES[hatch], stroke="#000", fill="none", stroke_width=1.2)


def _axes(root: Element, x: Scale, y: Scale) -> None:
    for count in axes.count_ticks(int(y.high)):
        _line(root, f"M{x.start:g},{y(count):g}H{x.end:g}", stroke_opacity=0.25)
        _text(root, str(count), x.start - 8, y(count) + 4, "end")
    for at, label in axes.time_ticks(x.low, x.high):
        _line(root, f"M{x(at):g},{y.start:g}v5")
        _text(root, label, x(at), y.start + 19, "middle")
    middle = (y.start + y.end) / 2
    turned = f"rotate(-90 14 {middle:g})"
    _text(root, "backends (connections to the server)", 14, middle, "middle", transform=turned)
    _text(root, "time (UTC)", (x.start + x.end) / 2, y.start + 38, "middle")


def _limit(root: Element, segments: Sequence[Sequence[Point]], x: Scale, y: Scale) -> None:
    known = [(point.at, point.limit) for segment in segments for point in segment if point.limit is not None]
    if not known:
        return
    until = [*(at for at, _ in known[1:]), x.high]
    steps: Vertices = [(at, limit) for (since, limit), to in zip(known, until, strict=True) for at in (since, to)]
    group = _element(root, "g", class_="limit")
    _element(group, "title", f"limit: {known[-1][1]} connections for applications")
    _line(group, _outline(steps, x, y, close=""), **_DASHED)
    _text(group, f"limit: {known[-1][1]}", x.end + 6, y(known[-1][1]) + 4, "start", font_weight="bold")


def _marks(root: Element, marks: Sequence[Mark], x: Scale, top: int) -> None:
    places = axes.spread([x(mark.at) for mark in marks], 14, x.start, x.end)
    for mark, place in zip(marks, places, strict=True):
        group = _element(root, "g", class_="mark")
        _element(group, "title", f"{mark.name} at {words.clock(mark.at)} UTC")
        path = f"M{place:g},{top - 14}L{x(mark.at):g},{top - 2}V{top + _PLOT}"
        _line(group, path, **{"stroke_dasharray": "2 3"} if mark.back else {})
        turned = f"rotate(-55 {place:g} {top - 18})"
        _text(group, _shortened(mark.name, _NAME), place, top - 18, "start", transform=turned)


def _legend(root: Element, name: str, painted: Sequence[tuple[Layer, Fill]], top: int) -> None:
    wide = (_WIDTH - _LEFT) / _LEGEND_COLUMNS
    for number in range(len(painted) + 1):
        left, row = _LEFT + wide * (number % _LEGEND_COLUMNS), top + _LEGEND_ROW * (number // _LEGEND_COLUMNS)
        if number < len(painted):
            layer, fill = painted[number]
            _band(root, name, fill, layer.label, x=left, y=row, width=14, height=14)
            _text(root, _shortened(layer.label, _LABEL), left + 20, row + 11, "start")
        else:
            _line(root, f"M{left:g},{row + 7}h14", **_DASHED)
            _text(root, "limit of connections for applications", left + 20, row + 11, "start")


def _line(parent: Element, path: str, **attributes: object) -> None:
    """In the colour of the text, so that it can be seen on white and on black."""
    _element(parent, "path", d=path, fill="none", stroke="currentColor", **attributes)


def _text(parent: Element, text: str, x: float, y: float, anchor: str, **attributes: object) -> None:
    _element(parent, "text", text, x=float(x), y=float(y), fill="currentColor", text_anchor=anchor, **attributes)


def _shortened(text: str, letters: int) -> str:
    return text if len(text) <= letters else f"{text[: letters - 1]}…"


def _told(values: Sequence[int]) -> str:
    return f"{values[0]} at first, {values[-1]} at last, {max(values)} at most" if values else "not counted"


def _element(parent: Element | None, tag: str, text: str = "", /, **attributes: object) -> Element:
    """An element; `class_` and `stroke_width` are `class` and `stroke-width`."""
    written = {
        name.rstrip("_").replace("_", "-"): f"{value:g}" if isinstance(value, float) else str(value)
        for name, value in attributes.items()
    }
    element = Element(tag, written) if parent is None else SubElement(parent, tag, written)
    element.text = text or None
    return element
