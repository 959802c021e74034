"""Who moves in a run, in which order and where to, and whether it may begin: decided before anything is changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from pyinfra.api import State

from poolward import (
    acceptance,
    budget,
    budget_moves,
    env_file,
    evidence,
    hindrances,
    inventory,
    moves,
    moving,
    names,
    service,
    survey,
    target,
    watch,
    witness,
)
from poolward.budget_moves import AfterMove, Mover
from poolward.cutover import Cutover
from poolward.errors import PoolwardError, Problem, Refused
from poolward.evidence import Census
from poolward.fleet import Fleet
from poolward.journal import Journal
from poolward.lease import Lease
from poolward.moves import Goal
from poolward.moving import Move, Run
from poolward.observed import ServiceState
from poolward.service import Address, Service
from poolward.survey import Survey
from poolward.target import Resolved


@dataclass(frozen=True)
class Options:
    """What the operator may add to a run."""

    only: tuple[str, ...] = ()
    pause_after: int | None = None
    soak: float | None = None
    """Seconds, over every service's own."""
    inventory: str = ""
    """The inventory's path as it was given, for the journal."""


def planned(state: State, goal: Goal, options: Options, say: Callable[[str], None]) -> Cutover:
    """Look at every service and plan the run; raises Refused with every reason why it may not begin."""
    fleet = inventory.read_fleet(state.inventory)
    asked_for = chosen(fleet, options)
    included = [declared for declared in asked_for if inventory.in_limit(state, declared.host)]
    mine = [declared.name for declared in included]
    # The host of a service that this run does nothing to may be down, and must not bar the way back of another.
    concerned = fleet if goal == "pooled" else fleet.with_services_on(declared.host for declared in included)
    every = every_move(state, concerned, goal, options, say)
    what = every.run.journal.what
    wanted = [one for one in every.moves if one.service.name in mine and one.service.name not in every.done]
    skipped = {declared.name: f"stays direct: {declared.direct}" for declared in fleet.services if not declared.moves}
    skipped |= {declared.name: "left out by --limit" for declared in asked_for if declared.name not in mine}
    skipped |= {name: f"is {goal} already" for name in mine if name in every.done}
    problems = [problem for name, found in every.problems.items() if name in mine for problem in found]
    if goal == "direct":
        wanted.reverse()
    now, later = (
        tuple(wanted[: options.pause_after]),
        tuple(one.service.name for one in wanted[options.pause_after or len(wanted) :]),
    )
    bills: tuple[AfterMove, ...] = ()
    not_scanned = tuple(name for name, server in fleet.servers.items() if server.dsn)
    if goal == "pooled" and now and not problems:
        seen = survey.take(state, fleet, fleet.poolers)
        problems += [found for one in now for found in hindrances.of_move(one, every.states[one.service.name], seen)]
        problems += [] if not_scanned else hindrances.of_habits(state, fleet, now, every.states)
        bills = _bills(seen, every, now)
        problems += [] if fleet.allow_overcommit else [_over(bill) for bill in bills if not bill.allowed]
    if problems:
        raise Refused(f"The {what} cannot begin; nothing was changed.", problems)
    back = [one for one in now if goal == "direct" and every.states[one.service.name].unproved is None]
    brought = (
        *hindrances.of_containers(back, every.states),
        *hindrances.of_stopped(now if goal == "direct" else (), every.states),
    )
    unknown = not_scanned if goal == "pooled" and now else ()
    return Cutover(every.run, goal, now, skipped, later, bills, unknown, brought)


@dataclass(frozen=True)
class Every:
    """Every service that may move, whether this run moves it or not."""

    run: Run
    moves: tuple[Move, ...]
    states: Mapping[str, ServiceState]
    done: frozenset[str]
    """Those that are at the goal."""
    problems: Mapping[str, list[Problem]]


def every_move(state: State, fleet: Fleet, goal: Goal, options: Options, say: Callable[[str], None]) -> Every:
    """Look at every service that may move; what is wrong with one is in its `problems`."""
    movable = [declared for declared in fleet.services if declared.moves]
    # The way back leads past the poolers: one that cannot be asked does not bar it.
    look = watch.look(state, fleet, witness.asked(movable), without_poolers=goal == "direct")
    states = {declared.name: look.applications[declared.host].services[declared.name] for declared in movable}
    meanings = names.resolved(state, movable, states, fleet)
    run = _run(state, fleet, goal, options.inventory, say)
    problems: dict[str, list[Problem]] = {}
    found: list[Move] = []
    done: set[str] = set()
    for declared in movable:
        soaked = replace(declared, soak=options.soak) if options.soak is not None else declared
        try:
            one = _move(run, goal, soaked, states[declared.name], meanings[declared.name])
            census = evidence.census(look.seen, declared.host, declared.owner)
            if moves.next_step(one.position(states[declared.name], census), goal) == "done":
                done.add(declared.name)
            elif hindered := _stopped(one, states[declared.name]) or _untold(one, states[declared.name], census):
                problems[declared.name] = [hindered]
            found.append(one)
        except Refused as refused:
            problems[declared.name] = list(refused.problems)
        except PoolwardError as error:
            problems[declared.name] = [Problem(declared.where, error.message, error.hint)]
    return Every(run, tuple(found), states, frozenset(done), problems)


