"""The steps of a move, each by itself: the login that is tried, the settings rewritten or put back, the restart."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping

from poolward import env_file, remote, rewriting, service, shell, trial
from poolward.errors import PoolwardError, Problem, Unread
from poolward.moving import Move, variables
from poolward.observed import ServiceState
from poolward.shell import services
from poolward.witness import Witnessed

RESTART_SECONDS, LONGEST_RESTART_SECONDS = 120, 900
"""A restart is waited for as long as its service's own bounds allow, between these two."""
_OVERHEAD = 20
"""Seconds for what comes before and after: the lock that is waited for, the processes that are counted."""
CHANGE_SECONDS = 100
"""For rewriting settings: two commands of the operator's may be at work, each with its own bound."""


def try_login(move: Move, seen: Witnessed) -> None:
    """One real login per connection, before anything is changed."""
    now = service.settings_of(move.service, variables(move.service, seen.state))
    container = next((one.id for one in seen.state.containers if one.running), "")
    if move.service.compose_service and not container:
        told = seen.state.process.told if seen.state.process else "it has no container"
        raise PoolwardError(f"Its login cannot be tried from within: {told}.", "Run again when it runs.")
    for name, one in move.targets.items():
        prepare = move.service.prepared_statements == "on" and one.pool_mode != "session"
        login = trial.log_in(
            move.host,
            now[name],
            one.address,
            prepare=prepare,
            unit=move.service.unit,
            container=container,
        )
        login.check(one, move.home[name].database, seen.look.seen.sessions[one.server])
        move.event("login", milliseconds=login.milliseconds, role=login.role, database=login.database)
        through = f"{move.service.pooler} as {login.role} from {move.service.host}"
        move.run.say(f"✓ login through {through}  {login.milliseconds} ms")


def switch(move: Move, state: ServiceState) -> Mapping[str, str]:
    """Rewrite its settings; returns what was changed in them."""
    assert state.text is not None
    changes = service.moved_variables(move.service, env_file.variables(state.text.content), move.wanted)
    where = services.settings_of(move.service, state.path)
    event = move.event("switched", path=where.what, variables=list(changes))
    standing = move.position(state).settings
    command = services.script(
        "switch_service",
        f"rewrite {where.what}",
        CHANGE_SECONDS,
        move.service,
        mark=json.dumps({"goal": move.goal, "run": move.run.journal.run, "since": time.time()}),
        keep=move.goal == "pooled" and rewriting.is_way_back(move.service, state, standing, move.pooled),
        again=standing != "direct" and state.before is not None,
        event=event,
    )
    move.touched = True
    move.run.lease.renew(during=CHANGE_SECONDS)
    remote.must(move.host, command, stdin=rewriting.switched(move.service, state, changes))
    kept = f"  (kept: {where.before})" if move.goal == "pooled" else ""
    told = ", ".join(changes) or "what was written by half"
    move.run.say(f"✓ switched {told} in {where.what}{kept}")
    return changes


def hold_against_compose(move: Move, before: ServiceState, changes: Mapping[str, str]) -> None:
    """Compose's own reading of what was just written; its service still runs as before, and nobody waits for this."""
    if before.written is None:
        return
    state, where = move.witness.look().state, services.settings_of(move.service).what
    if state.written is None or state.written.environment != {**before.written.environment, **changes}:
        raise PoolwardError(
            f"Docker Compose reads something else than what was written to {where}.",
            "Is the variable set in a second place, as an env_file beside `environment`? Set it in one.",
        )
    known = before.written.others
    if others := sorted(name for name, read in state.written.others.items() if read != known.get(name, read)):
        raise PoolwardError(
            f"{where} is read by {', '.join(others)}, too, which would be moved by the next `docker compose up`.",
            f"Write the address into `environment` of {move.service.compose_service}, or into a file of its own.",
        )


def restart(move: Move, seen: Witnessed) -> None:
    """Restart it, and nothing else; from here on the poolers' logs count. Raises CommandFailed."""
    what = services.process_of(move.service).what
    move.touched = True
    move.witness.log_since = seen.clocks
    bound = restart_bound(seen.state)
    move.run.lease.renew(during=bound)
    event = move.event("restarting")
    command = services.script(
        "restart_service", f"restart {what}", bound, move.service, restart_seconds=bound - _OVERHEAD, event=event
    )
    move.restarted = True
    seconds = float(remote.must(move.host, command).strip().splitlines()[-1])
    move.event("restarted", seconds=seconds)
    move.run.say(f"✓ restarted {what}  {seconds:.1f} s")


def restart_bound(state: ServiceState) -> int:
    """How long a restart of a service is waited for, in seconds; systemd and Docker go on where we stop waiting."""
    told = state.process.restart_seconds if state.process else 0.0
    return int(min(max(told + 2 * _OVERHEAD, RESTART_SECONDS), LONGEST_RESTART_SECONDS))


def put_back(move: Move, seen: Witnessed) -> Witnessed:
    """The address as it was before the move, where it is not, and all else that was changed by nobody but the move;
    raises PoolwardError."""
    state = seen.state
    if state.unreadable and move.service.compose_service and not move.service.read_command:
        raise Unread("Its settings cannot be put back yet.", [Problem(move.service.name, state.unreadable)])
    lines = rewriting.taken_back(move.service, state, move.pooled)
    if not lines:
        return seen
    event = move.event("taking_back", path=state.path)
    command = services.script("take_back_service", "put its settings back", CHANGE_SECONDS, move.service, event=event)
    move.run.lease.renew(during=CHANGE_SECONDS)
    remote.must(move.host, command, stdin=lines)
    return move.witness.look()


def finish(move: Move, event: str, *, forget: bool) -> None:
    """Wipe off the mark of a move, and with `forget` what it kept; raises CommandFailed."""
    command = services.script("finish_service", "wipe off its mark", 15, move.service, forget=forget, event=event)
    remote.must(move.host, command)


def clear(move: Move, now: ServiceState) -> None:
    """Leave nothing of a switch that its host's loss of power ended before it made the mark; raises CommandFailed.

    Settings that differ from those before the move are of one that is proved, and what was kept is its way back.
    """
    then = move.first.state if move.first else None
    if then and then.settings and now.settings and then.settings.content == now.settings.content:
        finish(move, move.event("untouched"), forget=then.before is None)


def at_rest(move: Move) -> Witnessed:
    """A look at what is true once nothing changes it any more: a command may outlive the connection it came by."""
    patience = move.patience
    move.run.lease.renew(during=patience)
    wait = shell.script("wait_service", "wait for earlier commands to end", patience + 10, patience=patience)
    remote.must(move.host, wait)
    return move.witness.look()
