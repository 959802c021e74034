"""The table of what PgBouncer accepts, `settings.csv`, read once; `settings` asks it the questions.

The table's columns, where a form needs a word:
`type`     integer, boolean, octal, seconds (fractions allowed), enum, list, path, sql, text
`legal`    words and ranges; `0@1.24.0` is legal from 1.24.0 on, `!word` never, a bare `!` forbids the empty value;
           a closed list for numbers and enums, for the other types only the exceptions
`default`  a history: `disable|1.20.0:prefer` is disable first and prefer from 1.20.0; empty is none or inherited
`since`    the first version that knows the name; `until` the first that does not: an unknown name is fatal to PgBouncer
`written`  a history of the name in the file, where it is not the name
`refused`  why Poolward does not take it from an operator at all
Source of fact: the source of every tag 1.18.0 … 1.25.2, and SHOW CONFIG of Debian's 1.18.0, 1.24.1 and 1.26.1.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

from poolward.errors import PoolwardError

SECTIONS = ("databases", "users", "peers", "pgbouncer")


class Version(NamedTuple):
    """A PgBouncer release, comparable."""

    major: int
    minor: int
    patch: int = 0

    @classmethod
    def parse(cls, text: str) -> Version:
        """Read "1.24.1", "PgBouncer 1.24.1" or Debian's "1.18.0-1+deb12u1"; PoolwardError for anything else."""
        found = re.fullmatch(r"(?:PgBouncer )?(\d+)\.(\d+)(?:\.(\d+))?(?:[-+~]\S*)?", text.strip(), re.ASCII)
        if not found:
            raise PoolwardError(f"{text!r} is not a version of PgBouncer.", "It looks like 1.24.1 or 1.18.0-1+deb12u1.")
        return cls(int(found[1]), int(found[2]), int(found[3] or 0))

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"


OLDEST = Version(1, 18)


class Word(NamedTuple):
    """One legal word or range and the version from which it is legal."""

    text: str
    since: Version

    def covers(self, number: int) -> bool:
        low, _, high = self.text.partition("..")
        return int(low) <= number <= int(high or low)

    def __str__(self) -> str:
        since = f" (from {self.since})" if self.since > OLDEST else ""
        return self.text.replace("..", " to ") + since


@dataclass(frozen=True)
class Setting:
    """One row of the table."""

    section: str
    name: str
    type: str
    unit: str
    legal: tuple[Word, ...]
    default: tuple[Word, ...]
    since: Version
    until: Version | None
    change: str
    written: tuple[Word, ...]
    refused: str
    notes: str

    def default_in(self, version: Version) -> str:
        """The built-in default of that version, as SHOW CONFIG displays it; empty is none or inherited."""
        return _at(self.default, version)

    @property
    def needs_restart(self) -> bool:
        """Whether PgBouncer silently ignores a new value until it is restarted."""
        return self.change == "restart"


def _at(history: tuple[Word, ...], version: Version) -> str:
    return [entry.text for entry in history if entry.since <= version][-1]


def _history(text: str) -> tuple[Word, ...]:
    first, *later = text.split("|")
    dated = (entry.split(":", 1) for entry in later)
    return (Word(first, OLDEST), *(Word(value, Version.parse(since)) for since, value in dated))


def _legal(text: str) -> tuple[Word, ...]:
    parts = (word.partition("@") for word in text.split())
    return tuple(Word(word, Version.parse(since) if since else OLDEST) for word, _, since in parts)


@cache
def table() -> Mapping[tuple[str, str], Setting]:
    """Every setting by (section, name)."""
    with Path(__file__).with_name("settings.csv").open(encoding="utf-8", newline="") as file:
        rows = [
            Setting(
                **{key: row[key] for key in ("section", "name", "type", "unit", "change", "refused", "notes")},
                legal=_legal(row["legal"]),
                default=_history(row["default"]),
                since=Version.parse(row["since"]),
                until=Version.parse(row["until"]) if row["until"] else None,
                written=_history(row["written"] or row["name"]),
            )
            for row in csv.DictReader(file)
        ]
    return {(row.section, row.name): row for row in rows}


def find(section: str, name: str) -> Setting | None:
    """The setting of that name, or of an older spelling of it; None when PgBouncer 1.18 … 1.26 has no such setting."""
    exact = table().get((section, name))
    return exact or next((s for s in table().values() if s.section == section and name in _spellings(s)), None)


def _spellings(setting: Setting) -> set[str]:
    return {word.text for word in setting.written}


def spelling(section: str, name: str, version: Version) -> str:
    """The name that version reads: a database's reserve_pool_size is written reserve_pool below 1.24.0."""
    setting = find(section, name)
    return _at(setting.written, version) if setting else name


def known(section: str, name: str) -> Setting:
    """The setting of that name; raises PoolwardError where there is none."""
    setting = find(section, name)
    if setting is None:
        raise PoolwardError(f"[{section}] has no setting {name}.")
    return setting
