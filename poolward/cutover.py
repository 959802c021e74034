"""A cutover as a whole: its moves one after another, under one lease, with one journal."""

from __future__ import annotations

import contextlib
import getpass
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from poolward import closing, cutover_report, direct_path, move, watch, witness
from poolward.budget_moves import AfterMove
from poolward.errors import PoolwardError
from poolward.evidence import Seen
from poolward.moves import Goal
from poolward.moving import Move, Run


@dataclass
class Cutover:
    """One run: its moves in order, and why the other services are left alone."""

    run: Run
    goal: Goal
    moves: tuple[Move, ...]
    skipped: Mapping[str, str]
    """By service why there is nothing to do for it."""
    later: tuple[str, ...] = ()
    """What `pause_after` leaves for the next run."""
    bills: tuple[AfterMove, ...] = ()
    not_scanned: tuple[str, ...] = ()
    """The servers nobody could scan for what a transaction pool does not give."""
    brought: tuple[str, ...] = ()
    """What the moves bring beside the address, where that bars nothing: new containers, a start."""
    _begun: bool = field(default=False, init=False)
    _moved: list[str] = field(default_factory=list, init=False)
    _not_proved: list[str] = field(default_factory=list, init=False)
    """Services that live now and then, switched and not seen at work."""

    def announcement(self) -> Iterable[str]:
        """What will happen, before it does."""
        for number, planned in enumerate(self.moves, 1):
            origin, end = planned.ends
            yield f"{number} of {len(self.moves)}  {planned.service.name} on {planned.service.host}: {origin} → {end}"
        yield from map(str, self.bills)
        if self.not_scanned:
            yield (
                f"not scanned: {', '.join(self.not_scanned)}, by a connection string: what a service keeps in its "
                "session (temporary tables, advisory locks, LISTEN, SET) is not known"
            )
        yield from self.brought
        for name, reason in self.skipped.items():
            yield f"left alone: {name}, {reason}"
        if self.later:
            yield f"for the next run: {', '.join(self.later)}"

    def carry_out(self, planned: Move) -> None:
        """Move one service; the first move takes the lease, the last one or a failure gives it back."""
        try:
            self._begin()
            number = self.moves.index(planned) + 1
            self.run.say(f"{number} of {len(self.moves)}  {planned.service.name} on {planned.service.host}")
            proved = move.carry_out(planned)
        except Exception:
            self._end(ok=False)
            raise
        (self._moved if proved else self._not_proved).append(planned.service.name)
        if len(self._moved) + len(self._not_proved) == len(self.moves):
            self._end(ok=True)

    def _begin(self) -> None:
        if self._begun:
            return
        if took_over := self.run.lease.take():
            self.run.say(took_over)
        self._begun = True
        run = self.run
        run.journal.write(
            "started",
            order=[planned.service.name for planned in self.moves],
            left_direct=self._left_direct(),
            skipped=dict(self.skipped),
            bills=[str(bill) for bill in self.bills],
            took_over=took_over,
            user=getpass.getuser(),
        )
        self._look_at_rest()
        if self.goal == "direct":
            self._open_the_way_back()

    def _open_the_way_back(self) -> None:
        """What deploy/close.py closed for these services."""
        closed = direct_path.openable(self.run, (), {}, [planned.service.name for planned in self.moves])
        for server in closed.changed:
            closed.apply(server)

    def _end(self, *, ok: bool) -> None:
        """The run's end in the journal, its report, and the lease given back; what fails here hides no other error."""
        if not self._begun:
            return
        names = [planned.service.name for planned in self.moves]
        left = [name for name in names if name not in (*self._moved, *self._not_proved)] + list(self.later)
        ratios: dict[str, float] = {}
        with self._said():
            seen = self._look_at_rest()
            ratios = closing.multiplexing(seen)
            if ok and self.goal == "pooled":
                self._tell(ratios)
        self.run.journal.write(
            "ended",
            moved=list(self._moved),
            not_proved=list(self._not_proved),
            left=left,
            direct=self._left_direct(),
            clients_per_server=ratios,
            ok=ok,
        )
        if self._not_proved and self.goal == "pooled":
            self.run.say(
                f"NOT PROVED: {', '.join(self._not_proved)}. Only sessions that are seen prove a move: run each of "
                "them, and while it has sessions, deploy/cutover.py again; poolward services shows whether it has any."
            )
        with self._said():
            self.run.lease.release()
        if self.run.journal.broken:
            self.run.say(self.run.journal.broken)
        with self._said():
            report = cutover_report.make([self.run.journal.path], self.run.journal.report)
            self.run.say(f"the report: {report.page}")

    def _tell(self, ratios: Mapping[str, float]) -> None:
        for pooler, ratio in ratios.items():
            self.run.say(f"{pooler}: {ratio:g} clients per server connection")
        if not self.later:
            self.run.say("Nobody needs the direct path of what has moved? deploy/close.py looks, and closes it.")

    def _look_at_rest(self) -> Seen:
        """What is true before and after the moves, for the report."""
        look = watch.look(
            self.run.state,
            self.run.fleet,
            witness.asked(self.run.fleet.services, errors=True),
            without_poolers=self.goal == "direct",
        )
        for server in self.run.fleet.servers:
            self.run.journal.write("look", "", **witness.counts(self.run.fleet, look, server))
        return look.seen

    @contextlib.contextmanager
    def _said(self) -> Iterator[None]:
        try:
            yield
        except PoolwardError as error:
            self.run.say(str(error))

    def _left_direct(self) -> dict[str, str]:
        return {declared.name: declared.direct for declared in self.run.fleet.services if not declared.moves}
