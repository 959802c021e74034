"""Who stays connected directly after all declared moves: what the operator declares, and what is seen now. Pure.

What is declared to move leaves. What nobody declared stays, as far as it is seen now: but an address may be a declared
service's all the same (a second network card, NAT), so those sessions are on the bill and refuse no deploy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from poolward.fleet import PROBE_ROLE, Fleet, Pooler, Server
from poolward.observed import ServerState
from poolward.service import Service

_LOCAL = ("local", "127.0.0.1", "::1")
_HERE = ""
"""The machine PostgreSQL itself runs on; another one goes by its address."""


@dataclass(frozen=True)
class Stay:
    """Somebody who stays: who, how many connections, and where the number comes from."""

    who: str
    connections: int
    source: str
    sure: bool = True
    """Whether it refuses a deploy: what is declared does, and what nobody can have declared to move."""


@dataclass(frozen=True)
class Sessions:
    """The sessions of a server, and what tells whose they are."""

    fleet: Fleet
    name: str
    state: ServerState
    addresses: Mapping[str, str] = field(default_factory=dict)
    """Per pooler the address its connections come from."""
    opened: Mapping[str, int] = field(default_factory=dict)
    """Per pooler the connections it says it has open; without a number all that comes from there is its own."""

    def stays(self) -> Iterator[Stay]:
        """Everyone who stays, in the order of the bill."""
        for service in self._direct:
            yield from self._of_service(service)
        for machine in sorted(self._rows):
            yield from self._beside(machine)
        if not self._unplaced:
            yield from self._strangers_by_role()

    def notes(self) -> Iterator[str]:
        """What the numbers do not show of those who stay, as sentences."""
        yield from self._note_on_strangers()
        yield from self._notes_on_services()

    def direct_now(self) -> int:
        """Client backends that do not come from a pooler, as seen now."""
        counts: dict[str, int] = {}
        for row in self.state.backends:
            machine = self._machine(str(row["address"]))
            counts[machine] = counts.get(machine, 0) + int(row["count"])
        return sum(self._not_pooled(machine, count) for machine, count in counts.items())

    # Where things are

    @property
    def _server(self) -> Server:
        return self.fleet.servers[self.name]

    def _machine(self, address: str) -> str:
        also = self.addresses.get(self.name), self.fleet.service_addresses.get(self.name)
        return _HERE if address in (*_LOCAL, self._server.address, *also) else address

    def _machine_of(self, service: Service) -> str | None:
        """The machine a service runs on; None where the inventory does not tell."""
        if service.host == self.name:
            return _HERE
        address = self.fleet.service_addresses.get(service.host) or self.addresses.get(service.host)
        return None if address is None else self._machine(address)

    @cached_property
    def _rows(self) -> dict[str, list[Mapping[str, Any]]]:
        """The sessions by machine, without those of the poolers' own roles."""
        found: dict[str, list[Mapping[str, Any]]] = {}
        for row in self.state.backends:
            if row["role"] not in (self._server.auth_role, PROBE_ROLE):
                found.setdefault(self._machine(str(row["address"])), []).append(row)
        return found

    @cached_property
    def _services(self) -> dict[str | None, list[Service]]:
        found: dict[str | None, list[Service]] = {}
        for service in self.fleet.services:
            found.setdefault(self._machine_of(service), []).append(service)
        return found

    @cached_property
    def _poolers(self) -> dict[str, list[Pooler]]:
        found: dict[str, list[Pooler]] = {}
        for name, address in self.addresses.items():
            if name in self.fleet.poolers:
                found.setdefault(self._machine(address), []).append(self.fleet.poolers[name])
        return found

    @property
    def _direct(self) -> list[Service]:
        return [service for service in self.fleet.services if not service.moves]

    @cached_property
    def _unplaced(self) -> list[str]:
        """Services and poolers that may connect from an address nobody knows: any unknown one may be theirs."""
        services = [
            service.name
            for service in self.fleet.services
            if (machine := self._machine_of(service)) is None
            or (machine == _HERE and (service.compose_service or self._server.container))
        ]
        poolers = [
            name
            for name, pooler in self.fleet.poolers.items()
            if name not in self.addresses or not pooler.runtime.addressed_by_host
        ]
        return [*services, *poolers]

    # Whose a session is

    def _not_pooled(self, machine: str, count: int) -> int:
        """How many of so many sessions from a machine are not its pooler's.

        From an application host, or the server's own, others may come as well: there a pooler has what it says it has.
        """
        poolers = self._poolers.get(machine, [])
        if any(machine != _HERE and not pooler.app_local for pooler in poolers):
            return 0
        if any(pooler.name not in self.opened for pooler in poolers):
            return 0
        return max(0, count - sum(self.opened[pooler.name] for pooler in poolers))

    def _is_of(self, row: Mapping[str, Any], service: Service) -> bool:
        """Whether a session is this service's, beyond doubt, among those from its machine."""
        machine = self._machine_of(service)
        others = [other for other in self._services[machine] if other is not service]
        if not others and machine not in self._poolers:
            return True
        if row["application"] == service.name:
            return True
        return (
            bool(service.role) and row["role"] == service.role and all(o.role not in ("", row["role"]) for o in others)
        )

    def _seen_of(self, service: Service) -> int:
        machine = self._machine_of(service)
        rows = [] if machine is None else self._rows.get(machine, [])
        return sum(int(row["count"]) for row in rows if self._is_of(row, service))

    def _unnamed(self, machine: str) -> dict[str, int]:
        """Sessions from a machine that are of no service told apart, by role; none where a service there moves."""
        services = self._services.get(machine, [])
        if any(service.moves for service in services):
            return {}
        counts: dict[str, int] = {}
        for row in self._rows.get(machine, []):
            if not any(self._is_of(row, service) for service in services):
                counts[str(row["role"])] = counts.get(str(row["role"]), 0) + int(row["count"])
        if machine not in self._poolers:
            return counts
        left = self._not_pooled(machine, sum(counts.values()))
        return {", ".join(sorted(counts)): left} if left else {}

    # What stays

    def _of_service(self, service: Service) -> Iterator[Stay]:
        seen = self._seen_of(service)
        if service.connections is None or seen > service.connections:
            declared = "" if service.connections is None else f"; {service.connections} declared"
            if seen:
                yield Stay(service.name, seen, f"seen now{declared}")
        elif self._is_here(service):
            yield Stay(service.name, service.connections, "declared")

    def _is_here(self, service: Service) -> bool:
        """Whether it may use this server: it is the only one, or sessions are seen that may be the service's."""
        machine = self._machine_of(service)
        unnamed = machine is not None and bool(self._unnamed(machine))
        return len(self.fleet.servers) == 1 or bool(self._seen_of(service)) or unnamed

    def _beside(self, machine: str) -> Iterator[Stay]:
        """What comes from the server's own machine, or one whose services stay, beside those services."""
        services, unnamed = self._services.get(machine, []), self._unnamed(machine)
        if services:
            declared = sum(one.connections or 0 for one in services if not self._seen_of(one))
            if (more := sum(unnamed.values()) - declared) > 0:
                yield Stay(f"others on {services[0].host}", more, "seen now", sure=False)
        elif machine == _HERE:
            for role, count in sorted(unnamed.items()):
                yield Stay(f"{role} on {self.name} itself", count, "seen now", sure=machine not in self._poolers)

    @cached_property
    def _strangers(self) -> dict[str, dict[str, int]]:
        """By address of no declared service the sessions by role."""
        others = {machine: self._unnamed(machine) for machine in self._rows if machine not in self._services}
        return {machine: found for machine, found in sorted(others.items()) if machine != _HERE and found}

    def _strangers_by_role(self) -> Iterator[Stay]:
        for role in sorted({role for found in self._strangers.values() for role in found}):
            counts = {machine: found[role] for machine, found in self._strangers.items() if role in found}
            where = next(iter(counts)) if len(counts) == 1 else f"{len(counts)} addresses"
            yield Stay(role, sum(counts.values()), f"seen now, from {where}", sure=False)

    # What there is to say

    def _note_on_strangers(self) -> Iterator[str]:
        who = [f"{role} from {machine}: {n}" for machine, found in self._strangers.items() for role, n in found.items()]
        if not who:
            return
        listed = "; ".join(who[:8]) + (f"; and {len(who) - 8} more" if len(who) > 8 else "")
        if self._unplaced:
            yield (
                f"Sessions from other addresses, seen now and not counted: {listed}. They may be those of "
                f"{', '.join(self._unplaced)}: the inventory does not tell which addresses these connect from "
                '("address": "192.0.2.31" of a host does). What of them stays direct leaves that much less for the '
                "poolers."
            )
        else:
            yield (
                f"Sessions from addresses of no declared service, counted while they are seen: {listed}. Declare in "
                '`services` what is to move; where it is declared, its host needs this as its "address".'
            )

    def _notes_on_services(self) -> Iterator[str]:
        undeclared = [service for service in self._direct if service.connections is None]
        for seen, how in ((False, "is not counted"), (True, "counts as it is seen now")):
            if names := [service.name for service in undeclared if bool(self._seen_of(service)) is seen]:
                yield (
                    f"{', '.join(names)} stays direct and {how}: say how many connections it opens at most "
                    '("connections": 2).'
                )
        elsewhere = [one for one in self._direct if one.connections is not None and not self._is_here(one)]
        if elsewhere:
            counts = ", ".join(f"{service.name} ({service.connections})" for service in elsewhere)
            yield f"Stays direct, but none of its sessions is seen on {self.name}, so it is not counted here: {counts}."
