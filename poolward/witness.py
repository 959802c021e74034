"""What is seen of one service in motion: a look at all sides, its sessions, and the look as numbers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from pyinfra.api import State

from poolward import evidence, watch
from poolward.acceptance import Sample, Terms, sample
from poolward.evidence import Census
from poolward.fleet import Fleet
from poolward.observed import ServiceState
from poolward.service import Service
from poolward.watch import Asked, Look


@dataclass(frozen=True)
class Witnessed:
    """One look, from the point of view of one service."""

    fleet: Fleet
    service: Service
    look: Look

    @property
    def state(self) -> ServiceState:
        return self.look.applications[self.service.host].services[self.service.name]

    @cached_property
    def censuses(self) -> Mapping[str, Census]:
        """The sessions of every service that was looked at, by name."""
        return {
            declared.name: evidence.census(self.look.seen, declared.host, declared.owner)
            for declared in self.fleet.services
            if declared.owner and declared.host in self.look.seen.sockets
        }

    @property
    def census(self) -> Census:
        """The service's own sessions."""
        return self.censuses[self.service.name]

    @property
    def clocks(self) -> dict[str, float]:
        """By pooler what time it was there."""
        return {name: traffic.clock for name, traffic in self.look.seen.traffic.items()}

    def sample(self, at: float, terms: Terms, server: str) -> Sample:
        """The look judged."""
        seen, complaints = self.look.seen, self._complaints(terms)
        return sample(at, terms, self.state, self.census, seen.sessions[server], complaints, self.held(server))

    def held(self, server: str) -> int:
        """How many connections of a server the service and all poolers hold: what a move can change."""
        pids = {backend.pid for backend in self.look.seen.sessions[server].backends}
        pooled = sum(1 for traffic in self.look.seen.traffic.values() for one in traffic.servers if one.pid in pids)
        return pooled + sum(1 for session in self.census.direct if session.server == server)

    def fullest(self, servers: Sequence[str]) -> str:
        """Which of these servers has the least room left."""
        sessions = self.look.seen.sessions
        return max(servers, key=lambda name: len(sessions[name].backends) / max(1, sessions[name].limit))

    def numbers(self, found: Sample, server: str) -> dict[str, object]:
        """The look as the journal keeps it."""
        own = {
            "direct": found.direct,
            "pooled": found.pooled,
            "waiting": found.waiting,
            "longest_wait": round(found.longest_wait, 3),
            "health": found.health,
            "problems": (*found.problems, *found.as_before),
        }
        return {**own, **counts(self.fleet, self.look, server)}

    def _complaints(self, terms: Terms) -> list[str]:
        """What the poolers have against it, in sentences."""
        if terms.back:
            return [] if terms.entries else list(self._perhaps_pooled())
        own = self.look.seen.traffic.get(self.service.pooler)
        stopped = [f"PgBouncer does not run on {self.service.pooler}"] if own and not own.running else []
        here = [declared for declared in self.fleet.services if declared.host == self.service.host]
        others = [declared.owner for declared in here if declared.owner and declared.name != self.service.name]
        lines = evidence.complaints(self.look.seen, self.service.host, self.service.owner, others)
        return stopped + [f"the pooler's log names it: {line}" for line in lines[-1:]]

    def _perhaps_pooled(self) -> Iterable[str]:
        """A pooler that cannot be asked cannot say whether a connection to its port is a session of the service."""
        for name in self.look.silent:
            port = self.fleet.poolers[name].port
            if count := sum(1 for socket in self.census.unmatched if socket.peer.port == port):
                yield f"{name} cannot be asked, and {count} of its connections lead to port {port}"


def counts(fleet: Fleet, look: Look, server: str) -> dict[str, object]:
    """Who holds the connections of one server: by service, role and pooler."""
    seen = look.seen
    backends = seen.sessions[server].backends
    pids = {backend.pid for backend in backends}
    by_pooler = {name: sum(1 for one in traffic.servers if one.pid in pids) for name, traffic in seen.traffic.items()}
    by_service: dict[str, dict[str, int]] = {}
    for declared in fleet.services:
        if declared.owner and declared.host in seen.sockets:
            census = evidence.census(seen, declared.host, declared.owner)
            direct = sum(1 for session in census.direct if session.server == server)
            by_service[declared.name] = {"direct": direct, "pooled": len(census.pooled)}
    accounted = sum(by_pooler.values()) + sum(numbers["direct"] for numbers in by_service.values())
    states = {name: state for host in look.applications.values() for name, state in host.services.items()}
    return {
        "errors": {name: state.errors for name, state in states.items() if state.errors is not None},
        "server": server,
        "backends": len(backends),
        "limit": seen.sessions[server].limit,
        "by_service": by_service,
        "by_role": dict(Counter(backend.role for backend in backends)),
        "by_pooler": by_pooler,
        "others": max(0, len(backends) - accounted),
        "servers": by_pooler,
        "clients": {name: len(traffic.clients) for name, traffic in seen.traffic.items()},
    }


@dataclass
class Witness:
    """Looks at a service again and again."""

    state: State
    fleet: Fleet
    service: Service
    log_since: Mapping[str, float] = field(default_factory=dict)
    """By pooler, and in its own clock, from when on its log counts."""
    without_poolers: bool = False
    """Whether a pooler that cannot be asked is no obstacle."""

    def look(self) -> Witnessed:
        """Look once at everything; raises Unread with every host that could not be read."""
        found = watch.look(
            self.state,
            self.fleet,
            asked(self.fleet.services, in_motion=self.service.name),
            health_timeout=max(1, math.ceil(self.service.health_timeout)),
            log_since=self.log_since,
            without_poolers=self.without_poolers,
        )
        return Witnessed(self.fleet, self.service, found)


def asked(services: Iterable[Service], in_motion: str = "", *, errors: bool = False) -> dict[str, list[Asked]]:
    """What to ask about services, by host; where one is in motion, settings and health of that one alone.

    Each question costs time, and settings may have to come from a command of the operator's.
    """
    questions: dict[str, list[Asked]] = {}
    for declared in services:
        if declared.owner:
            moving = declared.name == in_motion
            question = Asked(declared, settings=moving or not in_motion, health=moving, errors=moving or errors)
            questions.setdefault(declared.host, []).append(question)
    return questions
