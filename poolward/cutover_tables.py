"""What a person reads at the terminal of a cutover or a rollback: moves, backends, poolers, what to do next."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from poolward.history.counts import Backends, Multiplexing
from poolward.history.records import Result
from poolward.history.summary import Row, Summary

_STYLES = {Result.MOVED: "green", Result.MOVED_BACK: "green", Result.TAKEN_BACK: "yellow", Result.NOT_PROVED: "yellow"}
_UNKNOWN = "not counted"


def summary(found: Summary) -> RenderableType:
    """The whole summary."""
    parts: list[RenderableType] = [*(Text(line) for line in found.headlines), Text()]
    if found.rows:
        parts += [moves(found.rows), Text()]
    for told in found.stories:
        parts += [Text(told[0], "bold yellow"), *(Padding(Text(line), (0, 0, 0, 2)) for line in told[1:]), Text()]
    parts += [Text(line) for line in found.skipped]
    parts += [Text()] if found.skipped else []
    parts += [backends(found), Text(found.load), Text()]
    if found.poolers:
        parts += [poolers(found.poolers), Text()]
    parts += [*_errors(found), *_direct(found)]
    parts += [Text(found.verdict, "bold green" if found.history.clean else "bold red"), *_steps(found)]
    return Group(*parts)


def moves(rows: Iterable[Row]) -> Table:
    """One row per move."""
    table = _table("Moves", "service", "from → to", "before", "after")
    for name in ("restart", "soak"):
        table.add_column(name, justify="right")
    table.add_column("result")
    for row in rows:
        move = row.move
        cells = (
            f"{move.service}\non {move.host or 'a host not told'}",
            f"{row.route[0]}\n→ {row.route[1]}",
            _stacked(row.before),
            _stacked(row.after),
            _stacked(row.restart),
            row.soak,
        )
        table.add_row(*map(Text, cells), Text(move.result, _STYLES.get(move.result, "bold red")))
    return table


def backends(found: Summary) -> Table:
    """Backends per role before, during and after."""
    phases = found.phases
    table = _table("Backends by role (times are UTC)", "role")
    table.add_column(f"before ({found.when(phases.before.at)})" if phases.before else "before", justify="right")
    table.add_column("during, at most", justify="right")
    table.add_column(f"after ({found.when(phases.after.at)})" if phases.after else "after", justify="right")
    for role in found.roles:
        table.add_row(Text(role.role), *_counts(role))
    table.add_section()
    table.add_row(f"all, of {found.limit} for applications" if found.limit else "all", *_counts(found.backends))
    return table


def poolers(found: Iterable[Multiplexing]) -> Table:
    """Clients per server connection."""
    table = _table("Clients per server connection, in the last look", "pooler")
    for name in ("clients", "server connections", "clients per server connection"):
        table.add_column(name, justify="right")
    table.add_column("")
    for pooler in found:
        ratio = f"{pooler.ratio:.1f}" if pooler.ratio is not None else "-"
        note = Text("multiplexes nothing", "yellow") if pooler.flat else Text()
        table.add_row(Text(pooler.pooler), _count(pooler.clients), _count(pooler.servers), ratio, note)
    return table


def _errors(found: Summary) -> Iterable[RenderableType]:
    yield Text("Errors that clients saw from the first look to the last, as their services report them", "italic")
    for line in found.errors_told or ["No service reports errors."]:
        yield Text(f"  {line}")
    yield Text()


def _direct(found: Summary) -> Iterable[RenderableType]:
    for name, why in found.direct.items():
        yield Text(f"{name} stays direct: {why or 'no reason given'}")
    if found.direct:
        yield Text()


def _steps(found: Summary) -> Iterable[RenderableType]:
    for step in found.steps:
        yield Padding(Text(f"→ {step.text}"), (0, 0, 0, 2))
        # A command stays on one line, to be copied.
        yield from (Text(f"      {command}", "bold", no_wrap=True, overflow="ignore") for command in step.commands)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", show_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _stacked(text: str) -> str:
    return text.replace(", ", "\n")


def _counts(found: Backends) -> tuple[str, str, str]:
    return _count(found.before), _count(found.most), _count(found.after)


def _count(number: int | None) -> str:
    return _UNKNOWN if number is None else str(number)
