"""An assessment in tables, and as a person reads it at the terminal. The page of it shows the same tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from poolward.hazards import ServiceAssessment, Stranger, Suspicion, fits_as_declared

if TYPE_CHECKING:
    from poolward.assessment import Assessment, ServerLoad

Tone = Literal["", "good", "warning", "bad"]
_COLOURS: dict[Tone, str] = {"": "", "good": "green", "warning": "yellow", "bad": "red"}
_VERDICTS: dict[str, tuple[str, Tone]] = {
    "transaction": ("transaction pool", "good"),
    "session": ("session alias", "warning"),
    "direct": ("stay direct", "bad"),
    "unknown": ("not seen", "warning"),
}
_CERTAINTY = {
    "socket": "by its sockets",
    "settings": "by its settings",
    "role": "nobody else was seen as this role",
}


@dataclass(frozen=True)
class Cell:
    """One field of a table."""

    text: str
    tone: Tone = ""


@dataclass(frozen=True)
class Sheet:
    """A table, whatever it is shown on."""

    title: str
    columns: tuple[str, ...]
    groups: tuple[tuple[tuple[Cell, ...], ...], ...]
    """Its rows; those of a group belong together."""


def sheets(found: Assessment) -> list[Sheet]:
    """All of its tables, without the empty ones."""
    return [
        *(_load(server, found.window) for server in found.servers),
        _services(found),
        *([_hazards(found.services)] if any(service.hazards for service in found.services) else []),
        *([_suspicions(found.suspicions)] if found.suspicions else []),
        *([_strangers(found.strangers)] if found.strangers else []),
    ]


def show(console: Console, found: Assessment) -> None:
    """Print all of it."""
    for sheet in sheets(found):
        console.print(_printable(sheet), "")
    console.print(Text.assemble(("Proposed order  ", "bold"), found.proposed))
    if found.stay_direct:
        console.print(Text.assemble(("Left direct     ", "bold"), ", ".join(found.stay_direct)))
    console.print(Text("\nWhat this scan cannot see", "bold"))
    for sentence in found.cannot_see:
        console.print(Text(f"· {sentence}"))


def _load(server: ServerLoad, window: float) -> Sheet:
    title = (
        f"Connections of {server.name}: {server.now} of {server.limit} now, {server.peak} at most in {window:g} s; "
        f"{server.superusers} are a superuser's (*)"
    )
    columns = ("holder", "program", "role", "database", "application", "address", "sessions", "idle for")
    rows = tuple(
        _row(
            holder.owner.name,
            _script(holder.owner.program),
            f"{holder.role}*" if holder.superuser else holder.role,
            holder.database,
            holder.application,
            holder.address,
            ", ".join(f"{count} {state or 'unknown'}" for state, count in holder.states.items()),
            duration(holder.idle) if holder.idle else "",
        )
        for holder in server.holders
    )
    return Sheet(title, columns, (rows,))


def _services(found: Assessment) -> Sheet:
    columns = ("service", "host", "sessions", "declared", "verdict", "because of")
    rows = []
    for service in found.services:
        presence = service.presence
        sessions = f"{presence.direct}{'*' if presence.superuser else ''}"
        fits = fits_as_declared(service)
        rows.append(
            _row(
                service.name,
                service.host,
                f"{sessions} + {presence.pooled} pooled" if presence.pooled else sessions,
                Cell(service.declared) if fits else Cell(f"{service.declared} ✗", "bad"),
                Cell(*_VERDICTS[service.verdict]),
                _reasons(service, found.suspicions),
            )
        )
    return Sheet("What breaks in transaction mode", columns, (tuple(rows),))


def _reasons(service: ServiceAssessment, suspicions: Iterable[Suspicion]) -> str:
    """What decides the verdict, and what would if it is this one of several."""
    mine = [hazard.what for hazard in service.hazards]
    deciding = [hazard.what for hazard in service.hazards if hazard.needs == service.verdict != "transaction"]
    maybe = sorted({one.what for one in suspicions if service.name in one.candidates and one.what not in mine})
    return "; ".join(filter(None, (", ".join(deciding), _maybe(maybe))))


def _maybe(what: Sequence[str], most: int = 3) -> str:
    if not what:
        return ""
    return f"maybe {', '.join(what[:most])}" + (f" and {len(what) - most} more" if len(what) > most else "")


def _hazards(services: Iterable[ServiceAssessment]) -> Sheet:
    groups = tuple(
        tuple(
            _row(
                service.name if number == 0 else "",
                Cell(hazard.what, _VERDICTS[hazard.needs][1]),
                f"{hazard.evidence}; {_CERTAINTY[hazard.certainty]}",
                hazard.remedy,
            )
            for number, hazard in enumerate(service.hazards)
        )
        for service in services
        if service.hazards
    )
    return Sheet("The evidence", ("service", "hazard", "seen", "instead"), groups)


def _suspicions(suspicions: Iterable[Suspicion]) -> Sheet:
    alike: dict[tuple[str, str, str], list[Suspicion]] = {}
    for one in sorted(suspicions, key=lambda s: (s.server, s.role, s.database, s.what)):
        who = ", ".join((*one.candidates, *one.others)) or "nobody was seen as this role"
        alike.setdefault((one.role, one.database, who), []).append(one)
    groups = []
    for (role, database, who), same in alike.items():
        lines = [one.evidence + (f"; seen of {', '.join(one.known)}" if one.known else "") for one in same]
        groups.append((_row(role, database, "\n".join(lines), who),))
    return Sheet("Known by role alone, so it is one of several", ("role", "database", "seen", "one of"), tuple(groups))


def _strangers(strangers: Iterable[Stranger]) -> Sheet:
    rows = tuple(_row(one.who, one.role, one.hazard.what, one.hazard.evidence) for one in strangers)
    return Sheet("Of no declared service", ("who", "role", "hazard", "seen"), (rows,))


def duration(seconds: float) -> str:
    """A time as a person says it: 42 s, 17 min, 5 h, 3 d."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def _script(program: str) -> str:
    """`/usr/bin/python3 /srv/report.py` is `report.py` to whoever wrote it."""
    words = [word for word in program.split() if "/" in word] or program.split()[:1]
    return PurePosixPath(words[-1]).name if words else ""


def _row(*cells: str | Cell) -> tuple[Cell, ...]:
    return tuple(Cell(cell) if isinstance(cell, str) else cell for cell in cells)


def _printable(sheet: Sheet) -> Table:
    table = Table(title=sheet.title, title_justify="left", show_edge=False)
    for name in sheet.columns:
        table.add_column(name, overflow="fold")
    for rows in sheet.groups:
        for number, row in enumerate(rows):
            # Plain text: a role or an application may be named [bold], and that is its name.
            cells = [Text(cell.text, _COLOURS[cell.tone]) for cell in row]
            table.add_row(*cells, end_section=len(sheet.groups) > 1 and number == len(rows) - 1)
    return table
