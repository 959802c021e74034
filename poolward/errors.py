"""The one family of errors an operator meets: a sentence that says what is wrong and a hint that says what to do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


class PoolwardError(Exception):
    """Base of every error Poolward raises on purpose.

    `message` is a complete sentence an operator understands; `hint` is the next step, or empty.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  → {self.hint}" if self.hint else self.message


@dataclass(frozen=True, order=True)
class Problem:
    """One thing wrong with what the operator wrote or with what was found: where, what, and what to do."""

    where: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        line = f"{self.where}: {self.message}"
        return f"{line}\n  → {self.hint}" if self.hint else line


class Refused(PoolwardError):
    """Nothing was changed, for these reasons: all of them at once, not the first."""

    def __init__(self, summary: str, problems: Iterable[Problem]) -> None:
        self.summary = summary
        self.problems = tuple(problems)
        super().__init__("\n".join([summary, *(f"  ✗ {_indent(str(problem))}" for problem in merged(self.problems))]))


class CommandFailed(PoolwardError):
    """A command on a host ended with an error; `output` is its standard error, already free of secrets."""


class Unreachable(CommandFailed):
    """A host could not be reached, or the connection to it broke: what became of the command is not known."""


class Unread(Refused):
    """Not everything could be read. It may be a moment later."""

    @property
    def reasons(self) -> list[str]:
        """Who could not be read, and why, one line each."""
        return [f"{problem.where} could not be read: {problem.message.splitlines()[0]}" for problem in self.problems]


def merged(problems: Iterable[Problem]) -> list[Problem]:
    """The same problem on several hosts as one: `pool1: x` and `pool2: x` become `pool1, pool2: x`."""
    hosts: dict[tuple[str, str, str], list[str]] = {}
    for problem in problems:
        host, _, rest = problem.where.partition(": ")
        found = hosts.setdefault((rest, problem.message, problem.hint), [])
        if host not in found:
            found.append(host)
    return [
        Problem(": ".join(filter(None, (", ".join(names), rest))), message, hint)
        for (rest, message, hint), names in hosts.items()
    ]


def _indent(text: str) -> str:
    return text.replace("\n", "\n    ")
