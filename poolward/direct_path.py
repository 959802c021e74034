"""Closing the direct path of what has moved, and opening it again: what is planned, then done, and then seen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal

from pyinfra.api import Host

from poolward import closing, evidence, inventory, moving, observe, remote, service, shell, trial, watch, witness
from poolward.closing import Path
from poolward.dsn import Connection
from poolward.errors import PoolwardError
from poolward.fleet import Fleet, Server
from poolward.moving import Move, Run
from poolward.observed import ServiceState, sections
from poolward.service import Address
from poolward.watch import Look

Action = Literal["close", "open"]
_DONE: dict[Action, str] = {"close": "closed", "open": "opened"}


@dataclass(frozen=True)
class Knock:
    """A login past the pooler, with a service's own credentials from its own host."""

    service: str
    host: Host
    server: str
    connection: Connection
    address: Address

    def tried(self) -> trial.Login:
        """Raises PoolwardError where it is turned away."""
        return trial.log_in(self.host, self.connection, self.address, prepare=False)

    @property
    def turned_away(self) -> bool:
        try:
            self.tried()
        except PoolwardError:
            return True
        return False


@dataclass
class DirectPaths:
    """What one run closes or opens."""

    run: Run
    action: Action
    changed: dict[str, list[Path]] = field(default_factory=dict)
    """By server."""
    knocks: dict[tuple[str, str, str], Knock] = field(default_factory=dict)
    """By path."""
    left: list[str] = field(default_factory=list)
    """What is not closed, and why."""

    def announcement(self) -> Iterable[str]:
        """What will happen, before it does."""
        for paths in self.changed.values():
            yield from (f"will be {_DONE[self.action]}: {path}" for path in paths)
        yield from (f"stays open: {reason}" for reason in self.left)
        if not self.changed:
            yield f"Nothing is to be {_DONE[self.action]}."

    def carry_out(self, name: str) -> None:
        """Change one server's pg_hba.conf under the lease, and see that it does what it says; raises PoolwardError."""
        if took_over := self.run.lease.take():
            self.run.say(took_over)
        try:
            self.apply(name)
        finally:
            self.run.lease.release()

    def apply(self, name: str) -> None:
        """The same for whoever holds the lease already. A path that does not close as it should is opened again."""
        server, host = self.run.fleet.servers[name], inventory.host(self.run.state, name)
        paths = self.changed[name]
        before = _closed(host, server)
        if self.action == "close":
            self._refuse_if_needed(paths)
            wanted = closing.together((*before, *paths))
        else:
            ways = {path.way for path in paths}
            wanted = [path for path in before if path.way not in ways]
        self.run.journal.write(self.action, paths=list(map(str, paths)))
        write(host, server, wanted)
        try:
            wrong = list(self._wrong(host, server))
        except PoolwardError as error:  # what could not be seen is not proved
            wrong = [error.message]
        if wrong and self.action == "close":
            raise _reopened(host, server, before, "; ".join(wrong))
        if wrong:
            hint = f"Poolward's lines are out of pg_hba.conf of {name}: look at the others, and at the server's log."
            raise PoolwardError(f"{'; '.join(wrong)}.", hint)
        self.run.journal.write(_DONE[self.action], paths=list(map(str, paths)))
        for path in paths:
            self.run.say(f"✓ {_DONE[self.action]}: {path}")

    def _refuse_if_needed(self, paths: Sequence[Path]) -> None:
        """Somebody may have come since the run was planned."""
        seen = watch.look(self.run.state, self.run.fleet, witness.asked(self.run.fleet.services)).seen
        if reasons := [f"{path}: {why}" for path in paths if (why := closing.needed(path, seen, {}))]:
            raise PoolwardError(f"{'; '.join(reasons)}.", "Nothing was changed. Run it again.")

    def _wrong(self, host: Host, server: Server) -> Iterable[str]:
        """By PostgreSQL's own reading of its rules, and by a login."""
        rules = observe.server(host, server, ()).hba
        for path in self.changed[server.name]:
            knock = self.knocks.get(path.way)
            if self.action == "open":
                if knock is not None and knock.turned_away:
                    yield f"{path} is still closed, though not by Poolward's lines"
            elif rules is None or knock is None or closing.still_open(rules, path, knock.address.database):
                yield f"{path} is still open by PostgreSQL's own reading of pg_hba.conf"
            elif not knock.turned_away:
                yield f"{path} is still open: {knock.service} can log in"


