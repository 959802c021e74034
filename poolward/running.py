"""The proof of a service that lives now and then: it is run once and watched, or looked at while it happens to run."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial

import gevent

from poolward import inventory, occasional, remote, soaking, survey, watch
from poolward.acceptance import SETTLE_SECONDS, Sample
from poolward.errors import PoolwardError, Unreachable, Unread
from poolward.moving import Move, is_restarted
from poolward.observed import Endpoint, sections
from poolward.observed.occasion import Occasion
from poolward.shell import script, services

_OVERHEAD = 60
"""Seconds of the command that runs a service beside the run itself."""
_SAY_EVERY = 5.0


@dataclass(frozen=True)
class Proof:
    """How a proof ended that did not fail."""

    last: Sample
    doubt: str = ""
    """Why nothing is proved; empty where it is."""


def proved(move: Move) -> Proof:
    """Prove the service at its end of the move; raises PoolwardError where it is seen not to be there.

    A move that is undone is not run again: a job that failed once need not fail twice. That its settings are as they
    were, and no session of it goes through a pooler, is all there is to prove.
    """
    if move.service.run_command and not move.taking_back:
        return _by_running(move)
    return _by_looking(move)


def at_rest(move: Move) -> None:
    """Wait until no process of it is older than its settings: nothing restarts a job, it ends by itself.

    Raises PoolwardError where it goes on for longer than a run may take.
    """
    deadline = time.monotonic() + move.service.run_timeout
    told = float("-inf")
    while True:
        move.run.lease.renew()
        state = move.witness.look().state
        if (not state.runs) if not move.touched else is_restarted(move.service, state):
            return
        left = deadline - time.monotonic()
        if left <= 0:
            raise PoolwardError(
                f"It has been running for longer than {move.service.run_timeout} s (`run_timeout`), with the settings "
                "it was started with.",
                "Run again when it has ended.",
            )
        if -left - told >= _SAY_EVERY:
            told = -left
            move.run.say(f"… it is running, with the settings it was started with; waiting for its end, {left:.0f} s")
        gevent.sleep(soaking.INTERVAL)


def _by_looking(move: Move) -> Proof:
    """Look for as long as it has sessions, and no longer than the soak: what is not seen is not proved."""
    deadline = time.monotonic() + soaking.seconds(move)
    best: Sample | None = None
    while True:
        found = _good(soaking.look(move, time.monotonic()))
        here = found.direct + found.pooled  # where they should be, or the look would not be good
        best = found if here else best
        if not here or time.monotonic() >= deadline:
            break
        gevent.sleep(soaking.INTERVAL)
    if best or move.taking_back:
        return Proof(best or found)
    return Proof(found, "nobody has seen it run since its settings were switched")


def _by_running(move: Move) -> Proof:
    declared = move.service
    clocks = move.witness.look().clocks
    move.witness.log_since = clocks
    run, clients, longest_wait = _watched(move)
    clients |= _logged_in(move, clocks)
    servers = {server.port for server in move.run.fleet.servers.values()}
    finding = occasional.judged(move.goal, run, clients, servers)
    move.event("ran", seconds=run.seconds, status=run.status, direct=len(finding.direct), pooled=len(finding.pooled))
    if longest_wait > declared.max_wait:
        raise PoolwardError(f"When it ran, a client of it waited {longest_wait:.1f} s for a connection.")
    if finding.problems:
        said = "; ".join(finding.problems)
        logs = dict.fromkeys((f"journalctl -t poolward-{declared.name}", services.process_of(declared).log))
        raise PoolwardError(f"{said[0].upper()}{said[1:]}.", f"What it said of itself: {' or '.join(logs)}.")
    last = replace(_good(_last_look(move)), direct=len(finding.direct), pooled=len(finding.pooled))
    if not finding.doubts:
        move.run.say(f"✓ ran it  {run.seconds:.1f} s: direct {last.direct}, pooled {last.pooled}, ended with 0")
    return Proof(last, "; ".join(finding.doubts))


def _watched(move: Move) -> tuple[Occasion, set[Endpoint], float]:
    """Run it once; beside what its host saw, the clients the poolers had meanwhile, and its longest wait in seconds."""
    declared = move.service
    event = move.event("running")
    move.run.say(f"… running it, for {declared.run_timeout} s at most")
    command = services.script(
        "run_service",
        "run it",
        2 * declared.run_timeout + _OVERHEAD,
        declared,
        run_command=shlex.join(declared.run_command),
        run_timeout=declared.run_timeout,
        ports=[str(port) for port in watch.ports(move.run.fleet)],
        event=event,
    )
    clients: set[Endpoint] = set()
    longest_wait = 0.0
    with _under_way(partial(remote.must, move.host, command)) as under_way:
        while not under_way.ready():
            move.run.lease.renew()
            with suppress(Unread, Unreachable):  # what is not seen now is in its sockets and the pooler's log
                seen = move.witness.look()
                listed = [client for one in seen.look.seen.traffic.values() for client in one.clients]
                clients |= {client.peer for client in listed if client.peer}
                longest_wait = max(longest_wait, seen.census.longest_wait)
            under_way.join(soaking.INTERVAL)
        answer = under_way.get()
    if isinstance(answer, PoolwardError):
        raise answer
    return Occasion.parse(answer.splitlines(), declared.host), clients, longest_wait


def _logged_in(move: Move, since: dict[str, float]) -> set[Endpoint]:
    """The ends of all connections that logged in to a pooler since then, by its own log and clock."""

    def of(pooler: str, clock: float) -> set[Endpoint]:
        command = script(
            "observe_logins",
            "read who logged in",
            20,
            move.run.fleet.poolers[pooler].runtime.place,
            since=f"{clock:.3f}",
        )
        answer = sections(remote.must(inventory.host(move.run.state, pooler), command).splitlines())
        return {Endpoint.parse(line).seen_on(pooler) for line in answer["logins"] if not line.startswith("unix")}

    try:
        found = survey.together({f"pooler {name}": partial(of, name, clock) for name, clock in since.items()})
    except Unread:
        if move.goal == "pooled":
            raise
        return set()  # a pooler that cannot be asked bars no way back; what went to it is nobody's then
    return {end for ends in found.values() for end in ends}


@contextmanager
def _under_way(job: Callable[[], str]) -> Iterator[gevent.Greenlet]:
    """Something that goes on beside what is done here, with its error as its value; it is bounded, and left to itself
    where this here fails."""

    def attempt() -> str | PoolwardError:
        try:
            return job()
        except PoolwardError as error:
            return error

    greenlet = gevent.spawn(attempt)
    try:
        yield greenlet
    finally:
        if not greenlet.ready():
            greenlet.kill(block=False)


def _good(found: Sample) -> Sample:
    if found.problems:
        raise PoolwardError(f"{'; '.join(found.problems)} ({found}).")
    return found


def _last_look(move: Move) -> Sample:
    """A look that waits for what does not answer: the run was made, and is not to be made again for it."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        try:
            return soaking.look(move, time.monotonic())
        except (Unread, Unreachable):
            if time.monotonic() >= deadline:
                raise
        gevent.sleep(soaking.INTERVAL)
