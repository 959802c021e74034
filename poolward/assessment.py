"""What `poolward assess` found: each server's load, each service's hazards, and what stays unknown. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console

from poolward import assessment_tables
from poolward.attribution import Attributed
from poolward.hazards import PREPARED_SINCE, ServiceAssessment, Stranger, Suspicion, fits_as_declared, proposed_order
from poolward.holders import Holder
from poolward.observed.scan import Scan
from poolward.settings import Version


@dataclass(frozen=True)
class ServerLoad:
    """How near a server is to its limit, and by whom."""

    name: str
    now: int
    peak: int
    """The most sessions in any sample of the window."""
    limit: int
    """`max_connections` less what is reserved."""
    holders: tuple[Holder, ...]

    @property
    def superusers(self) -> int:
        """Sessions now that may take the connections reserved for superusers, too."""
        return sum(holder.sessions for holder in self.holders if holder.superuser)


@dataclass(frozen=True)
class Assessment:
    """Everything there is to say before services move."""

    window: float
    interval: float
    """Seconds, both."""
    servers: tuple[ServerLoad, ...]
    services: tuple[ServiceAssessment, ...]
    suspicions: tuple[Suspicion, ...]
    strangers: tuple[Stranger, ...]
    order: tuple[str, ...]
    cannot_see: tuple[str, ...]
    """What no scan of this kind sees, and what this one did not, in sentences."""

    unseen = ()

    @property
    def differs(self) -> bool:
        """Whether a service does not fit the pool it is declared for."""
        return not all(fits_as_declared(service) for service in self.services)

    @property
    def stay_direct(self) -> tuple[str, ...]:
        """Services that are not in the order."""
        return tuple(service.name for service in self.services if service.name not in self.order)

    @property
    def proposed(self) -> str:
        """The order, as one line."""
        return " → ".join(self.order) or "nothing to move"

    def show(self, console: Console) -> None:
        """Print it for a person."""
        assessment_tables.show(console, self)

    def document(self) -> dict[str, Any]:
        """The same for a machine."""
        services = [{**asdict(service), "verdict": service.verdict} for service in self.services]
        return {"clean": not self.differs, **asdict(self), "services": services, "stay_direct": self.stay_direct}

    @classmethod
    def of(
        cls,
        attributed: Attributed,
        servers: Iterable[ServerLoad],
        scans: Mapping[str, Scan],
        versions: Mapping[str, Version | None],
        window: float,
        interval: float,
    ) -> Assessment:
        """Put it together; `versions` by pooler, None where nobody can tell yet."""
        return cls(
            window,
            interval,
            tuple(servers),
            attributed.services,
            attributed.suspicions,
            attributed.strangers,
            tuple(proposed_order(attributed.services)),
            tuple(_blind_spots(attributed, scans, versions)),
        )


def _blind_spots(
    attributed: Attributed, scans: Mapping[str, Scan], versions: Mapping[str, Version | None]
) -> Iterable[str]:
    yield (
        "Code that did not run while it was looked at, SET inside functions, and set_config() where a parameter says "
        "whether it is for the session."
    )
    for name, scan in scans.items():
        if not scan.track_activities:
            yield f"{name}: track_activities is off, so nobody can tell what its sessions do or how long they are idle."
        if scan.statements is None:
            yield (
                f"{name}: pg_stat_statements cannot be read, so LISTEN, SET, PREPARE and cursors show only where they "
                "are a session's last statement."
            )
            continue
        if not scan.statements.track_utility:
            yield f"{name}: pg_stat_statements.track_utility is off, so LISTEN, SET and CREATE are not counted."
        if scan.statements.evictions:
            yield (
                f"{name}: pg_stat_statements was full {scan.statements.evictions} times and forgot what ran least "
                "(pg_stat_statements.max)."
            )
    if scans:
        yield "Whose a counted statement was: pg_stat_statements knows no more than its role, which people use, too."
    carries = f"PgBouncer carries them from {PREPARED_SINCE} on, with max_prepared_statements"
    old = [f"{name} has {version}" for name, version in versions.items() if version and version < PREPARED_SINCE]
    yield (
        "Prepared statements of the protocol, which psycopg 3, JDBC, asyncpg, pgx and others use unasked: "
        + (f"{carries}; {', '.join(old)}: behind it such a driver needs a session pool." if old else f"{carries}.")
    )
    unread = [service.name for service in attributed.services if not service.settings_read]
    if unread:
        yield f"`options` of {', '.join(unread)}: their settings file is not there, or cannot be read."
    missing = [service.name for service in attributed.services if service.verdict == "unknown"]
    if missing:
        yield f"Anything of {', '.join(missing)}: no session was seen. Assess again while they work."