def _stopped(one: Move, state: ServiceState) -> Problem | None:
    """Why a service that was stopped does not move: a move ends in a restart, and would start it."""
    if one.goal == "direct" or state.unproved is not None or not moving.is_stopped(one, state):
        return None
    assert state.process
    hint = "start it; or leave it out, and name the others with --data only=…"
    return Problem(one.service.where, f"it does not run ({state.process.told}), and a move would start it", hint)


def _untold(one: Move, state: ServiceState, census: Census) -> Problem | None:
    """Why the sessions of a service that is still direct could not be told: from a container, or to a server far away.

    Where addresses are translated on the way there, a session past the pooler would look like none at all.
    """
    far = any(one.run.fleet.servers[end.server].hostless for end in one.targets.values())
    if one.goal == "direct" or state.unproved is not None or not (far or one.service.compose_service):
        return None
    if told := acceptance.untold(census):
        hint = "without that proof it is yours to move by hand; where a connection was only just opened, run it again"
        return Problem(one.service.where, told, hint)
    return None


def _over(bill: AfterMove) -> Problem:
    return Problem(
        bill.name,
        f"{bill}, and more than before",
        "lower max_db_connections of its entry, or set pgbouncer_allow_overcommit = True to go on all the same",
    )


def chosen(fleet: Fleet, options: Options) -> list[Service]:
    """The services that `only` names, or all that move; raises PoolwardError."""
    if not fleet.services:
        raise PoolwardError("No service is declared.", "Declare `services` in group_data, in the order they move.")
    known = {declared.name: declared for declared in fleet.services}
    if unknown := [name for name in options.only if name not in known]:
        raise PoolwardError(f"No service is called {', '.join(unknown)}.", f"Declared: {', '.join(known)}")
    if direct := [name for name in options.only if not known[name].moves]:
        raise PoolwardError(f"{', '.join(direct)} is declared to stay direct.", "Take `direct` out of its declaration.")
    return [s for s in fleet.services if s.moves and (not options.only or s.name in options.only)]


def _run(state: State, fleet: Fleet, goal: Goal, path: str, say: Callable[[str], None]) -> Run:
    journal = Journal(what="cutover" if goal == "pooled" else "rollback", inventory=path)
    return Run(
        state, fleet, Lease(inventory.host(state, fleet.keeper), journal.run, f"run a {journal.what}"), journal, say
    )


def _move(run: Run, goal: Goal, declared: Service, state: ServiceState, resolved: Resolved) -> Move:
    """A service's move, with both ends of each of its connections."""
    now = service.settings_of(declared, moving.variables(declared, state))
    targets = target.targets(declared, run.fleet, now, resolved)
    return Move(run, declared, goal, targets, _home(run.fleet, declared, state, targets, resolved), resolved)


def _home(
    fleet: Fleet,
    declared: Service,
    state: ServiceState,
    targets: Mapping[str, target.Target],
    resolved: Resolved,
) -> dict[str, Address]:
    """Where each connection goes without a pooler: as its settings say or said, else the server's own address."""
    for file in filter(None, (state.before, state.text)):
        variables = env_file.variables(file.content)
        if target.standing(declared, variables, fleet, resolved) == "direct":
            found = service.settings_of(declared, variables)
            return {name: Address(one.host, one.port, one.database) for name, one in found.items()}
    home: dict[str, Address] = {}
    for name, one in targets.items():
        server = fleet.servers[one.server]
        entries = {entry.name: entry.dbname for entry in fleet.poolers[one.poolers[0]].entries}
        home[name] = Address(server.address, server.port, entries[one.entry])
    return home


def _bills(seen: Survey, every: Every, now: Sequence[Move]) -> tuple[AfterMove, ...]:
    """The bill of each server after each of these moves, where every service says how many connections it opens."""
    if any(one.service.connections is None for one in every.moves):
        return ()
    moving = [one.service.name for one in now]
    steps: list[AfterMove] = []
    for server, bill in budget.bills(seen).items():
        movers = {one.service.name: _movers(one, server) for one in every.moves}
        moved = [mover for name in movers if name in every.done for mover in movers[name]]
        rest = [name for name in movers if name not in every.done and name not in moving]
        coming = [mover for name in (*moving, *rest) for mover in movers[name]]
        after = budget_moves.after_each(bill, moved, coming)
        steps += [step for step in after if step.name in moving]
    return tuple(steps)


def _movers(one: Move, server: str) -> list[Mover]:
    entries = sorted({(pooler, t.entry) for t in one.targets.values() if t.server == server for pooler in t.poolers})
    return [Mover(one.service.name, one.service.connections or 0, pooler, entry) for pooler, entry in entries]
