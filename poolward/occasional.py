"""What one run of a service that lives now and then proves: that it went to the pooler and nowhere else. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from poolward.moves import Goal
from poolward.observed.occasion import Connection, Occasion
from poolward.observed.sockets import Endpoint

_SHOWN = 3


@dataclass(frozen=True)
class Finding:
    """A run judged."""

    direct: tuple[Connection, ...]
    pooled: tuple[Connection, ...]
    problems: tuple[str, ...]
    """Why it is not as it should be."""
    doubts: tuple[str, ...]
    """Why that is not proved all the same, where there is no problem."""


def judged(goal: Goal, run: Occasion, clients: Collection[Endpoint], server_ports: Collection[int]) -> Finding:
    """Judge a run by its sockets; `clients` are the ends of connections that poolers know to be theirs.

    What goes to a server's port and is no pooler's client is direct, at whatever address: a server may have several.
    """
    pooled = tuple(one for one in run.own if one.local in clients)
    direct = tuple(one for one in run.own if one.local not in clients and one.peer.port in server_ports)
    unknown = [one for one in run.own if one not in pooled and one not in direct]
    wrong, right = (direct, pooled) if goal == "pooled" else (pooled, direct)
    to_the_server = [one for one in run.unseen if one.peer.port in server_ports and one.local not in clients]
    return Finding(
        direct, pooled, tuple(_problems(goal, run, wrong)), tuple(_doubts(goal, right, unknown, to_the_server))
    )


def _problems(goal: Goal, run: Occasion, wrong: Collection[Connection]) -> Iterable[str]:
    if wrong:
        how = "connected directly" if goal == "pooled" else "went through the pooler"
        yield f"when it ran, {len(wrong)} of its sessions {how} ({_shown(wrong)})"
    if run.timed_out:
        yield f"its run took longer than {run.seconds:.0f} s (`run_timeout`), and was ended"
    elif run.status != 0:
        yield f"its run failed after {run.seconds:.1f} s: it ended with {run.status}"


def _doubts(
    goal: Goal, right: Collection[Connection], unknown: Collection[Connection], unseen: Collection[Connection]
) -> Iterable[str]:
    if unknown:
        yield (
            f"no pooler names {len(unknown)} of its connections ({_shown(unknown)}): is log_connections off, or an "
            "address translated between?"
        )
    elif not right:
        yield f"it ran, and nobody saw a session of it {'through the pooler' if goal == 'pooled' else 'on the server'}"
    if unseen and goal == "pooled":
        yield (
            f"{len(unseen)} connections from its host to a server were too short to see whose they were "
            f"({', '.join(f'{one.local} → {one.peer}' for one in list(unseen)[:_SHOWN])})"
        )


def _shown(connections: Collection[Connection]) -> str:
    return "; ".join(str(one) for one in list(connections)[:_SHOWN])
