"""What PgBouncer accepts: if a setting is right for a version, how it is written, and what SHOW CONFIG makes of it.

The facts are the table's (`catalogue`, `settings.csv`); here are the questions asked of it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from decimal import Decimal
from difflib import get_close_matches

from poolward.catalogue import OLDEST, SECTIONS, Setting, Version, find, known, spelling, table
from poolward.errors import Problem

__all__ = [
    "OLDEST",
    "SECTIONS",
    "Setting",
    "Value",
    "Version",
    "check",
    "find",
    "known",
    "same",
    "spelling",
    "table",
    "text",
    "version_problem",
]

Value = str | int | float | bool | Sequence[str]
"""A setting's value as group data holds it: JSON's scalars and lists of text."""

# "not yet known" asks whether some supported version accepts it, and later versions only ever accepted more values
_NOT_YET_KNOWN = Version(1_000_000, 0)
_UNWRITABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_LOOKS_LIKE_COMMENT = re.compile(r"(^|\s)[;#]")
_INTEGER = re.compile(r"-?(0|[1-9][0-9]*)")  # 020 is 16 to PgBouncer and 20 to its reader
_SECONDS = re.compile(r"[0-9]+(\.[0-9]*)?|\.[0-9]+")
_FILE_MODE = re.compile(r"0[0-7]{3}")
_C_INTEGER = re.compile(r"([+-]?)(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)")


def version_problem(version: Version, where: str) -> Problem | None:
    """A sentence for a PgBouncer older than Poolward supports, else None."""
    if version >= OLDEST:
        return None
    message = f"PgBouncer {version} is older than {OLDEST}, the oldest version that Poolward supports."
    return Problem(where, message, "Install the package of Debian 12 or newer.")


def check(section: str, name: str, value: object, version: Version | None, where: str) -> list[Problem]:
    """Everything wrong with one setting as the operator wrote it; empty when PgBouncer would take it as meant.

    `version` is the pooler's PgBouncer, None while not known: then whatever some supported version accepts passes.
    `where` names the place the operator wrote it, for example "pgbouncer_databases.shop".
    A message repeats a value only where it can be no secret: numbers, booleans and words of a closed list.
    """
    if version and (too_old := version_problem(version, where)):
        return [too_old]
    setting = find(section, name)
    if not setting:
        message = f"[{section}] has no setting {name} in any PgBouncer from 1.18 to 1.26."
        return [Problem(where, message, _meant(section, name))]
    if setting.refused:
        return [Problem(where, f"{name} {setting.refused}.", _sentence(setting.notes))]
    if version and version < setting.since:
        message = f"{name} in [{section}] needs PgBouncer {setting.since}; this one is {version} and would not start."
        return [Problem(where, message, "Leave it out.")]
    if version and setting.until and version >= setting.until:
        message = f"{name} was removed in PgBouncer {setting.until}; this one is {version} and would not start."
        return [Problem(where, message, "Leave it out.")]
    try:
        _judge(setting, value, version or _NOT_YET_KNOWN)
    except _Wrong as wrong:
        return [Problem(where, f"{name} {wrong.what}.", wrong.hint or _sentence(setting.notes))]
    return []


def text(setting: Setting, value: object) -> str:
    """A checked value as the file holds it, before any quoting."""
    if isinstance(value, str):
        return value.lower() if setting.type == "enum" else value
    if isinstance(value, Sequence):
        return ",".join(str(item) for item in value)
    return str(int(value)) if isinstance(value, bool) else _plain(value)


def same(setting: Setting, intended: object, shown: str) -> bool:
    """Whether `shown`, PgBouncer's own display in SHOW CONFIG, is the intended value.

    PgBouncer prints numbers in decimal (0770 as 504), and times as C's %g, six significant digits, after cutting
    them to microseconds. Source of fact: cf_get_int and cf_set_time_usec in its cfparser.c.
    """
    meant = text(setting, intended)
    match setting.type:
        case "integer" | "boolean" | "octal":
            return _c_integer(meant) is not None and _c_integer(meant) == _c_integer(shown)
        case "seconds":
            return f"{int(1_000_000 * float(meant)) / 1_000_000:g}" == shown.strip()
        case "enum":
            return meant == shown.lower()
        case "list":
            return [item.strip() for item in meant.split(",")] == [item.strip() for item in shown.split(",")]
        case _:
            return meant == shown


class _Wrong(Exception):
    """A value PgBouncer would refuse or misread: the end of a sentence that begins with the setting's name."""

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint


