"""What a move works on: the run it belongs to, the service, and both ends of each of its connections."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from pyinfra.api import Host, State

from poolward import env_file, inventory, target
from poolward.errors import PoolwardError
from poolward.fleet import Fleet
from poolward.journal import Journal
from poolward.lease import Lease
from poolward.moves import Goal, Position
from poolward.observed import ServiceState
from poolward.service import Address, Service
from poolward.target import Resolved, Target
from poolward.witness import Witness


@dataclass
class Run:
    """What all moves of one run share."""

    state: State
    fleet: Fleet
    lease: Lease
    journal: Journal
    say: Callable[[str], None]


@dataclass
class Move:
    """One service on its way; connections go by the variable that names them."""

    run: Run
    service: Service
    goal: Goal
    targets: Mapping[str, Target]
    """Where each connection goes through the pooler."""
    home: Mapping[str, Address]
    """Where each goes without."""
    resolved: Resolved
    witness: Witness = field(init=False)
    touched: bool = field(default=False, init=False)
    """Whether anything was done to the service, or begun by an earlier run: then there is a way back to go."""

    def __post_init__(self) -> None:
        back = self.goal == "direct"
        self.witness = Witness(self.run.state, self.run.fleet, self.service, without_poolers=back)

    @property
    def host(self) -> Host:
        return inventory.host(self.run.state, self.service.host)

    @property
    def wanted(self) -> Mapping[str, Address]:
        return {name: one.address for name, one in self.targets.items()} if self.goal == "pooled" else self.home

    @property
    def servers(self) -> list[str]:
        """The servers its connections end at."""
        return sorted({one.server for one in self.targets.values()})

    @property
    def ends(self) -> tuple[str, str]:
        """Where its connections come from and go to, in words."""
        home = _told(self.home.values())
        pooled = _told(one.address for one in self.targets.values())
        return (home, pooled) if self.goal == "pooled" else (pooled, home)

    def event(self, step: str, **facts: object) -> str:
        """Journal a step here, and return its line for the host."""
        return self.run.journal.write(step, self.service.name, **facts)

    def position(self, state: ServiceState) -> Position:
        """Where the service stands, by its settings, its process and the mark beside its settings."""
        says = target.standing(self.service, variables(self.service, state), self.run.fleet, self.resolved)
        return Position(says, state.runs_with_settings, state.unproved is not None)


def variables(declared: Service, state: ServiceState) -> dict[str, str]:
    """What the service's settings file says; raises PoolwardError where there is none."""
    if state.settings is None:
        raise PoolwardError(f"There is no {declared.env_file} on {declared.host}.", 'Correct "env_file" in `services`.')
    return env_file.variables(state.settings.content)


def _told(addresses: Iterable[Address]) -> str:
    return ", ".join(sorted({f"{one.host}:{one.port}/{one.database}" for one in addresses}))
