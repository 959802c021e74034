"""An environment file as systemd's EnvironmentFile= reads it, and another value for one variable in it. Pure.

Bytes in, bytes out: a comment, an odd quote or a Windows line ending stays as it was. Source of fact: parse_env_file in
systemd's env-file.c, which is not a shell: `export` is a part of the name, and a name that is none is dropped; quotes
join, nothing is expanded, and a backslash protects the next character or joins two lines. Tests hold this reading
against real systemd.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from poolward.errors import PoolwardError

Quote = Literal["", "'", '"']

_NEWLINE, _BLANK = "\n\r", " \t\n\r"
_DOUBLE: Quote = '"'
_ESCAPED_IN_DOUBLE_QUOTES = '"\\`$'
_NAME = re.compile("[A-Za-z_][A-Za-z0-9_]*")
_NAME_PART = re.compile(r"[^\n\r][^=\n\r]*")


@dataclass(frozen=True)
class _Sign:
    """One character of a value, where it stands in the file and in which quotes."""

    text: str
    start: int
    end: int
    quote: Quote


@dataclass
class _Assignment:
    """A variable's value, character by character, and the stretch of the file that holds it, quotes included."""

    name: str
    start: int
    end: int
    signs: list[_Sign] = field(default_factory=list, repr=False)

    @property
    def value(self) -> str:
        return "".join(sign.text for sign in self.signs)


def variables(content: bytes) -> dict[str, str]:
    """What the service finds in its environment; of a variable that is assigned twice the last value.

    Raises PoolwardError, without repeating a value, for a file that systemd would not take, or not in every version.
    """
    return {found.name: found.value for found in _assignments(_text(content))}


def replaced(content: bytes, changes: Mapping[str, str]) -> bytes:
    """The file with these variables at these values, and every other byte as it was.

    Of a value only the characters that differ are written anew, in the quotes they stand in. A variable that is not
    there yet comes in a line at the end. Raises PoolwardError as `variables` does.
    """
    text, before = _text(content), variables(content)
    for name, value in changes.items():
        if before.get(name) != value:
            there = [found for found in _assignments(text) if found.name == name]
            text = _spliced(text, there[-1], value) if there else _appended(text, name, value)
    written = text.encode(errors="surrogateescape")
    if variables(written) != {**before, **changes}:
        raise PoolwardError(
            f"{', '.join(changes)} cannot be changed in this file with everything else kept as it is.",
            "Is a quote left open? Write each variable on one line, as NAME=value.",
        )
    return written


def _text(content: bytes) -> str:
    if b"\0" in content:
        raise PoolwardError("It has a NUL byte in it, and systemd refuses such a file.", "Remove the byte.")
    return content.decode(errors="surrogateescape")


def _assignments(text: str) -> list[_Assignment]:
    """All assignments to what is a name, in the file's order."""
    found = list(_scan(text, comments_continue=False))
    if found != list(_scan(text, comments_continue=True)):
        raise PoolwardError(
            "A comment ends in a backslash: to systemd before 254 the next line belongs to it, since then not.",
            "Remove the backslash.",
        )
    for assignment in found:
        if any("\ud800" <= sign <= "\udfff" for sign in assignment.name + assignment.value):
            line = text.count("\n", 0, assignment.start) + 1
            raise PoolwardError(f"Line {line} is not UTF-8, and systemd refuses the whole file.", "Write it as UTF-8.")
    return [assignment for assignment in found if _NAME.fullmatch(assignment.name)]


def _scan(text: str, *, comments_continue: bool) -> Iterator[_Assignment]:
    """Every assignment as systemd sees it, whatever its name."""
    at, end = 0, len(text)
    while at < end:
        if text[at] in _BLANK:
            at += 1
        elif text[at] in "#;":
            at = _behind_comment(text, at, comments_continue)
        else:
            name = _NAME_PART.match(text, at)
            assert name  # this character at least
            at = name.end()
            if text[at : at + 1] == "=":
                assignment = _value(text, name[0].rstrip(_BLANK), at + 1)
                yield assignment
                at = assignment.end


