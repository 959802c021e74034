"""An assessment as a person reads it at the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from poolward.hazards import ServiceAssessment, Stranger, Suspicion, fits_as_declared

if TYPE_CHECKING:
    from poolward.assessment import Assessment, ServerLoad

_VERDICTS = {
    "transaction": ("transaction pool", "green"),
    "session": ("session alias", "yellow"),
    "direct": ("stay direct", "red"),
    "unknown": ("not seen", "yellow"),
}
_CERTAINTY = {
    "socket": "by its sockets",
    "settings": "by its settings",
    "role": "nobody else was seen as this role",
}


def show(console: Console, found: Assessment) -> None:
    """Print all of it."""
    for server in found.servers:
        console.print(_load(server, found.window), "")
    console.print(_services(found), "")
    if any(service.hazards for service in found.services):
        console.print(_hazards(found.services), "")
    if found.suspicions:
        console.print(_suspicions(found.suspicions), "")
    if found.strangers:
        console.print(_strangers(found.strangers), "")
    console.print(Text.assemble(("Proposed order  ", "bold"), " → ".join(found.order) or "nothing to move"))
    if found.stay_direct:
        console.print(Text.assemble(("Left direct     ", "bold"), ", ".join(found.stay_direct)))
    console.print(Text("\nWhat this scan cannot see", "bold"))
    for sentence in found.cannot_see:
        console.print(Text(f"· {sentence}"))


def _load(server: ServerLoad, window: float) -> Table:
    title = (
        f"Connections of {server.name}: {server.now} of {server.limit} now, {server.peak} at most in {window:g} s; "
        f"{server.superusers} are a superuser's (*)"
    )
    table = _table(title, "holder", "program", "role", "database", "application", "address", "sessions", "idle for")
    for holder in server.holders:
        _row(
            table,
            holder.owner.name,
            _script(holder.owner.program),
            f"{holder.role}*" if holder.superuser else holder.role,
            holder.database,
            holder.application,
            holder.address,
            ", ".join(f"{count} {state or 'unknown'}" for state, count in holder.states.items()),
            duration(holder.idle) if holder.idle else "",
        )
    return table


def _services(found: Assessment) -> Table:
    table = _table(
        "What breaks in transaction mode", "service", "host", "sessions", "declared", "verdict", "because of"
    )
    for service in found.services:
        presence = service.presence
        sessions = f"{presence.direct}{'*' if presence.superuser else ''}"
        verdict, colour = _VERDICTS[service.verdict]
        fits = fits_as_declared(service)
        _row(
            table,
            service.name,
            service.host,
            f"{sessions} + {presence.pooled} pooled" if presence.pooled else sessions,
            Text(service.declared if fits else f"{service.declared} ✗", "" if fits else "bold red"),
            Text(verdict, colour),
            _reasons(service, found.suspicions),
        )
    return table


def _reasons(service: ServiceAssessment, suspicions: Iterable[Suspicion]) -> Text:
    """What decides the verdict, and what would if it is this one of several."""
    mine = [hazard.what for hazard in service.hazards]
    deciding = [hazard.what for hazard in service.hazards if hazard.needs == service.verdict != "transaction"]
    maybe = sorted({one.what for one in suspicions if service.name in one.candidates and one.what not in mine})
    return Text.assemble(", ".join(deciding), "; " if deciding and maybe else "", (_maybe(maybe), "dim"))


def _maybe(what: Sequence[str], most: int = 3) -> str:
    if not what:
        return ""
    return f"maybe {', '.join(what[:most])}" + (f" and {len(what) - most} more" if len(what) > most else "")


def _hazards(services: Iterable[ServiceAssessment]) -> Table:
    table = _table("The evidence", "service", "hazard", "seen", "instead")
    for service in services:
        for number, hazard in enumerate(service.hazards):
            _row(
                table,
                service.name if number == 0 else "",
                Text(hazard.what, _VERDICTS[hazard.needs][1]),
                f"{hazard.evidence}; {_CERTAINTY[hazard.certainty]}",
                hazard.remedy,
                end_section=number == len(service.hazards) - 1,
            )
    return table


def _suspicions(suspicions: Iterable[Suspicion]) -> Table:
    table = _table("Known by role alone, so it is one of several", "role", "database", "seen", "one of")
    alike: dict[tuple[str, str, str], list[Suspicion]] = {}
    for one in sorted(suspicions, key=lambda s: (s.server, s.role, s.database, s.what)):
        who = ", ".join((*one.candidates, *one.others)) or "nobody was seen as this role"
        alike.setdefault((one.role, one.database, who), []).append(one)
    for (role, database, who), same in alike.items():
        lines = [one.evidence + (f"; seen of {', '.join(one.known)}" if one.known else "") for one in same]
        _row(table, role, database, "\n".join(lines), who, end_section=True)
    return table


def _strangers(strangers: Iterable[Stranger]) -> Table:
    table = _table("Of no declared service", "who", "role", "hazard", "seen")
    for one in strangers:
        _row(table, one.who, one.role, one.hazard.what, one.hazard.evidence)
    return table


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


def _row(table: Table, *cells: str | Text, end_section: bool = False) -> None:
    """A row of plain text: a role or an application may be named [bold], and that is its name."""
    table.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in cells), end_section=end_section)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", show_edge=False)
    for name in columns:
        table.add_column(name, overflow="fold")
    return table
