"""One run of a service that lives now and then, as its host saw it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from poolward.observed._answer import Unreadable, sections
from poolward.observed.sockets import Endpoint, told


@dataclass(frozen=True)
class Connection:
    """A connection somebody on the host had while the service ran."""

    pid: int
    """0 where it was over before its process could be seen."""
    program: str
    local: Endpoint
    peer: Endpoint

    def __str__(self) -> str:
        return f"pid {self.pid} {self.program or 'a process that has ended'} at {self.local} → {self.peer}"


@dataclass(frozen=True)
class Occasion:
    """The run: how it ended, and to whom it was connected."""

    status: int
    """What its command ended with."""
    seconds: float
    timed_out: bool
    own: tuple[Connection, ...]
    unseen: tuple[Connection, ...]
    """Connections that were made and ended meanwhile, too short for anybody to see whose they were."""

    @classmethod
    def parse(cls, lines: Iterable[str], host: str = "") -> Occasion:
        """Read the output of `run_service.sh` on this host; raises Unreadable when any part of it is missing."""
        found = sections(lines)
        own: dict[tuple[Endpoint, Endpoint], Connection] = {}
        over: dict[tuple[Endpoint, Endpoint], Connection] = {}
        known: set[tuple[Endpoint, Endpoint]] = set()
        try:
            for line in found["sockets"]:
                state, local, peer, whose, pid, program = line.split("\t", 5)
                ends = Endpoint.parse(local).seen_on(host), Endpoint.parse(peer).seen_on(host)
                one = Connection(int(pid), told(program), *ends)
                if whose == "own":
                    own.setdefault(ends, one)
                if state == "TIME-WAIT":
                    over[ends] = one
                else:
                    known.add(ends)
            status, seconds, *rest = found["ran"]
            return cls(
                int(status),
                float(seconds),
                "timeout" in rest,
                tuple(own.values()),
                tuple(one for ends, one in over.items() if ends not in known),
            )
        except (KeyError, ValueError) as error:
            raise Unreadable(f"The run of a service could not be read ({type(error).__name__}).") from error
