"""One service moved to its pooler, or back: try the login, switch, restart, prove; or all of it taken back."""

from __future__ import annotations

import base64
import json
import time

import gevent

from poolward import env_file, moves, remote, service, shell, trial
from poolward.acceptance import Sample, Soak, Terms
from poolward.errors import PoolwardError
from poolward.moving import Move, variables
from poolward.observed import ServiceState
from poolward.service import Service
from poolward.witness import Witnessed

INTERVAL = 1.0
"""Seconds between two looks of a proof."""
RESTART_SECONDS = 120
_SAY_EVERY = 5.0
_BACK_SOAK = 3.0
"""Seconds for which a service that was taken back has to stay as it was."""


def carry_out(move: Move) -> None:
    """Bring a service to the goal, proved; raises PoolwardError, with the service back as it was where that was done.

    A way back to the server is not itself taken back when its proof fails: the pooler may be what is broken.
    """
    began = time.monotonic()
    move.run.lease.renew()
    seen = move.witness.look()
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
    except PoolwardError as error:
        move.event("failed", reason=error.message, hint=error.hint)
        if move.goal == "direct":
            raise PoolwardError(f"{move.service.name}: {error.message}", error.hint or _stays(move)) from error
        raise _taken_back(move, error) from error
    seconds = round(time.monotonic() - began, 3)
    move.event("proved", seconds=seconds, soak=_soak(move), direct=last.direct, pooled=last.pooled)


def _walk(move: Move, seen: Witnessed) -> Sample:
    """Step after step, each decided on what is then true on the host; returns the last look of the proof."""
    done: list[moves.Step] = []
    while True:
        step = moves.next_step(move.position(seen.state), move.goal)
        if step in done:
            raise PoolwardError(f"To {moves.STEPS[step]} had no effect.", f"Look at {move.service.host}.")
        done.append(step)
        move.run.lease.renew()
        if step == "switch":
            _switch(move, seen.state)
        elif step == "restart":
            _restart(move, seen)
        else:
            return _prove(move, seen.state)
        seen = move.witness.look()


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
        # The way back is what was there before the first rewrite of a move, not what an interrupted one left.
        keep=move.goal == "pooled" and state.unproved is None,
        event=event,
    )
    lines = [base64.b64encode(content).decode() for content in (old, env_file.replaced(old, changes))]
    remote.must(move.host, command, stdin="\n".join((*lines, "")))
    kept = f"  (kept: {state.path}.before-poolward)" if move.goal == "pooled" else ""
    move.run.say(f"✓ switched {', '.join(changes)} in {state.path}{kept}")


def _restart(move: Move, seen: Witnessed) -> None:
    unit = move.service.unit
    move.witness.log_since = seen.clocks
    event = move.event("restarting")
    command = shell.script("restart_service", f"restart {unit}", RESTART_SECONDS, unit=unit, event=event)
    seconds = float(remote.must(move.host, command).strip().splitlines()[-1])
    move.event("restarted", seconds=seconds)
    move.run.say(f"✓ restarted {unit}  {seconds:.1f} s")


def _soak(move: Move) -> float:
    return move.service.soak if move.goal == "pooled" else min(move.service.soak, _BACK_SOAK)


def _prove(move: Move, state: ServiceState) -> Sample:
    last = _soaked(move, Soak(_soak(move)))
    event = move.event("settled", direct=last.direct, pooled=last.pooled)
    finish = shell.script(
        "finish_service", "mark it as proved", 15, path=state.path, forget=move.goal == "direct", event=event
    )
    remote.must(move.host, finish)
    move.run.say(f"✓ proved for {_soak(move):g} s: {last}")
    return last


def _soaked(move: Move, soak: Soak) -> Sample:
    """The last look of a proof that held; raises PoolwardError with the numbers of one that did not."""
    terms = Terms(move.goal, move.service.max_wait, bool(move.service.health))
    told = float("-inf")
    while True:
        began = time.monotonic()
        move.run.lease.renew()
        seen = move.witness.look()
        server = seen.fullest(move.servers)
        found = seen.sample(began, terms, server)
        move.event("look", **seen.numbers(found, server))
        result = soak.add(found)
        if result == "proved":
            return found
        if result == "failed":
            raise PoolwardError(f"{'; '.join(found.problems) or 'it did not stay as it should'} ({found}).")
        if began - told >= _SAY_EVERY:
            told = began
            waits = f"; not yet: {found.problems[0]}" if found.problems else ""
            move.run.say(f"… proving, {soak.left(began):.0f} s of soak left: {found}{waits}")
        gevent.sleep(max(0.0, INTERVAL - (time.monotonic() - began)))


def _taken_back(move: Move, error: PoolwardError) -> PoolwardError:
    """Undo what was done to the service and prove it; returns the error to raise, with both where that failed too."""
    began = time.monotonic()
    back = Move(move.run, move.service, "direct", move.targets, move.home, move.resolved)
    name = move.service.name
    try:
        seen = back.witness.look()
        path = seen.state.path
        if seen.state.unproved is None:
            return PoolwardError(f"{name}: {error.message}", f"Its settings were not touched. {error.hint}".strip())
        if seen.state.before is not None:
            event = back.event("taking_back", path=path)
            remote.must(
                back.host, shell.script("take_back_service", "put its settings back", 30, path=path, event=event)
            )
            seen = back.witness.look()
        last = _walk(back, seen)
    except PoolwardError as second:
        move.event("stuck", reason=f"{error.message} / {second.message}", commands=by_hand(move.service))
        return PoolwardError(
            f"{name}: {error.message}\n  And taking it back failed: {second.message}",
            f"On {move.service.host}, as root: {' && '.join(by_hand(move.service))}",
        )
    seconds = round(time.monotonic() - began, 3)
    move.event("taken_back", reason=error.message, direct=last.direct, pooled=last.pooled, seconds=seconds)
    return PoolwardError(
        f"TAKEN BACK  {name}: {error.message}",
        f"Restored {path}, restarted, proved: {last.direct} direct, {last.pooled} pooled. Nothing else was touched. "
        f"{error.hint}".strip(),
    )


def by_hand(declared: Service) -> list[str]:
    """The commands that put a service back by hand, as root on its host."""
    path = declared.env_file
    return [
        f"cp --preserve=all {path}.before-poolward {path}",
        f"systemctl restart {declared.unit}",
        f"rm {path}.unproved-poolward",
    ]


def _stays(move: Move) -> str:
    return f"Its settings name the server again; why it does not work, journalctl -u {move.service.unit} tells."


def _try_login(move: Move, seen: Witnessed) -> None:
    """One real login per connection, before anything is changed."""
    now = service.settings_of(move.service, variables(move.service, seen.state))
    for name, one in move.targets.items():
        prepare = move.service.prepared_statements == "on" and one.pool_mode != "session"
        login = trial.log_in(move.host, now[name], one, prepare=prepare)
        login.check(one, move.home[name].database, seen.look.seen.sessions[one.server])
        move.event("login", milliseconds=login.milliseconds, role=login.role, database=login.database)
        through = f"{move.service.pooler} as {login.role} from {move.service.host}"
        move.run.say(f"✓ login through {through}  {login.milliseconds} ms")
