"""Runs and moves, folded from the events of their journals. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from poolward.history.events import Event, Look, Sessions, merged, text
from poolward.history.records import History, Move, Restart, Result, Run

_BEGINNINGS = frozenset(
    {"begun", "skipped", "failed", "switched", "restarted", "proved", "not_proved", "taken_back", "stuck"}
)
"""A move is told from any of these on: the beginning of a journal may be lost."""
_FAILURES = ("failed",)
_ENDS = {
    Result.MOVED: ("proved",),
    Result.MOVED_BACK: ("proved",),
    Result.TAKEN_BACK: ("taken_back", "proved"),
    Result.STUCK: ("stuck",),
    Result.FAILED: _FAILURES,
    Result.NOT_PROVED: ("not_proved",),
    Result.SKIPPED: ("skipped",),
}


def read(journals: Iterable[Iterable[Mapping[str, object]]]) -> History:
    """What these journals tell together; raises PoolwardError where they tell nothing, or of several inventories."""
    events = merged(journals)
    runs: dict[str, list[Event]] = {}
    for event in events:
        runs.setdefault(event.run, []).append(event)
    looks = tuple(Look(event) for event in events if event.step == "look")
    return History(tuple(_run(name, of) for name, of in runs.items()), looks, len(events))


def _run(name: str, events: Sequence[Event]) -> Run:
    started, ended = _last(events, "started"), _last(events, "ended")
    direct = {**(started.reasons("left_direct") if started else {}), **(ended.reasons("direct") if ended else {})}
    skipped = {**(started.reasons("skipped") if started else {}), **_skipped(events)}
    return Run(
        id=name,
        what=events[0].what,
        inventory=events[0].inventory,
        user=started.text("user") if started else "",
        options=_options(started.facts.get("options")) if started else "",
        began=events[0].at,
        last=events[-1].at,
        ended=ended is not None,
        ok=ended is not None and ended.facts.get("ok") is not False,
        limit=started.count("limit") if started else None,
        direct=direct,
        skipped=skipped,
        left=ended.texts("left") if ended else (),
        clients_per_server=ended.numbers("clients_per_server") if ended else {},
        order=started.texts("order") if started else (),
        moves=tuple(_move(of) for of in _by_move(events)),
    )


def _skipped(events: Iterable[Event]) -> dict[str, str]:
    return {event.service: event.text("reason") for event in events if event.step == "skipped"}


def _by_move(events: Iterable[Event]) -> list[list[Event]]:
    """The events of each move: a service that begins twice in one run has moved twice."""
    found: list[list[Event]] = []
    under_way: dict[str, list[Event]] = {}
    for event in events:
        if event.step in _BEGINNINGS and event.service and (event.step == "begun" or event.service not in under_way):
            under_way[event.service] = []
            found.append(under_way[event.service])
        if event.service in under_way:
            under_way[event.service].append(event)
    return found


def _move(events: Sequence[Event]) -> Move:
    result = _result(events)
    begun, login, switched = (_last(events, step) for step in ("begun", "login", "switched"))
    looks = [event for event in events if event.step == "look"]
    end = _end(events, result)
    counted = [event.sessions for event in (end, *reversed(looks)) if event and event.sessions.counted]
    proof = _last(events, "proved") if result in (Result.MOVED, Result.MOVED_BACK) else None
    restarts = tuple(Restart(event.at, event.number("seconds")) for event in events if event.step == "restarted")
    source, target = _route(begun)
    return Move(
        service=events[0].service,
        what=events[0].what,
        host=begun.text("host") if begun else "",
        pooler=begun.text("pooler") if begun else "",
        role=next((event.text("role") for event in (login, begun) if event and event.text("role")), ""),
        source=source,
        target=target,
        began=events[0].at,
        ended=end.at if end else None,
        before=begun.sessions if begun else Sessions(),
        after=counted[0] if counted else Sessions(),
        login=login.number("milliseconds") if login else None,
        restarts=restarts,
        soak=proof.number("soak") if proof else None,
        seconds=_seconds(begun, proof, end),
        longest_wait=max((wait for look in looks if (wait := look.number("longest_wait")) is not None), default=None),
        settings=f"{', '.join(switched.texts('variables'))} in {switched.text('path')}" if switched else "",
        # A switch that is journaled here need not have begun on the host, which says so once it is asked.
        touched=not _last(events, "untouched") and bool(switched or restarts or _last(events, "restarting")),
        result=result,
        reasons=tuple(dict.fromkeys(reason for event in events if (reason := event.text("reason")))),
        hint=next((hint for event in reversed(events) if (hint := event.text("hint"))), ""),
        commands=next((event.texts("commands") for event in events if event.step == "stuck"), ()),
    )


def _route(begun: Event | None) -> tuple[str, str]:
    """Where a service connected and where it shall; a journal may leave out what a rollback follows from."""
    if begun is None:
        return "", ""
    source, target = begun.text("from"), begun.text("to")
    if source or target or not begun.text("pooler"):
        return source, target
    pooled = f"{begun.text('pooler')}/{begun.text('entry')}"
    return (pooled, "the server") if begun.what == "rollback" else ("the server", pooled)


def _seconds(begun: Event | None, proof: Event | None, end: Event | None) -> float | None:
    said = proof.number("seconds") if proof else None
    return end.at - begun.at if said is None and begun and end else said


def _result(events: Sequence[Event]) -> Result:
    steps = [event.step for event in events]
    failed = max((number for number, step in enumerate(steps) if step in _FAILURES), default=-1)
    proved = max((number for number, step in enumerate(steps) if step == "proved"), default=-1)
    if "stuck" in steps:
        return Result.STUCK
    if "taken_back" in steps:
        return Result.TAKEN_BACK
    if proved > failed:
        if events[0].what == "rollback":
            return Result.MOVED_BACK
        # What is proved after a failure is the way back, which is proved as every move is.
        return Result.MOVED if failed < 0 else Result.TAKEN_BACK
    if "not_proved" in steps and failed < 0:
        return Result.NOT_PROVED
    if failed >= 0:
        return Result.FAILED
    return Result.SKIPPED if "skipped" in steps else Result.OPEN


def _end(events: Sequence[Event], result: Result) -> Event | None:
    found = (_last(events, step) for step in _ENDS.get(result, ()))
    return next(filter(None, found), None)


def _last(events: Sequence[Event], step: str) -> Event | None:
    return next((event for event in reversed(events) if event.step == step), None)


def _options(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{text(name)} = {text(given)}" for name, given in value.items())
    return " ".join(map(text, value)) if isinstance(value, list) else text(value)
