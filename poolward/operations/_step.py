"""The shape every operation here has: look, decide, and only then yield what changes something.

pyinfra counts an operation as changed as soon as it yields a command, runs its generator again at every phase, and
prints a traceback for an exception inside it. `step` turns a generator that yields plain functions into an operation
that changes nothing when it yields nothing, and ends in one sentence when a PoolwardError is raised anywhere in it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator
from typing import Any, ParamSpec

from pyinfra import host, logger
from pyinfra.api import FunctionCommand, Host, State, operation

from poolward.errors import PoolwardError

P = ParamSpec("P")
Change = Callable[[], None]


def step(story: Callable[P, Generator[Change, None, None]]) -> Any:
    """Make an operation of a generator that observes, decides, and yields the changes as functions."""

    @functools.wraps(story)
    def generator(*args: P.args, **kwargs: P.kwargs) -> Generator[FunctionCommand, None, None]:
        try:
            for change in story(*args, **kwargs):
                yield FunctionCommand(_carry_out, (change,), {})
        except PoolwardError as error:
            yield FunctionCommand(_carry_out, (functools.partial(_raise, error),), {})

    return operation()(generator)


# pyinfra takes the returned value for the status only of a function whose parameters are named `state` and `host`.
def _carry_out(state: State, host: Host, change: Change) -> bool:  # noqa: ARG001 - pyinfra goes by the name
    try:
        change()
    except PoolwardError as error:
        report(host, error)
        return False
    return True


def report(target: Host, error: PoolwardError) -> None:
    """One red sentence, and the hint below it."""
    for line in str(error).splitlines():
        target.log_styled(line, fg="red", log_func=logger.error)


def say(line: str) -> None:
    """A line of progress under the operation's own."""
    host.log(line)


def _raise(error: PoolwardError) -> None:
    raise error
