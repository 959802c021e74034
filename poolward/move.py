"""One service moved to its pooler, or back: try the login, switch, restart, prove; or all of it taken back."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import gevent

from poolward import env_file, moves, remote, service, shell, soaking, trial
from poolward.acceptance import Sample
from poolward.errors import PoolwardError, Unreachable, Unread
from poolward.lease import LeaseLost
from poolward.moving import Move, variables
from poolward.observed import ServiceState
from poolward.service import Service
from poolward.witness import Witnessed

RESTART_SECONDS = 120
PATIENCE = 120.0
"""Seconds for which a way back waits for what does not answer: a host that reboots, a server that is restarted."""
T = TypeVar("T")


def carry_out(move: Move) -> None:
    """Bring a service to the goal, proved; raises PoolwardError, with the service back as it was where that was done.

    A way back to the server is not itself taken back when its proof fails: the pooler may be what is broken.
    """
    began = time.monotonic()
    move.run.lease.renew()
    seen = move.witness.look()
    move.touched = seen.state.unproved is not None
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
        if move.goal == "pooled":
            _try_login(move, seen)
            last = _walk(move, seen)
        else:
            last = _patiently(move, partial(_back_as_wanted, move))
    except PoolwardError as error:
        move.event("failed", reason=error.message, hint=error.hint)
        if move.goal == "direct" or isinstance(error, LeaseLost):
            raise PoolwardError(f"{move.service.name}: {error.message}", error.hint or _stays(move)) from error
        raise _taken_back(move, error) from error
    seconds = round(time.monotonic() - began, 3)
    move.event("proved", seconds=seconds, soak=soaking.seconds(move), direct=last.direct, pooled=last.pooled)


def _walk(move: Move, seen: Witnessed) -> Sample:
    """Step after step, each decided on what is then true on the host; returns the last look of the proof."""
    done: list[moves.Step] = []
    while True:
        step = moves.next_step(move.position(seen.state), move.goal)
        if step in done:
            return _had_no_effect(move, seen.state, step)
        done.append(step)
        move.run.lease.renew()
        if step == "switch":
            _switch(move, seen.state)
        elif step == "restart":
            _restart(move, seen)
        else:
            return _prove(move, seen.state)
        seen = move.witness.look()


def _had_no_effect(move: Move, state: ServiceState, step: moves.Step) -> Sample:
    """The proof of a service that systemd may yet start, where there is nowhere else to go; else raises PoolwardError.

    On the way to the pooler a service that does not run after its restart is taken back at once.
    """
    unit = state.unit
    if step != "restart" or unit is None or unit.running:
        raise PoolwardError(f"To {moves.STEPS[step]} had no effect.", f"Look at {move.service.host}.")
    if move.goal == "direct":
        return _prove(move, state)
    raise PoolwardError(
        f"{unit.name} was restarted and does not run: it is {unit.active} ({unit.sub}).",
        f"journalctl -u {unit.name} on {move.service.host} says why.",
    )


def _switch(move: Move, state: ServiceState) -> None:
    assert state.settings is not None
    old = state.settings.content
    changes = service.moved_variables(move.service, env_file.variables(old), move.wanted)
    event = move.event("switched", path=state.path, variables=list(changes))
    command = shell.script(
        "switch_service",
        f"rewrite {state.path}",
        30,
        path=state.path,
        mark=json.dumps({"goal": move.goal, "run": move.run.journal.run, "since": time.time()}),
        keep=move.goal == "pooled" and _is_original(move, state),
        event=event,
    )
    move.touched = True
    lines = [base64.b64encode(content).decode() for content in (old, env_file.replaced(old, changes))]
    remote.must(move.host, command, stdin="\n".join((*lines, "")))
    kept = f"  (kept: {state.path}.before-poolward)" if move.goal == "pooled" else ""
    move.run.say(f"✓ switched {', '.join(changes)} in {state.path}{kept}")


def _is_original(move: Move, state: ServiceState) -> bool:
    """Whether the settings are the way back: what was there before a move, not what an interrupted one left."""
    return state.unproved is None or (state.before is None and move.position(state).settings == "direct")


def _restart(move: Move, seen: Witnessed) -> None:
    unit = move.service.unit
    move.touched = True
    move.witness.log_since = seen.clocks
    event = move.event("restarting")
    command = shell.script("restart_service", f"restart {unit}", RESTART_SECONDS, unit=unit, event=event)
    seconds = float(remote.must(move.host, command).strip().splitlines()[-1])
    move.event("restarted", seconds=seconds)
    move.run.say(f"✓ restarted {unit}  {seconds:.1f} s")


def _prove(move: Move, state: ServiceState) -> Sample:
    last = soaking.proved(move)
    event = move.event("settled", direct=last.direct, pooled=last.pooled)
    finish = shell.script(
        "finish_service", "mark it as proved", 15, path=state.path, forget=move.goal == "direct", event=event
    )
    # What is proved is not taken back because the mark could not be wiped off at once.
    _patiently(move, partial(remote.must, move.host, finish))
    move.run.say(f"✓ proved for {soaking.seconds(move):g} s: {last}")
    return last


def _taken_back(move: Move, error: PoolwardError) -> PoolwardError:
    """Undo what was done to the service and prove it; returns the error to raise, with both where that failed too."""
    began = time.monotonic()
    name = move.service.name
    untouched = PoolwardError(f"{name}: {error.message}", f"Its settings were not touched. {error.hint}".strip())
    if not move.touched:
        return untouched
    move.run.say(f"✗ {error.message}\n… taking it back")
    back = Move(move.run, move.service, "direct", move.targets, move.home, move.resolved)
    try:
        last = _patiently(back, partial(_back_as_it_was, back))
    except LeaseLost as lost:
        return PoolwardError(f"{name}: {error.message}\n  {lost.message}", lost.hint)
    except PoolwardError as second:
        commands = by_hand(move.service)
        move.event("stuck", reason=f"{error.message} / {second.message}", commands=commands)
        return PoolwardError(
            f"{name}: {error.message}\n  And taking it back failed: {second.message}",
            f"Run deploy/rollback.py as soon as its hosts answer; or on {move.service.host}, as root: "
            f"{' && '.join(commands)}",
        )
    if last is None:
        return untouched
    seconds = round(time.monotonic() - began, 3)
    move.event("taken_back", reason=error.message, direct=last.direct, pooled=last.pooled, seconds=seconds)
    return PoolwardError(
        f"TAKEN BACK  {name}: {error.message}",
        f"Restored {move.service.env_file}, restarted, proved: {last.direct} direct, {last.pooled} pooled. "
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


def _back_as_wanted(move: Move) -> Sample:
    return _walk(move, _at_rest(move))


def _back_as_it_was(back: Move) -> Sample | None:
    """The settings from before the move, byte by byte, and a service that runs with them; None if nothing was begun."""
    seen = _at_rest(back)
    state = seen.state
    if state.unproved is None:
        return None
    if state.before is not None and (state.settings is None or state.before.content != state.settings.content):
        event = back.event("taking_back", path=state.path)
        command = shell.script("take_back_service", "put its settings back", 30, path=state.path, event=event)
        remote.must(back.host, command)
        seen = back.witness.look()
    return _walk(back, seen)


def _at_rest(move: Move) -> Witnessed:
    """A look at what is true once nothing changes it any more: a command may outlive the connection it came by."""
    move.run.lease.renew()
    remote.must(move.host, shell.script("wait_service", "wait for earlier commands to end", 110))
    return move.witness.look()


def by_hand(declared: Service) -> list[str]:
    """The commands that put a service back by hand, as root on its host."""
    path = declared.env_file
    return [
        f"if [ -f {path}.before-poolward ]; then mv {path}.before-poolward {path}; fi",
        f"systemctl restart {declared.unit}",
        f"rm -f {path}.unproved-poolward",
    ]


def _stays(move: Move) -> str:
    return f"Its settings name the server again; why it does not work, journalctl -u {move.service.unit} tells."


def _try_login(move: Move, seen: Witnessed) -> None:
    """One real login per connection, before anything is changed."""
    now = service.settings_of(move.service, variables(move.service, seen.state))
    for name, one in move.targets.items():
        prepare = move.service.prepared_statements == "on" and one.pool_mode != "session"
        login = trial.log_in(move.host, now[name], one.address, prepare=prepare)
        login.check(one, move.home[name].database, seen.look.seen.sessions[one.server])
        move.event("login", milliseconds=login.milliseconds, role=login.role, database=login.database)
        through = f"{move.service.pooler} as {login.role} from {move.service.host}"
        move.run.say(f"✓ login through {through}  {login.milliseconds} ms")
