"""Why a service may not move yet, looked at on live hosts before anything is changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from pyinfra.api import State

from poolward import assess, compatibility, hazards, moving, recreation, rewriting, service
from poolward.errors import PoolwardError, Problem, Refused
from poolward.fleet import Fleet
from poolward.moving import Move
from poolward.observed import ServiceState
from poolward.survey import Survey

# A short scan: `poolward assess` samples for longer.
_SAMPLES, _SAMPLE_SECONDS = 4, 0.25
_ACCEPT = "poolward assess tells more; to move it all the same, say why in its `accept_hazards`"


def of_move(one: Move, state: ServiceState, seen: Survey) -> list[Problem]:
    """What its poolers would refuse, its settings could not take, or a new container would bring beside."""
    fresh = state.unproved is None
    return [
        *_refusals(one, state, seen),
        *_unwritable(one, state),
        *(recreation.problems(one.host, one.service, state) if fresh else ()),
    ]


def of_containers(moves: Sequence[Move], states: Mapping[str, ServiceState]) -> list[str]:
    """What a way back brings along with a new container; it is said, and bars nothing."""
    said: list[str] = []
    for one in moves:
        name = one.service.name
        try:
            found = recreation.problems(one.host, one.service, states[name])
        except PoolwardError as error:
            said.append(f"{name}: it is not known what else a new container would bring ({error.message})")
        else:
            said += [f"{name}: a new container brings more than its address: {problem.message}" for problem in found]
    return said


def of_stopped(moves: Sequence[Move], states: Mapping[str, ServiceState]) -> list[str]:
    """What a way back starts that is down now: it ran when it was moved, and only what runs proves a way back."""
    return [
        f"{one.service.name} does not run ({process.told}) and will be started"
        for one in moves
        if (process := states[one.service.name].process) and moving.is_stopped(one, states[one.service.name])
    ]


def _refusals(one: Move, state: ServiceState, seen: Survey) -> list[Problem]:
    """What the poolers would turn away or drop in silence of this service's connections."""
    found: list[Problem] = []
    for name, connection in service.settings_of(one.service, moving.variables(one.service, state)).items():
        end = one.targets[name]
        pinned = (
            seen.servers[end.server].roles[connection.user].settings
            if connection.user in seen.servers[end.server].roles
            else ()
        )
        for pooler in end.poolers:
            observed = seen.poolers[pooler]
            if observed.version is None or observed.console is None:
                found.append(
                    Problem(one.service.where, f"{pooler} does not run", "deploy it first: deploy/pgbouncer.py")
                )
                continue
            running = {key: value.value for key, value in observed.console.config.items()}
            found += compatibility.refusals(
                one.service,
                name,
                connection,
                end.pool_mode,
                observed.version,
                running,
                [setting.partition("=")[0] for setting in pinned],
            )
    return found


def _unwritable(one: Move, state: ServiceState) -> list[Problem]:
    """Why its settings could not be rewritten, said before anything is tried."""
    try:
        changes = service.moved_variables(one.service, moving.variables(one.service, state), one.wanted)
        rewriting.switched(one.service, state, changes)
    except Refused as refused:
        return list(refused.problems)
    except PoolwardError as error:
        return [Problem(one.service.where, error.message, error.hint)]
    return []


def of_habits(state: State, fleet: Fleet, now: Sequence[Move], states: Mapping[str, ServiceState]) -> list[Problem]:
    """What these services were seen to do that their pool does not give; a move that was begun is no more judged."""
    fresh = {
        one.service.name: one
        for one in now
        if states[one.service.name].unproved is None and not one.service.accept_hazards
    }
    if not fresh:
        return []
    found = assess.take(state, fleet, _SAMPLES, _SAMPLE_SECONDS)
    return [
        Problem(fresh[seen.name].service.where, reason, _ACCEPT)
        for seen in found.services
        if seen.name in fresh and seen.verdict != "unknown"
        for reason in hazards.unsafe(seen, _pool(fresh[seen.name]))
    ]


def _pool(one: Move) -> Literal["transaction", "session"]:
    modes = {end.pool_mode for end in one.targets.values()}
    return "session" if modes == {"session"} else "transaction"
