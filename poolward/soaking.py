"""The proof of a move while it goes on: look after look, each one journalled, until it holds or does not."""

from __future__ import annotations

import time
from dataclasses import replace

import gevent

from poolward import target
from poolward.acceptance import Sample, Soak, Terms, well
from poolward.errors import PoolwardError, Unreachable, Unread
from poolward.moves import Goal
from poolward.moving import Move, variables
from poolward.witness import Witnessed

INTERVAL = 1.0
"""Seconds between two looks of a proof."""
BACK_SECONDS = 3.0
"""For how long a service that was taken back has to stay as it was."""
_SAY_EVERY = 5.0


def seconds(move: Move) -> float:
    """How long a move has to hold until it is proved."""
    return move.service.soak if move.goal == "pooled" else min(move.service.soak, BACK_SECONDS)


def proved(move: Move, first: Witnessed | None = None) -> Sample:
    """The last look of a proof that held; raises PoolwardError with the numbers of one that did not.

    `first` is a look that was made just now.

    A way back that only lacks what was lacking before the move is waited for, and then taken as it is.

    On the way to the pooler a look that cannot be made is a bad look, and a service that dies has failed. On the way
    back there is nowhere else to go: what could not be seen is raised as it is, for another attempt.
    """
    forward = move.goal == "pooled"
    soak = Soak(seconds(move), one_process=forward)
    told = float("-inf")
    while True:
        began = time.monotonic()
        try:
            found = _judged(move, began, first) if first else look(move, began)
            first = None
        except (Unread, Unreachable) as error:
            if not forward:
                raise
            found = Sample.unread(began, error.reasons if isinstance(error, Unread) else [error.message])
            move.event("unread", problems=found.problems)
        result = soak.add(found)
        if result == "proved":
            return found
        if result == "died":
            raise PoolwardError(f"Its process ended in the soak, and another one was started ({found}).")
        if result == "failed" and not found.problems and found.as_before:
            return found
        if result == "failed":
            raise PoolwardError(f"{'; '.join(found.problems) or 'it did not stay as it should'} ({found}).")
        if began - told >= _SAY_EVERY:
            told = began
            missing = (*found.problems, *found.as_before)
            waits = f"; not yet: {missing[0]}" if missing else ""
            move.run.say(f"… proving, {soak.left(began):.0f} s of soak left: {found}{waits}")
        gevent.sleep(max(0.0, INTERVAL - (time.monotonic() - began)))


def look(move: Move, at: float) -> Sample:
    """One look, judged and journalled; raises Unread, and LeaseLost."""
    move.run.lease.renew()
    return _judged(move, at, move.witness.look())


def terms(move: Move, server: str) -> Terms:
    """What has to hold for this move, by what was true before it."""
    declared, first = move.service, move.first
    goal: Goal = "pooled" if move.restored and not move.restored.direct else move.goal
    found = Terms(
        goal,
        declared.max_wait,
        bool(declared.health),
        declared.now_and_then,
        move.home_ends,
        move.entries,
        restored=move.restored is not None,
    )
    if first is None:
        return found
    return replace(
        found,
        others=frozenset() if found.back else _others(move, first),
        held_before=first.held(server),
        healthy_before=well(first.state.health),
        seen_before=bool(first.census.direct or first.census.pooled),
    )


def _others(move: Move, first: Witnessed) -> frozenset[tuple[str, str]]:
    """Where sessions went that are none of the connections which move."""
    named = target.paths(move.service, variables(move.service, first.state), move.run.fleet, move.resolved)
    seen = frozenset((client.host, client.database) for client in first.census.pooled)
    return seen - named.entries if named else frozenset()


def _judged(move: Move, at: float, seen: Witnessed) -> Sample:
    server = seen.fullest(move.servers)
    found = seen.sample(at, terms(move, server), server)
    move.event("look", **seen.numbers(found, server))
    return found
