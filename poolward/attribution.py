"""Whose every hazard is: by a socket, else by a role under which one alone was seen, else one of several. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from poolward.hazards import (
    LONG_IDLE_IN_TRANSACTION,
    Certainty,
    Declared,
    Hazard,
    ServiceAssessment,
    Stranger,
    Suspicion,
)
from poolward.holders import Identities, Login, Owner
from poolward.observed.scan import Counted, Scan, Sign, What

_SPELLED = {
    "names": "client_encoding",
    "time": "timezone",
    "schema": "search_path",
    "characteristics": "SESSION CHARACTERISTICS",
    "authorization": "SESSION AUTHORIZATION",
    "set_config": "set_config(…, false)",
}
_STRENGTH: Mapping[Certainty, int] = {"socket": 0, "settings": 1, "role": 2}


@dataclass(frozen=True)
class Attributed:
    """Everything the scans showed, by whom."""

    services: tuple[ServiceAssessment, ...]
    suspicions: tuple[Suspicion, ...]
    strangers: tuple[Stranger, ...]


@dataclass(frozen=True)
class _Clue:
    """Something that was seen, and whose it is as far as a socket tells."""

    login: Login
    owner: Owner | None
    what: What
    evidence: str
    count: int


class _Role(NamedTuple):
    """What is known of those whose sockets tell nothing: their login, and the application host where that is known."""

    login: Login
    host: str


def attribute(
    declared: Sequence[Declared],
    identities: Identities,
    scans: Mapping[str, Scan],
    *,
    tracked: Collection[str],
) -> Attributed:
    """Say of everything the scans (by server) showed whose it is.

    A SET of one of the `tracked` parameters is none: the pooler restores it.
    """
    hazards = {
        service.name: [*_by_settings(service, scans), *_by_login(service, identities, scans)] for service in declared
    }
    strangers: list[Stranger] = []
    by_role: dict[tuple[_Role, What], list[_Clue]] = {}
    for server, scan in scans.items():
        for clue in (*_in_sessions(server, scan, identities, tracked), *_in_statements(server, scan, tracked)):
            match clue.owner:
                case Owner(name=name, kind="service"):
                    hazards[name].append(Hazard.of(clue.what, clue.evidence, clue.count, "socket"))
                case None | Owner(kind="pooler"):
                    by_role.setdefault((_Role(clue.login, ""), clue.what), []).append(clue)
                case Owner(kind="address", host=host) if host:
                    by_role.setdefault((_Role(clue.login, host), clue.what), []).append(clue)
                case Owner(name=name):
                    hazard = Hazard.of(clue.what, clue.evidence, clue.count, "socket")
                    strangers.append(Stranger(name, server, clue.login.role, hazard))
    suspicions: list[Suspicion] = []
    for (role, what), clues in by_role.items():
        suspicion = _suspicion(role, what, clues, declared, identities)
        if len(suspicion.candidates) == 1 and not suspicion.others:
            hazards[suspicion.candidates[0]].append(Hazard.of(what, suspicion.evidence, suspicion.count, "role"))
        else:
            suspicions.append(suspicion)
    services = tuple(
        ServiceAssessment(
            service.name,
            service.host,
            service.pool,
            identities.presence[service.name],
            _merged(hazards[service.name]),
            settings_read=service.options is not None,
        )
        for service in declared
    )
    return Attributed(services, tuple(_with_known(one, services) for one in suspicions), tuple(strangers))


def _by_settings(service: Declared, scans: Mapping[str, Scan]) -> Iterator[Hazard]:
    for lost in service.options or ():
        pinned = _at_login(Login("", lost.role, lost.database), scans.values())
        missing = [name for name in lost.names if name.lower() not in pinned]
        harmless = lost.fate == "dropped" and not missing
        names = ", ".join(lost.names) or "what is no setting"
        evidence = f"{lost.variable} passes {names}, which " + (
            "its role has of itself" if harmless else f"is {lost.fate} on the way"
        )
        yield Hazard.of("options of its role" if harmless else "options", evidence, len(lost.names) or 1, "settings")


def _by_login(service: Declared, identities: Identities, scans: Mapping[str, Scan]) -> Iterator[Hazard]:
    """What the server itself sets when a role of the service logs in: the pooler logs in as that role, too."""
    for login in identities.presence[service.name].logins:
        if names := _at_login(login, [scan for server, scan in scans.items() if server == login.server]):
            told = f"{login.role} in {login.database} gets {', '.join(sorted(names))} at login (pg_db_role_setting)"
            yield Hazard.of("login settings", told, len(names), "socket")
            if "idle_session_timeout" in names:
                yield Hazard.of("idle_session_timeout", told, 1, "socket")


def _at_login(login: Login, scans: Collection[Scan]) -> set[str]:
    """The parameters this login gets on every one of these servers, in lower case."""
    found = [
        {one.name.lower() for one in scan.login_settings if one.applies(login.role, login.database)} for scan in scans
    ]
    return set.intersection(*found) if found else set()


def _in_sessions(server: str, scan: Scan, identities: Identities, tracked: Collection[str]) -> Iterator[_Clue]:
    groups: dict[tuple[Owner | None, Login, What], list[Sign]] = {}
    for sign in scan.signs:
        if _matters(sign.what, sign.detail, tracked) and not _is_short(sign):
            # Without a pid it is a temporary table of which the catalog tells nothing but the owner.
            owner = identities.owner(server, sign.pid, sign.peer) if sign.pid else None
            groups.setdefault((owner, Login(server, sign.role, sign.database), sign.what), []).append(sign)
    for (owner, login, what), signs in groups.items():
        told = (_told(what, source, [sign for sign in signs if sign.source == source]) for source in _SOURCES)
        yield _Clue(login, owner, what, "; ".join(filter(None, told)), len({sign.pid for sign in signs}))


def _in_statements(server: str, scan: Scan, tracked: Collection[str]) -> Iterator[_Clue]:
    groups: dict[tuple[Login, What], list[Counted]] = {}
    for one in scan.statements.counted if scan.statements else ():
        if _matters(one.what, one.detail, tracked):
            groups.setdefault((Login(server, one.role, one.database), one.what), []).append(one)
    since = f" since {scan.statements.since}" if scan.statements and scan.statements.since else ""
    for (login, what), counted in groups.items():
        calls = sum(one.calls for one in counted)
        evidence = f"{_named(what, (one.detail for one in counted))} × {calls}{since} (pg_stat_statements)"
        yield _Clue(login, None, what, evidence, calls)


def _suspicion(
    role: _Role, what: What, clues: Sequence[_Clue], declared: Sequence[Declared], identities: Identities
) -> Suspicion:
    candidates = (
        service.name
        for service in declared
        if role.login in identities.presence[service.name].logins and role.host in ("", service.host)
    )
    return Suspicion(
        *role.login,
        what=what,
        evidence="; ".join(clue.evidence for clue in clues),
        count=sum(clue.count for clue in clues),
        candidates=tuple(candidates),
        others=tuple(sorted(identities.strangers.get(role.login, ()))),
    )


def _with_known(suspicion: Suspicion, services: Iterable[ServiceAssessment]) -> Suspicion:
    known = (
        service.name
        for service in services
        if service.name in suspicion.candidates and any(hazard.what == suspicion.what for hazard in service.hazards)
    )
    return replace(suspicion, known=tuple(known))


def _merged(hazards: Iterable[Hazard]) -> tuple[Hazard, ...]:
    """One hazard per kind: all its evidence, the count and certainty of the strongest."""
    kinds: dict[str, list[Hazard]] = {}
    for hazard in sorted(hazards, key=lambda hazard: _STRENGTH[hazard.certainty]):
        kinds.setdefault(hazard.what, []).append(hazard)
    return tuple(
        replace(
            same[0],
            evidence="; ".join(one.evidence for one in same),
            count=sum(one.count for one in same if one.certainty == same[0].certainty),
        )
        for same in kinds.values()
    )


_SOURCES = ("pg_locks", "pg_class", "pg_stat_activity")


def _told(what: What, source: str, signs: Sequence[Sign]) -> str:
    if not signs:
        return ""
    pids = sorted({sign.pid for sign in signs} - {0})
    count = sum(sign.count for sign in signs)
    sessions = "one session" if len(pids) == 1 else f"{len(pids)} sessions"
    where = f"({source}{f', backend {_listed(pids)}' if pids else ''})"
    if source == "pg_locks":
        return f"{sessions} held {count} while idle, outside a transaction {where}"
    if source == "pg_class":
        return f"{count} outlived a transaction {where}"
    if what == "idle in transaction":
        return f"{sessions}, {max(sign.seconds for sign in signs):.0f} s at the longest {where}"
    return f"{_named(what, (sign.detail for sign in signs))}: last statement of {sessions} {where}"


def _named(what: What, details: Iterable[str]) -> str:
    names = sorted({_SPELLED.get(detail, detail) for detail in details} - {""})
    return " ".join(filter(None, (what, ", ".join(names))))


def _listed(pids: Sequence[int], most: int = 4) -> str:
    return ", ".join(map(str, pids[:most])) + (", …" if len(pids) > most else "")


def _matters(what: What, detail: str, tracked: Collection[str]) -> bool:
    return what != "SET" or _SPELLED.get(detail, detail) not in tracked


def _is_short(sign: Sign) -> bool:
    return sign.what == "idle in transaction" and sign.seconds < LONG_IDLE_IN_TRANSACTION
