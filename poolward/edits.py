"""What was changed by hand in one of our files, place by place: how it is now, and how it should be. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from poolward import settings
from poolward.errors import PoolwardError
from poolward.reparse import parse_pairs

_MOST_NAMED = 6
_SECTION = re.compile(r"\[(\w+)\]")
_ASSIGNMENT = re.compile(r"([A-Za-z0-9_.*-]+)\s*=\s*(.*)")
_HALF = "a RELOAD of it takes only what stands above"
# A bind password may stand in it.
_NOT_SHOWN = frozenset({"auth_ldap_options"})

Place = tuple[str, str, str]
"""Section, name of the entry (none in [pgbouncer]), key."""


def of_ini(found: str, wanted: str) -> tuple[str, str]:
    """Where a pgbouncer.ini differs from the wanted one, key by key. What may be a secret is named and not shown."""
    was, broken = _places(found)
    meant, _ = _places(wanted)
    unknown = {place for place in was.keys() - meant.keys() if not settings.find(place[0], place[2])}
    changed = sorted(
        (place for place in {*was, *meant} if was.get(place) != meant.get(place)),
        key=lambda place: (place not in unknown, place),
    )
    lines = [f"line {number} cannot be read" for number in broken]
    half = [_HALF] if lines or unknown else []
    is_now = [*lines, *_few(_told(place, was) for place in changed), *half]
    should_be = _few(_told(place, meant) for place in changed if place in meant)
    return "; ".join(is_now) or "differs in comments or order", "; ".join(should_be) or "as declared"


def of_lines(found: str, wanted: str) -> tuple[str, str]:
    """Where a file whose every line counts for itself differs from the wanted one."""
    was, meant = (
        [line for line in text.splitlines() if line.strip() and not line.startswith("#")] for text in (found, wanted)
    )
    added = [f"{line!r}" for line in was if line not in meant]
    removed = [f"{line!r}" for line in meant if line not in was]
    is_now = _few(added) or [f"without {line}" for line in _few(removed)]
    return "; ".join(is_now) or "differs in comments or order", "; ".join(_few(removed)) or "as declared"


def _places(text: str) -> tuple[dict[Place, str], list[int]]:
    """Every value by its place, and the numbers of the lines that are none PgBouncer can read."""
    places: dict[Place, str] = {}
    broken: list[int] = []
    section = ""
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith((";", "#")):
            continue
        if header := _SECTION.fullmatch(line):
            section = header[1]
        elif not (assignment := _ASSIGNMENT.fullmatch(line)):
            broken.append(number)
        elif section == "pgbouncer":
            places[section, "", assignment[1]] = assignment[2]
        else:
            try:
                pairs = parse_pairs(assignment[2], number)
            except PoolwardError:
                broken.append(number)
                continue
            places |= {(section, assignment[1], key): value for key, value in pairs.items()}
    return places, broken


def _told(place: Place, values: Mapping[Place, str]) -> str:
    section, entry, key = place
    name = f"{entry}.{key}" if section == "databases" else f"[{section}] {entry}.{key}" if entry else key
    if place not in values:
        return f"no {name}"
    setting = settings.find(section, key)
    if setting is None:
        return f"{name}, which PgBouncer does not know"
    return f"{name} (not shown)" if setting.refused or key in _NOT_SHOWN else f"{name} = {values[place]}"


def _few(told: Iterable[str]) -> list[str]:
    all_of_them = list(told)
    more = len(all_of_them) - _MOST_NAMED
    return [*all_of_them[:_MOST_NAMED], f"and {more} more"] if more > 0 else all_of_them
