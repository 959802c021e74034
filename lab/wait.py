"""Waiting with a deadline, for something that is asked again and again."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from poolward.errors import PoolwardError

T = TypeVar("T")


def until(what: str, ask: Callable[[], T], timeout: float, interval: float = 0.1) -> T:
    """Ask until the answer is true and return it; `what` completes the sentence "… did not happen within"."""
    deadline = time.monotonic() + timeout
    while not (answer := ask()):
        if time.monotonic() > deadline:
            raise PoolwardError(f"This did not happen within {timeout:.0f} s: {what}. Last seen: {answer!r}")
        time.sleep(interval)
    return answer