def _judge(setting: Setting, value: object, version: Version) -> None:
    match setting.type:
        case "boolean":
            # compared as text, because 1.0 == 1 and PgBouncer does not read 1.0
            if not isinstance(value, bool) and str(value) not in ("0", "1"):
                raise _Wrong(f"= {value!r} is no boolean: PgBouncer reads 0 and 1", "Write True or False.")
            _judge_exceptions(setting, text(setting, value), version)
        case "integer":
            _judge_integer(setting, value, version)
        case "seconds":
            if isinstance(value, bool) or not _SECONDS.fullmatch(_plain(value)):
                raise _Wrong(f"= {value!r} is no time: it takes a number of seconds, not negative, without a unit")
        case "octal":
            if not (isinstance(value, str) and _FILE_MODE.fullmatch(value)):
                raise _Wrong(f"= {value!r} is no file mode")
        case "enum":
            _judge_word(setting, value, version)
        case _:
            _judge_text(setting, value, version)


def _judge_integer(setting: Setting, value: object, version: Version) -> None:
    if isinstance(value, bool) or not _INTEGER.fullmatch(_plain(value)):
        kind = "number of seconds" if setting.unit == "s" else "number"
        raise _Wrong(f"= {value!r} is not a whole {kind}", "Write it without a unit and without leading zeros.")
    if not any(word.covers(int(_plain(value))) for word in setting.legal if word.since <= version):
        raise _Wrong(f"= {value} is out of range: {', '.join(map(str, setting.legal))}")


def _judge_word(setting: Setting, value: object, version: Version) -> None:
    legal = {word.text: word.since for word in setting.legal}
    since = legal.get(value.lower()) if isinstance(value, str) else None
    if since is None or since > version:
        near = [word for word in get_close_matches(str(value).lower(), legal, 1) if word != value]
        hint = f"Did you mean {near[0]}?" if near else ""
        raise _Wrong(f"= {value!r} is not one of {', '.join(map(str, setting.legal))}", hint)


def _judge_text(setting: Setting, value: object, version: Version) -> None:
    if isinstance(value, str):
        written = value
    elif setting.type == "list" and isinstance(value, Sequence) and all(isinstance(item, str) for item in value):
        written = text(setting, value)
        if any(not item.strip() or "," in item for item in value):
            raise _Wrong(
                "has an item that is empty or contains a comma", "The comma separates the items: one text each."
            )
    else:
        raise _Wrong(f"must be text, not {type(value).__name__}")
    if _UNWRITABLE.search(written):
        what = "contains a line break or another control character, which PgBouncer's file cannot hold"
        raise _Wrong(what, "Put it on one line.")
    _judge_exceptions(setting, written, version)
    if setting.section == "pgbouncer":
        _judge_line(setting, written)
    elif not written:
        raise _Wrong("is empty, a syntax error to PgBouncer", "Leave it out.")


def _judge_exceptions(setting: Setting, written: str, version: Version) -> None:
    special = {word.text: word.since for word in setting.legal}
    if f"!{written}" in special:
        raise _Wrong(f"must not be {written or 'empty'}")
    if special.get(written, OLDEST) > version:
        raise _Wrong(f"= {written} is understood from PgBouncer {special[written]} on; this one is {version}")


def _judge_line(setting: Setting, written: str) -> None:
    """In [pgbouncer] the rest of the line is the value, unquoted."""
    if setting.type != "sql" and _LOOKS_LIKE_COMMENT.search(written):
        what = "contains what looks like a comment; PgBouncer knows none behind a value and would take it as part of it"
        raise _Wrong(what, "Remove the ; or # and what follows.")
    if written != written.strip():
        raise _Wrong("begins or ends with a blank, which PgBouncer drops", "Remove the blank.")
    if setting.type == "path" and written and not written.startswith(("/", "@")):
        raise _Wrong("is no absolute path, and under systemd PgBouncer looks from /", "Begin it with a slash.")


def _meant(section: str, name: str) -> str:
    near = get_close_matches(name, [setting.name for setting in table().values() if setting.section == section], 1)
    others = [f"[{other}]" for other in SECTIONS if (other, name) in table()]
    guesses = [f"Did you mean {near[0]}?"] if near else []
    return " ".join([*guesses, f"{name} belongs in {' or '.join(others)}."] if others else guesses)


def _sentence(notes: str) -> str:
    return f"{notes[0].upper()}{notes[1:]}." if notes else ""


def _plain(value: object) -> str:
    """A number in plain digits, never 1e-05, which PgBouncer's integers refuse; anything else as Python shows it."""
    is_float = isinstance(value, float) and math.isfinite(value)
    return format(Decimal(repr(value)), "f") if is_float else str(value)


def _c_integer(shown: str) -> int | None:
    """C's strtol with base detection: 0x10 is 16, 010 is 8."""
    found = _C_INTEGER.fullmatch(shown.strip())
    if not found:
        return None
    sign, digits = found.groups()
    base = 16 if digits[:2].lower() == "0x" else 8 if digits[0] == "0" else 10
    return int(sign + digits, base)
