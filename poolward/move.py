"""One service moved to its pooler, or back: try the login, switch, restart, prove; or all of it taken back."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import gevent

from poolward import moves, running, soaking, steps, target
from poolward.acceptance import SETTLE_SECONDS, unfit
from poolward.errors import PoolwardError, Unreachable, Unread
from poolward.lease import LeaseLost
from poolward.moving import Move, variables
from poolward.running import Proof
from poolward.shell import services
from poolward.witness import Witnessed

PATIENCE = 120.0
"""Seconds for which a way back waits for what does not answer: a host that reboots, a server that is restarted."""
STARTING = 0.3
"""Seconds for which a service that was just restarted has its host to itself, before it is looked at."""
T = TypeVar("T")


def carry_out(move: Move) -> bool:
    """Bring a service to the goal, and return whether that is proved: one that lives now and then may not be seen at
    work. Raises PoolwardError, with the service back as it was where that was done.

    A way back to the server is not itself taken back when its proof fails: the pooler may be what is broken.
    """
    began = time.monotonic()
    move.run.lease.renew()
    move.first = seen = move.witness.look()
    move.touched = seen.state.unproved is not None
    move.path, move.patience = seen.state.path, steps.restart_bound(seen.state)
    move.compose = next((one.compose for one in seen.state.containers), "")
    move.event(
        "begun",
        host=move.service.host,
        pooler=move.service.pooler,
        entry=", ".join(sorted({one.entry for one in move.targets.values()})),
        direct=len(seen.census.direct),
        pooled=len(seen.census.pooled),
        **dict(zip(("from", "to"), move.ends, strict=True)),
    )
    try:
        if move.service.now_and_then and not move.touched:
            running.at_rest(move)
        if move.goal == "pooled":
            _refuse_unfit(move)
            steps.try_login(move, seen)
            proof = _walk(move, seen)
        else:
            proof = _patiently(move, partial(_back_as_wanted, move))
    except PoolwardError as error:
        move.event("failed", reason=error.message, hint=error.hint)
        if move.goal == "direct" or isinstance(error, LeaseLost):
            raise PoolwardError(f"{move.service.name}: {error.message}", error.hint or _stays(move)) from error
        raise _taken_back(move, error) from error
    last, seconds = proof.last, round(time.monotonic() - began, 3)
    if proof.doubt:
        move.event("not_proved", reason=f"{proof.doubt}.", seconds=seconds, direct=last.direct, pooled=last.pooled)
        return False
    soak = 0 if move.service.now_and_then else soaking.seconds(move)
    move.event("proved", seconds=seconds, soak=soak, direct=last.direct, pooled=last.pooled)
    return True


def _refuse_unfit(move: Move) -> None:
    """Raise PoolwardError where the proof of a move would fail for what is so before it; that may still pass."""
    seen, deadline = move.first, time.monotonic() + SETTLE_SECONDS
    while seen and not move.touched:
        servers = [seen.look.seen.sessions[name] for name in move.servers]
        terms = soaking.terms(move, move.servers[0])
        if not (reason := unfit(terms, seen.state, seen.census, servers)):
            move.first = seen
            return
        if time.monotonic() >= deadline:
            raise PoolwardError(f"It cannot be proved: {reason}.", "Run again when it is well and at work.")
        gevent.sleep(soaking.INTERVAL)
        move.run.lease.renew()
        seen = move.witness.look()


def _walk(move: Move, seen: Witnessed) -> Proof:
    """Step after step, each decided on what is then true on the host; returns the proof."""
    done: list[moves.Step] = []
    while True:
        step = _next_step(move, seen)
        if step in done:
            return _had_no_effect(move, seen, step)
        done.append(step)
        move.run.lease.renew()
        if step == "switch":
            changes = steps.switch(move, seen.state)
            steps.hold_against_compose(move, seen.state, changes)
        if step in ("prove", "done"):
            return _prove(move, seen if "restart" in done else None)
        # What was switched has to be restarted, and a look in between would only keep the service waiting.
        done.append("restart")
        if move.service.now_and_then:
            running.at_rest(move)
        else:
            steps.restart(move, seen)
            gevent.sleep(STARTING)
        seen = after_restart(move)


def after_restart(move: Move) -> Witnessed:
    """A look once no process from before the restart is left, or after SETTLE_SECONDS.

    A command may return while the former processes still end, each when its work is done.
    """
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        seen = move.witness.look()
        lingers = seen.state.runs and seen.state.has_old_process and seen.state.written is None
        if not lingers or time.monotonic() >= deadline:
            return seen
        move.run.lease.renew()
        gevent.sleep(soaking.INTERVAL)


def _next_step(move: Move, seen: Witnessed) -> moves.Step:
    try:
        return moves.next_step(move.position(seen.state, seen.census), move.goal)
    except ValueError as error:
        hint = f"Correct {seen.state.path} on {move.service.host}."
        raise PoolwardError(f"It cannot go on: {error}.", hint) from error


def _had_no_effect(move: Move, seen: Witnessed, step: moves.Step) -> Proof:
    """The proof of a service that may yet start or end, where there is nowhere else to go; else raises PoolwardError.

    On the way to the pooler a service that does not run after its restart is taken back at once. On the way back a
    process that outlives its restart bars nothing: the sockets tell whether it is back.
    """
    process = seen.state.process
    if step != "restart" or process is None:
        raise PoolwardError(f"To {moves.STEPS[step]} had no effect.", f"Look at {move.service.host}.")
    if move.goal == "direct":
        return _prove(move, seen)
    if process.running:
        hint = "Does processes_command name what is not its own?" if move.service.processes_command else ""
        why = f"To {moves.STEPS[step]} had no effect: {process.told}, and the oldest of that is older than its settings"
        raise PoolwardError(f"{why}.", hint or f"Look at {move.service.host}.")
    log = services.process_of(move.service).log
    why = f"{log} on {move.service.host} says why." if not move.service.restart_command else ""
    raise PoolwardError(f"It was restarted and does not run: {process.told}.", why)


def _prove(move: Move, first: Witnessed | None) -> Proof:
    proof = running.proved(move) if move.service.now_and_then else _soaked(move, first)
    if proof.doubt:
        move.run.say(f"NOT PROVED  {move.service.name}: {proof.doubt}.")
        if move.goal == "pooled":
            return proof  # the mark stays: the next run proves it, or a rollback takes it back
    last = proof.last
    event = move.event("settled", direct=last.direct, pooled=last.pooled)
    forget = move.goal == "direct" and not move.entries
    # What is proved is not taken back because the mark could not be wiped off at once.
    _patiently(move, partial(steps.finish, move, event, forget=forget))
    if not proof.doubt:
        how = "" if move.service.now_and_then else f" for {soaking.seconds(move):g} s"
        move.run.say(f"✓ proved{how}: {last}")
    return proof


def _soaked(move: Move, first: Witnessed | None) -> Proof:
    last = soaking.proved(move, first)
    return Proof(last, "; ".join(last.as_before))


def _taken_back(move: Move, error: PoolwardError) -> PoolwardError:
    """Undo what was done to the service and prove it; returns the error to raise, with both where that failed too."""
    began = time.monotonic()
    name = move.service.name
    untouched = PoolwardError(f"{name}: {error.message}", f"Its settings were not touched. {error.hint}".strip())
    if not move.touched:
        return untouched
    move.run.say(f"✗ {error.message}\n… taking it back")
    back = Move(move.run, move.service, "direct", move.targets, move.home, move.resolved, taking_back=True)
    back.touched, back.first, back.patience = True, move.first, move.patience
    try:
        proof = _patiently(back, partial(_back_as_it_was, back))
    except LeaseLost as lost:
        return PoolwardError(f"{name}: {error.message}\n  {lost.message}", lost.hint)
    except PoolwardError as second:
        commands = services.by_hand(move.service, move.path, move.compose)
        move.event("stuck", reason=f"{error.message} / {second.message}", commands=commands)
        return PoolwardError(
            f"{name}: {error.message}\n  And taking it back failed: {second.message}",
            f"Run deploy/rollback.py as soon as its hosts answer; or on {move.service.host}, as root: "
            f"{' && '.join(commands)}",
        )
    if proof is None:
        return untouched
    last, seconds = proof.last, round(time.monotonic() - began, 3)
    move.event("taken_back", reason=error.message, direct=last.direct, pooled=last.pooled, seconds=seconds)
    again = "restarted, proved" if back.restarted else "not run again" if move.service.now_and_then else "proved"
    again = f"restarted; {proof.doubt}" if proof.doubt else again
    return PoolwardError(
        f"TAKEN BACK  {name}: {error.message}",
        f"Restored {services.settings_of(move.service).what}, {again}: {last.direct} direct, {last.pooled} pooled. "
        f"Nothing else was touched. {error.hint}".strip(),
    )


def _patiently(move: Move, attempt: Callable[[], T]) -> T:
    """Try again while what is needed does not answer, for PATIENCE at most; any other error ends it."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return attempt()
        except (Unreachable, Unread) as error:
            if time.monotonic() >= deadline:
                raise
            reasons = error.reasons if isinstance(error, Unread) else [error.message]
            move.run.say(f"… waiting, up to {deadline - time.monotonic():.0f} s more: {'; '.join(reasons)}")
            gevent.sleep(soaking.INTERVAL)


def _back_as_wanted(move: Move) -> Proof:
    seen = steps.at_rest(move)
    if seen.state.unproved is not None and move.service.compose_service:
        # Compose may read from elsewhere what an unfinished move wrote to a file, and nothing else would put that back.
        seen = steps.put_back(move, seen)
    return _walk(move, seen)


def _back_as_it_was(back: Move) -> Proof | None:
    """The settings from before the move, byte by byte, and a service that runs with them; None if nothing was begun."""
    seen = steps.at_rest(back)
    if seen.state.unproved is None:
        steps.clear(back, seen.state)
        return None
    # Asked before: an answer may be lost, and what was put back is not kept any more.
    back.kept = back.kept or seen.state.before is not None
    seen = steps.put_back(back, seen)
    if back.kept:
        back.restored = target.paths(back.service, variables(back.service, seen.state), back.run.fleet, back.resolved)
    return _walk(back, seen)


def _stays(move: Move) -> str:
    log = services.process_of(move.service).log
    return f"Its settings name the server again; why it does not work, {log} tells."