def closable(
    run: Run, moves: Sequence[Move], states: Mapping[str, ServiceState], pooled: Iterable[str], only: Iterable[str]
) -> DirectPaths:
    """What can be closed now for the services in `pooled`; each path is tried first, so that it is theirs."""
    names, chosen = set(pooled), set(only)
    by_service = {move.service.name: _knocks(move, states[move.service.name]) for move in moves}
    direct = {
        (knock.server, knock.connection.user, knock.host.name): name
        for name in by_service.keys() - names
        for knock in by_service[name]
    }
    look = watch.look(run.state, run.fleet, witness.asked(run.fleet.services))
    seen = look.seen
    plan = DirectPaths(run, "close")
    found: list[Path] = []
    contained = {move.service.name for move in moves if move.service.compose_service}
    for knock in (knock for name in sorted(names) for knock in by_service[name] if not chosen or name in chosen):
        if knock.service in contained:
            plan.left.append(f"the path of {knock.service}, whose container has another address each time it is made")
            continue
        try:
            address = knock.tried().seen_from
        except PoolwardError as error:
            plan.left.append(f"the path of {knock.service}, which is closed already or does not work: {error.message}")
            continue
        path = Path(knock.server, knock.connection.user, address, (knock.service,))
        if not address:
            plan.left.append(f"the path of {knock.service}, a Unix socket")
        elif knock.host.name in run.fleet.poolers:
            plan.left.append(f"{path}: the pooler on {knock.host.name} connects from there, too")
        elif reason := (
            closing.needed(path, seen, _of_host(direct, knock.host.name))
            or closing.needed_later(path, _staying(run.fleet, look, knock.host.name))
        ):
            plan.left.append(f"{path}: {reason}")
        elif not run.fleet.servers[knock.server].manage_hba:
            plan.left.append(f"{path}: pg_hba.conf is yours (pgbouncer_manage_hba). To close it: {path.line}")
        else:
            found.append(path)
            plan.knocks[path.way] = knock
    for path in closing.together(found):
        plan.changed.setdefault(path.server, []).append(path)
    return plan


def _of_host(direct: Mapping[tuple[str, str, str], str], host: str) -> dict[tuple[str, str], str]:
    return {(server, role): name for (server, role, where), name in direct.items() if where == host}


def _staying(fleet: Fleet, look: Look, host: str) -> dict[str, set[str]]:
    """The roles of the services on a host that are declared to stay direct, by their settings and their sessions."""
    found: dict[str, set[str]] = {}
    for declared in fleet.services:
        if declared.moves or declared.host != host:
            continue
        roles = found.setdefault(declared.name, set())
        if not declared.owner:
            continue
        census = evidence.census(look.seen, host, declared.owner)
        roles |= {session.backend.role for session in census.direct}
        with suppress(PoolwardError):  # it need not say where its settings are
            said = moving.variables(declared, look.applications[host].services[declared.name])
            roles |= {one.user for one in service.settings_of(declared, said).values()}
    return found


def openable(run: Run, moves: Sequence[Move], states: Mapping[str, ServiceState], only: Iterable[str]) -> DirectPaths:
    """What is closed for any of these services; `only` empty: for any at all."""
    names = set(only)
    plan = DirectPaths(run, "open")
    knocks = [knock for move in moves for knock in _knocks(move, states[move.service.name])]
    for name, server in run.fleet.servers.items():
        closed = () if server.dsn else _closed(inventory.host(run.state, name), server)
        if paths := [path for path in closed if not names or names & set(path.services)]:
            plan.changed[name] = paths
        for path in paths:
            fitting = (knock for knock in knocks if (knock.server, knock.connection.user) == (name, path.role))
            if knock := next((knock for knock in fitting if knock.service in path.services), None):
                plan.knocks[path.way] = knock
    return plan


def write(host: Host, server: Server, paths: Sequence[Path]) -> None:
    """Have our lines in pg_hba.conf close exactly these paths, and reload; raises CommandFailed."""
    command = shell.script("write_hba", "replace pg_hba.conf", 30, server.place)
    remote.must(host, command, stdin=closing.with_closed(_text(host, server), paths))


def _reopened(host: Host, server: Server, before: Sequence[Path], reason: str) -> PoolwardError:
    """Put the lines from before back; returns the error to raise, with both where that failed too."""
    try:
        write(host, server, before)
    except PoolwardError as second:
        by_hand = f'between "{closing.BEGIN}" and its END in pg_hba.conf of {server.name}, then SELECT pg_reload_conf()'
        return PoolwardError(
            f"{reason}. And opening it again failed: {second.message}",
            f"Run deploy/open.py as soon as the server answers; or take out the lines {by_hand}.",
        )
    return PoolwardError(f"{reason}.", f"pg_hba.conf of {server.name} is as it was.")


def _closed(host: Host, server: Server) -> tuple[Path, ...]:
    return closing.closed_in(_text(host, server), server.name)


def _text(host: Host, server: Server) -> str:
    read = shell.script("read_hba", "read pg_hba.conf", 20, server.place)
    lines = sections(remote.must(host, read).splitlines())["hba"]
    return "".join(f"{line.removeprefix('|')}\n" for line in lines)


def _knocks(move: Move, state: ServiceState) -> list[Knock]:
    now = service.settings_of(move.service, moving.variables(move.service, state))
    return [
        Knock(move.service.name, move.host, one.server, now[name], move.home[name])
        for name, one in move.targets.items()
    ]
