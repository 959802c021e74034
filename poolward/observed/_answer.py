"""A host's answer, split into its sections: half an answer is no answer."""

from __future__ import annotations

from collections.abc import Iterable

from poolward.errors import PoolwardError


class Unreadable(PoolwardError):
    """A host answered, but not with what was asked: half an answer is no answer."""


def sections(lines: Iterable[str]) -> dict[str, list[str]]:
    """Split a script's output at its `@name` lines; raises Unreadable when the closing `@end` is missing."""
    found: dict[str, list[str]] = {}
    current: list[str] = []
    for line in lines:
        if line.startswith("@"):
            current = found.setdefault(line[1:], [])
        else:
            current.append(line)
    if "end" not in found:
        raise Unreadable("The host's answer breaks off before its end.", "Run again; if it stays, run with -vvv.")
    return found


def words(lines: list[str]) -> list[list[str]]:
    """Each line as its words."""
    return [line.split() for line in lines]


def unindented(lines: list[str]) -> str | None:
    """A file's text as a script printed it, each line behind a `|`; None where the file was not there."""
    return "\n".join(line.removeprefix("|") for line in lines) + "\n" if lines else None
