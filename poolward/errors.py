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
        super().__init__("\n".join([summary, *(f"  ✗ {_indent(str(problem))}" for problem in self.problems)]))


class CommandFailed(PoolwardError):
    """A command on a host ended with an error; `output` is its standard error, already free of secrets."""


def _indent(text: str) -> str:
    return text.replace("\n", "\n    ")
