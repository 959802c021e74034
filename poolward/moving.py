"""What a move works on: the run it belongs to, the service, and both ends of each of its connections."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from pyinfra.api import Host, State

from poolward import env_file, inventory, target
from poolward.errors import PoolwardError
from poolward.evidence import Census
from poolward.fleet import Fleet
from poolward.journal import Journal
from poolward.lease import Lease
from poolward.moves import Goal, Position
from poolward.observed import ServiceState
from poolward.service import Address, Service
from poolward.shell import services
from poolward.target import Paths, Resolved, Target
from poolward.witness import Witness, Witnessed


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
    taking_back: bool = False
    """Whether it undoes a move that failed."""
    touched: bool = field(default=False, init=False)
    """Whether anything was done to the service, or begun by an earlier run: then there is a way back to go."""
    first: Witnessed | None = field(default=None, init=False)
    """What was true before anything was done in this run."""
    kept: bool = field(default=False, init=False)
    """Whether its settings from before the move were there to be put back."""
    restored: Paths | None = field(default=None, init=False)
    """Where its settings lead since they were put back: to the server, or to the pooler it was at before."""
    restarted: bool = field(default=False, init=False)
    """Whether this took a restart of it."""
    path: str = field(default="", init=False)
    """Where its settings are on its host, behind any symbolic link."""
    patience: int = field(default=100, init=False)
    """Seconds for which a way back waits for an earlier command to end: for no shorter than a restart may take."""
    compose: str = field(default="", init=False)
    """How Docker Compose was called when it made the service's container."""

    def __post_init__(self) -> None:
        back = self.goal == "direct"
        self.witness = Witness(self.run.state, self.run.fleet, self.service, without_poolers=back)

    @property
    def host(self) -> Host:
        return inventory.host(self.run.state, self.service.host)

    @property
    def pooled(self) -> Mapping[str, Address]:
        """Where each connection goes through the pooler, as the settings say it."""
        return {name: one.address for name, one in self.targets.items()}

    @property
    def wanted(self) -> Mapping[str, Address]:
        return self.pooled if self.goal == "pooled" else self.home

    @property
    def servers(self) -> list[str]:
        """The servers its connections end at."""
        return sorted({one.server for one in self.targets.values()})

    @property
    def entries(self) -> frozenset[tuple[str, str]]:
        """The poolers, each with the entry, that its sessions are to go through."""
        if self.restored:
            return self.restored.entries
        poolers = [(pooler, one.entry) for one in self.targets.values() for pooler in one.poolers]
        return frozenset(poolers if self.goal == "pooled" else ())

    @property
    def home_ends(self) -> frozenset[tuple[str, int]]:
        """The addresses it reaches its servers by without a pooler."""
        hosts = {
            (host, one.port) for one in self.home.values() for host in (one.host, *self.resolved.get(one.host, ()))
        }
        return frozenset(hosts)

    @property
    def ends(self) -> tuple[str, str]:
        """Where its connections come from and go to, in words."""
        home = _told(self.home.values())
        pooled = _told(one.address for one in self.targets.values())
        return (home, pooled) if self.goal == "pooled" else (pooled, home)

    def event(self, step: str, **facts: object) -> str:
        """Journal a step here, and return its line for the host."""
        return self.run.journal.write(step, self.service.name, **facts)

    def position(self, state: ServiceState, census: Census | None = None) -> Position:
        """Where the service stands: its settings, its process, the mark beside its settings, and its sessions."""
        says = target.standing(self.service, variables(self.service, state), self.run.fleet, self.resolved)
        # A write that broke off left nobody knows what: all of it is written anew.
        says = "mixed" if state.unfinished is not None else says
        # What was put back is where it belongs, wherever that leads.
        says = self.goal if self.restored and state.unfinished is None else says
        restarted = is_restarted(self.service, state)
        if state.unproved is None and not restarted:
            # Nothing was begun here. The times of a file tell of chmod and of staged edits, too; sessions do not.
            restarted = census is None or not (census.direct if says == "pooled" else census.pooled)
        return Position(says, restarted, state.unproved is not None)


def is_restarted(declared: Service, state: ServiceState) -> bool:
    """Whether no process of it is older than its settings; one that lives now and then may have none at all."""
    return state.runs_with_settings or (declared.now_and_then and not state.has_old_process)


def is_stopped(move: Move, state: ServiceState) -> bool:
    """Whether it is down, and nothing but a restart for its move would start it."""
    return not move.service.now_and_then and state.process is not None and state.process.stopped


def variables(declared: Service, state: ServiceState) -> dict[str, str]:
    """What the service's settings say; raises PoolwardError where they cannot be read."""
    if state.text is None:
        word = services.settings_of(declared).word
        if state.unreadable and declared.compose_service and not declared.read_command:
            raise PoolwardError(
                f"{state.unreadable}.", f"On {declared.host}: docker compose -f {declared.compose_file} ps"
            )
        if state.unreadable:
            hint = f"Run it on {declared.host} as root; what it says for itself may be secret, and is not shown."
            raise PoolwardError(f"Its {state.unreadable}.", hint)
        raise PoolwardError(f"There is no {state.path} on {declared.host}.", f'Correct "{word}" in `services`.')
    return env_file.variables(state.text.content)


def _told(addresses: Iterable[Address]) -> str:
    return ", ".join(sorted({f"{one.host}:{one.port}/{one.database}" for one in addresses}))
