"""The events of journals, read with care: what is missing stays unknown, what is no number is none, text is printable.

A journal is written by one version and may be read by another, years later: keys nobody knows are left alone, and a key
that is missing is never taken for a zero.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePath

from poolward.errors import PoolwardError

_LATEST = 253_402_300_800
"""The year 10000, the end of what a calendar here can show."""
_TOLD = ("cutover", "rollback")
"""What moves services; the journals of other runs have nothing to tell here."""
_UNPRINTABLE = re.compile(r"[^\t\n\x20-\x7e\xa0-\ud7ff\ue000-\ufdcf\ufdf0-\ufffd\U00010000-\U0001fffd]")
"""What neither a terminal may be sent nor HTML may hold."""


@dataclass(frozen=True)
class Sessions:
    """The sessions of a service: straight to the server, and through a pooler. None: nobody counted."""

    direct: int | None = None
    pooled: int | None = None

    @property
    def counted(self) -> bool:
        return self.direct is not None or self.pooled is not None

    def __str__(self) -> str:
        if not self.counted:
            return "not counted"
        said = {"direct": self.direct, "pooled": self.pooled}
        return ", ".join(f"{'?' if count is None else count} {where}" for where, count in said.items())


@dataclass(frozen=True)
class Event:
    """One line of a journal."""

    at: float
    """Seconds of the epoch."""
    run: str
    what: str
    """`cutover` or `rollback`."""
    inventory: str
    service: str
    step: str
    facts: Mapping[str, object]

    def text(self, name: str) -> str:
        return text(self.facts.get(name))

    def texts(self, name: str) -> tuple[str, ...]:
        value = self.facts.get(name)
        return tuple(map(text, value)) if isinstance(value, list) else ((text(value),) if text(value) else ())

    def reasons(self, name: str) -> dict[str, str]:
        """A mapping of names to sentences."""
        return {text(key): text(value) for key, value in _mapping(self.facts.get(name)).items()}

    def numbers(self, name: str) -> dict[str, float]:
        """A mapping of names to numbers."""
        found = {text(key): number(value) for key, value in _mapping(self.facts.get(name)).items()}
        return {key: value for key, value in found.items() if value is not None}

    def number(self, name: str) -> float | None:
        return number(self.facts.get(name))

    def count(self, name: str) -> int | None:
        return count(self.facts.get(name))

    @property
    def sessions(self) -> Sessions:
        return Sessions(self.count("direct"), self.count("pooled"))


@dataclass(frozen=True)
class Look:
    """One look at everything. A mapping that is None was not in the journal."""

    event: Event

    @property
    def at(self) -> float:
        return self.event.at

    @cached_property
    def by_service(self) -> Mapping[str, Sessions] | None:
        value = self.event.facts.get("by_service")
        if not isinstance(value, Mapping):
            return None
        pairs = {text(name): _mapping(numbers) for name, numbers in value.items()}
        return {name: Sessions(count(of.get("direct")), count(of.get("pooled"))) for name, of in pairs.items()}

    @cached_property
    def by_pooler(self) -> Mapping[str, int] | None:
        """Backends held by poolers."""
        found = self.counts("by_pooler")
        return self.counts("servers") if found is None else found

    @cached_property
    def others(self) -> int | None:
        """Backends that belong to no declared service and to no pooler."""
        if (said := self.event.count("others")) is not None or self.backends is None or self.by_service is None:
            return said
        known = sum(of.direct or 0 for of in self.by_service.values()) + sum((self.by_pooler or {}).values())
        return max(0, self.backends - known)

    @property
    def backends(self) -> int | None:
        """All backends of the server."""
        return self.event.count("backends")

    @property
    def limit(self) -> int | None:
        """How many connections the server has for applications."""
        return self.event.count("limit")

    def counts(self, name: str) -> Mapping[str, int] | None:
        """A mapping of names to counts."""
        return _counts(self.event.facts.get(name))

    @cached_property
    def errors(self) -> Mapping[str, Mapping[str, int]]:
        """By service that reports them, what its clients have seen since it started, by SQLSTATE."""
        found = {text(name): _counts(codes) for name, codes in _mapping(self.event.facts.get("errors")).items()}
        return {name: codes for name, codes in found.items() if codes is not None}


def merged(journals: Iterable[Iterable[Mapping[str, object]]]) -> list[Event]:
    """The events of several journals by time; one that stands in two of them (the hosts keep theirs) counts once.

    Raises PoolwardError where there is nothing to tell, or of more than one inventory.
    """
    events: dict[str, Event] = {}
    for journal in journals:
        last = 0.0
        for facts in journal:
            if isinstance(facts, Mapping) and facts.get("step"):
                event = _event(facts, last)
                last = event.at
                if event.what not in _TOLD:
                    continue
                events.setdefault(json.dumps(facts, sort_keys=True, default=str), event)
    inventories = sorted({event.inventory for event in events.values()} - {""})
    if not events:
        raise PoolwardError(
            "There is no event of a cutover in what was given.",
            "Give files of journal/, such as journal/20260302-140000-cutover-5b0c8f.jsonl.",
        )
    if len({PurePath(name).stem for name in inventories}) > 1:  # the file's name is the environment
        raise PoolwardError(
            f"The journals are of different inventories: {', '.join(inventories)}.", "Make a report of each."
        )
    return sorted(events.values(), key=lambda event: event.at)


def _event(facts: Mapping[str, object], last: float) -> Event:
    at = number(facts.get("at"))
    return Event(
        at=at if at is not None and 0 <= at < _LATEST else last,
        run=text(facts.get("run")),
        what=text(facts.get("what")) or "cutover",
        inventory=text(facts.get("inventory")),
        service=text(facts.get("service")),
        step=text(facts.get("step")),
        facts=facts,
    )


def text(value: object) -> str:
    """A value as text that can be shown anywhere; nothing is the empty string."""
    return "" if value is None else _UNPRINTABLE.sub("�", str(value))


def number(value: object) -> float | None:
    """A finite number, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def count(value: object) -> int | None:
    """A number that can count something, or None."""
    found = number(value)
    return int(found) if found is not None and 0 <= found < 1e9 else None


def _counts(value: object) -> dict[str, int] | None:
    if not isinstance(value, Mapping):
        return None
    found = {text(name): count(number) for name, number in value.items()}
    return {name: number for name, number in found.items() if number is not None}


def _mapping(value: object) -> Mapping[object, object]:
    return value if isinstance(value, Mapping) else {}
