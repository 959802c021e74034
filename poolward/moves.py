"""A service's move as a state machine: where it stands, and the one step that comes next. Pure.

Nothing is remembered between runs: the position is read from the host each time (the settings, what the process was
started with, the mark of an unproved move), so a run that was killed anywhere is finished or taken back by the next.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Goal = Literal["pooled", "direct"]
Settings = Literal["pooled", "direct", "mixed", "unknown"]
Step = Literal["switch", "restart", "prove", "done"]


@dataclass(frozen=True)
class Position:
    """Where a service stands, as seen on its host."""

    settings: Settings
    """What its settings file says; `mixed` when only some of its variables are rewritten."""
    restarted: bool
    """Whether what runs of it runs with these settings; where no move was begun, and nothing of it is seen at the
    other end, it is left as it is: stopped, or with a file that somebody touched."""
    unproved: bool
    """Whether a move or its way back was begun and never proved."""


def next_step(position: Position, goal: Goal) -> Step:
    """The step that comes next; raises ValueError where the settings name neither the server nor the pooler.

    The order is the safety: nothing is restarted before its settings say where to go, and the mark goes only when the
    sessions were seen where they belong.
    """
    if position.settings == "unknown":
        raise ValueError("the settings name neither the server nor the pooler")
    if position.settings != goal:
        return "switch"
    if not position.restarted:
        return "restart"
    return "prove" if position.unproved else "done"


STEPS: dict[Step, str] = {
    "switch": "rewrite the settings",
    "restart": "restart the service",
    "prove": "prove where its sessions are",
    "done": "nothing",
}
"""What each step does, in words."""
