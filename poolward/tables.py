"""What a person reads at the terminal: findings, poolers, backends and the bill as tables. Text in, text out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from poolward.bill import Bill, Line
from poolward.observed import Console, PoolerState, ServerState
from poolward.size import Need
from poolward.unseen import Unseen
from poolward.verify import Finding

if TYPE_CHECKING:
    from poolward.plan import Change
    from poolward.services import Row

_SHARED = 4
"""From so many poolers on, what they have in common is one line."""


def findings(found: Iterable[Finding]) -> Table:
    """One row per thing looked at, what is wrong below it."""
    table = Table(title="As declared?", title_justify="left", show_edge=False)
    table.add_column("")
    table.add_column("host")
    table.add_column("looked at", no_wrap=True)
    table.add_column("seen", overflow="fold")
    for finding in found:
        mark = Text("✓", "green") if finding.ok else Text("✗", "bold red")
        seen = Text(finding.note or "as declared") if finding.ok else Text("\n".join(finding.wrong), "red")
        table.add_row(mark, finding.where, finding.what, seen)
    return table


def poolers(states: Mapping[str, PoolerState]) -> Table:
    """Per pooler its version, listeners and pools."""
    table = Table(title="Poolers", title_justify="left", show_edge=False)
    for name in ("pooler", "entry", "mode"):
        table.add_column(name)
    for name in ("size + reserve", "max_db_connections", "clients", "servers"):
        table.add_column(name, justify="right")
    for name, state in states.items():
        rows = list(_entries(state.console)) if state.console else [("silent on its console",)]
        for number, row in enumerate(rows):
            first = f"{name} ({state.version or 'not installed'})" if number == 0 else ""
            table.add_row(first, *row, end_section=number == len(rows) - 1)
    return table


def _entries(console: Console) -> Iterable[tuple[str, ...]]:
    for row in console.databases:
        if row["name"] == "pgbouncer":
            continue
        pools = [pool for pool in console.pools if pool["database"] == row["name"]]
        clients = sum(int(pool["cl_active"]) + int(pool["cl_waiting"]) for pool in pools)
        servers = sum(int(pool[key]) for pool in pools for key in ("sv_active", "sv_idle", "sv_used", "sv_login"))
        reserve = row.get("reserve_pool_size", row.get("reserve_pool", "0"))
        mode = row["pool_mode"] or console.config["pool_mode"].value
        size = f"{row['pool_size']} + {reserve}"
        yield row["name"], mode, size, row["max_connections"], str(clients), str(servers)


def backends(name: str, state: ServerState) -> Table:
    """Who holds the connections of a server: by database and role."""
    table = Table(
        title=f"Backends of {name} (PostgreSQL {state.version.split()[0]})", title_justify="left", show_edge=False
    )
    for column in ("database", "role"):
        table.add_column(column)
    for column in ("backends", "active"):
        table.add_column(column, justify="right")
    counted: dict[tuple[str, str], list[int]] = {}
    for row in state.backends:
        numbers = counted.setdefault((str(row["database"]), _role(row)), [0, 0])
        numbers[0] += int(row["count"])
        numbers[1] += int(row["active"])
    for (database, role), (count, active) in sorted(counted.items(), key=lambda item: -item[1][0]):
        table.add_row(database, role, str(count), str(active))
    table.add_section()
    table.add_row("all", "", str(sum(count for count, _ in counted.values())), "")
    return table


def bill(found: Bill, direct: int, rolling_hosts: int = 1) -> Table:
    """The bill of a server, in short; `direct` sessions were seen now, `rolling_hosts` run two processes at a time."""
    title = f"The bill for {found.server} (PostgreSQL {found.version.split()[0]})"
    table = Table(title=title, title_justify="left", show_edge=False)
    table.add_column("")
    table.add_column("connections", justify="right")
    table.add_column("")
    for line in found.has:
        table.add_row(line.what, str(line.connections), line.source)
    table.add_row(Text("left for the poolers", "bold"), Text(str(found.left), "bold"), "", end_section=True)
    for line in _together(found.takes):
        table.add_row(line.what, str(line.connections), line.source)
    style = "bold green" if found.fits else "bold red"
    table.add_row(Text("worst case of the poolers", style), Text(str(found.worst_case), style), found.verdict)
    rolling = found.worst_case_while_rolling(rolling_hosts)
    if rolling > found.worst_case:
        hosts = "one pooler runs" if rolling_hosts == 1 else f"{rolling_hosts} poolers run"
        table.add_row(f"while {hosts} an old and a new process", str(rolling), found.verdict_of(rolling))
    table.add_row("direct sessions, seen now", str(direct), "until their services have moved")
    return table


def _together(lines: Sequence[Line]) -> Iterable[Line]:
    """The lines in their order; what many poolers have in common as one."""
    alike: dict[tuple[str, int, str], list[Line]] = {}
    for line in lines:
        alike.setdefault(_without_pooler(line), []).append(line)
    for line in lines:
        same = alike[_without_pooler(line)]
        if len(same) < _SHARED:
            yield line
        elif line is same[0]:
            what, connections, source = _without_pooler(line)
            yield Line(f"{len(same)} poolers  {what}, {connections} each", connections * len(same), source)


def _without_pooler(line: Line) -> tuple[str, int, str]:
    return line.what.removeprefix(line.pooler).strip(), line.connections, line.source


def changes(found: Iterable[Change]) -> Table:
    """What a deploy would change, host by host, and what each change means."""
    table = Table(title="What a deploy would change", title_justify="left", show_edge=False)
    for column in ("host", "what", "now", "then", "takes"):
        table.add_column(column, overflow="fold")
    host = ""
    for change in found:
        if change.where != host and host:
            table.add_section()
        table.add_row(
            change.where if change.where != host else "", change.what, change.is_now, change.will_be, change.effect
        )
        host = change.where
    return table


def sizes(name: str, needs: Iterable[Need], window: float, interval: float) -> Table:
    """Per database and role what was in use at most, and the pool that would serve it."""
    title = f"What {name} needed over {window:g} s, sampled every {interval:g} s"
    table = Table(title=title, title_justify="left", show_edge=False)
    for column in ("database", "role"):
        table.add_column(column)
    for column in ("connected at most", "in use at most", "on average", "pool_size"):
        table.add_column(column, justify="right")
    for need in needs:
        table.add_row(
            need.database,
            need.role,
            str(need.peak_sessions),
            str(need.peak_in_use),
            f"{need.average_in_use:.1f}",
            str(need.pool_size),
        )
    return table


def unseen(found: Iterable[Unseen]) -> Table:
    """What nobody looked at, and what would allow it."""
    table = Table(title="Not looked at", title_justify="left", show_edge=False)
    for column in ("host", "what", "needs"):
        table.add_column(column, overflow="fold")
    for one in found:
        table.add_row(one.where, one.what, one.needs)
    return table


def standings(rows: Iterable[Row], clock: float) -> Table:
    """Where every service stands; `clock` is now, in seconds of the epoch."""
    table = Table(title="Where every service stands", title_justify="left", show_edge=False)
    for column in ("service", "host", "stands"):
        table.add_column(column)
    for column in ("direct", "pooled", "running for"):
        table.add_column(column, justify="right")
    table.add_column("", overflow="fold")
    styles = {"pooled": "green", "pooled, not proved": "yellow", "direct": "", "left direct": "dim"}
    for row in rows:
        counts = ("?" if count is None else str(count) for count in (row.direct, row.pooled))
        stopped = "?" if row.direct is None else "not running"
        running = _duration(clock - row.since) if row.since is not None else stopped
        stands = Text(row.standing, styles.get(row.standing, "bold red"))
        table.add_row(row.name, row.host, stands, *counts, running, row.note)
    return table


def _duration(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


def _role(row: Mapping[str, Any]) -> str:
    return f"{row['role']} (superuser)" if row["superuser"] else str(row["role"])
