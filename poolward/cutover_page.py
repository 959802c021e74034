"""The page of a cutover: one HTML file without a script or a reference to anything outside it. Text out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from poolward import templates
from poolward.history import chart, series
from poolward.history.chart import Chart
from poolward.history.series import Layer, Moment, Period
from poolward.history.summary import Summary
from poolward.history.words import several, span


@dataclass(frozen=True)
class Figure:
    """A chart, and the same as a table."""

    title: str
    svg: Markup
    moments: Sequence[Moment]


def html(found: Summary, sources: Sequence[str]) -> str:
    """The whole page; `sources` are the names of the journals. The same journals give the same bytes."""
    return templates.page(
        "cutover_report.html.j2",
        found=found,
        history=found.history,
        figures=_figures(found),
        sources=sources,
        several=several,
    )


def _figures(found: Summary) -> list[Figure]:
    layers = series.layers(found.history)
    periods = [period for period in series.periods(found.history, layers) if period.points]
    wide = series.columns(len(layers), len(periods))
    return [_figure(number, period, layers, wide) for number, period in enumerate(periods, start=1)]


def _figure(number: int, period: Period, layers: Sequence[Layer], wide: int) -> Figure:
    title = f"Backends of the server, {span(period.points[0].at, period.points[-1].at)}"
    drawn = Chart(
        name=f"chart{number}",
        title=title,
        description=(
            "A stacked chart. From the bottom: the direct backends of each service, the server connections of each "
            "pooler, and all others. A dashed line is the server's limit, an upright line a move. "
            "The table beneath it holds the numbers."
        ),
        layers=layers,
        segments=series.segments(period.points, wide),
        marks=period.marks,
    )
    # ElementTree has escaped every name in it.
    return Figure(title, Markup(chart.svg(drawn)), series.moments(period, layers))