def _behind_comment(text: str, at: int, continues: bool) -> int:
    while at < len(text) and text[at] not in _NEWLINE:
        at += 2 if text[at] == "\\" and (continues or text[at + 1 : at + 2] not in tuple(_NEWLINE)) else 1
    return at


def _value(text: str, name: str, at: int) -> _Assignment:
    """The value that begins here: parts in quotes, joined, then a bare part in which quotes are plain characters."""
    while text[at : at + 1] in (" ", "\t"):
        at += 1
    found = _Assignment(name, at, at)
    while at < len(text) and text[at] not in _NEWLINE:
        if text[at] in _BLANK:
            at += 1
        elif text[at] in "'\"":
            at = found.end = _quoted_part(text, at, found.signs)
        else:
            found.end = _bare_part(text, at, found.signs)
            break
    return found


def _quoted_part(text: str, at: int, signs: list[_Sign]) -> int:
    """Add what these quotes hold, over line ends too; the position behind them, or the end where they stay open."""
    quote: Quote = "'" if text[at] == "'" else '"'
    at += 1
    while at < len(text) and text[at] != quote:
        protected = text[at + 1 : at + 2] if text[at] == "\\" and quote == '"' else ""
        if protected and protected in _ESCAPED_IN_DOUBLE_QUOTES:
            signs.append(_Sign(protected, at, at + 2, quote))
        elif protected != "\n" and (at + 1 < len(text) or quote == "'" or text[at] != "\\"):
            signs += [_Sign(sign, at + i, at + i + 1, quote) for i, sign in enumerate(text[at] + protected)]
        at += 1 + len(protected)
    return min(at + 1, len(text))


def _bare_part(text: str, at: int, signs: list[_Sign]) -> int:
    """Add the rest of the line, joined with the next behind a backslash; the position behind its last character."""
    end = at
    while at < len(text) and text[at] not in _NEWLINE:
        if text[at] == "\\":
            if text[at + 1 : at + 2] not in ("", *_NEWLINE):
                signs.append(_Sign(text[at + 1], at, at + 2, ""))
            end = at = min(at + 2, len(text))
        else:
            signs.append(_Sign(text[at], at, at + 1, ""))
            at += 1
            end = end if text[at - 1] in _BLANK else at
    while signs and signs[-1].end > end:
        signs.pop()
    return end


def _spliced(text: str, old: _Assignment, value: str) -> str:
    """The text with another value: what both have in common, at either end, keeps its bytes."""
    head = _common(old.value, value)
    tail = _common(old.value[head:][::-1], value[head:][::-1])
    gone, new = old.signs[head : len(old.signs) - tail], value[head : len(value) - tail]
    beside = gone or old.signs[max(head - 1, 0) :][:1]
    written = _written(new, beside[0].quote) if len({sign.quote for sign in beside}) == 1 else None
    if written is None:
        return text[: old.start] + _whole(value, text[old.start : old.start + 1]) + text[old.end :]
    start = gone[0].start if gone else beside[0].end if head else beside[0].start
    return text[:start] + written + text[gone[-1].end if gone else start :]


def _common(first: str, second: str) -> int:
    """How many characters two texts have in common at their beginning."""
    pairs = enumerate(zip(first, second, strict=False))
    return next((at for at, (one, other) in pairs if one != other), min(len(first), len(second)))


def _appended(text: str, name: str, value: str) -> str:
    newline = "\r\n" if "\r\n" in text else "\n"
    between = newline if text and text[-1] not in _NEWLINE else ""
    return f"{text}{between}{name}={_whole(value, '')}{newline}"


def _whole(value: str, quote: str) -> str:
    """A value in these quotes, or none, where that can hold it; else in double ones, which hold everything."""
    if quote == "'" and "'" not in value:
        return f"'{value}'"
    if quote != '"' and _written(value, "") == value:
        return value
    return f'"{_written(value, _DOUBLE)}"'


def _written(value: str, quote: Quote) -> str | None:
    """How a value stands within these quotes, None where they cannot hold it."""
    if quote == '"':
        return re.sub(r'(["\\`$])', r"\\\1", value)
    if quote == "'":
        return None if "'" in value else value
    return None if re.search(f"[{_NEWLINE}]", value) else re.sub(r"""([\\'" \t])""", r"\\\1", value)
