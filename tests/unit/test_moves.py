"""A move killed anywhere, in any order, is finished or taken back by the next run; the proof over time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolward.acceptance import Sample, Soak
from poolward.moves import Goal, Position, Settings, next_step

Fault = Literal["killed", "broken", "rebooted", "crashed"]
FAULTS: tuple[Fault, ...] = ("killed", "broken", "rebooted", "crashed")
"""The run ends there; it sees an error (the connection, the pooler, the server, the disk, the proof) and goes back; the
same because the host came up again, or because the service's process ended."""


@dataclass(frozen=True)
class Host:
    """The host's side of a move, as the scripts change it; each change is one rename, so it happens or it does not."""

    settings: Goal = "direct"
    process: Goal | None = "direct"
    """What the running process was started with; None where none runs."""
    before: Goal | None = None
    unproved: bool = False
    torn: bool = False
    """Whether a write of the settings broke off; a file is renamed, what takes them from a command may tear them."""
    fresh: bool = True
    """Whether the process was started after the settings were changed last."""

    @property
    def position(self) -> Position:
        says: Settings = "mixed" if self.torn else self.settings
        if self.unproved:
            return Position(says, self.fresh and not self.torn and self.process is not None, True)
        # Nothing was begun: sessions alone tell, of a process that is there.
        return Position(says, self.process in (None, self.settings), False)

    @property
    def original(self) -> bool:
        """Whether what the settings say now is the way back."""
        return not self.unproved or self.position.settings == "direct"

    @property
    def down(self) -> bool:
        """Whether it does not run, and no move of it is under way that a restart would belong to."""
        return self.process is None and not self.unproved

    def whole(self, goal: Goal) -> bool:
        return (self.settings, self.process, self.unproved, self.torn, self.fresh) == (goal, goal, False, False, True)

    def struck(self, fault: Fault) -> Host:
        if fault == "rebooted":
            return replace(self, process=None if self.torn else self.settings, fresh=True)
        return replace(self, process=None) if fault == "crashed" else self


def changes(host: Host, goal: Goal) -> list[Host]:
    """The host after each atomic change of the step that comes next; what is down is refused before its move."""
    if host.down and goal == "pooled":
        return []
    step = next_step(host.position, goal)
    if step == "switch":
        kept = replace(host, before=host.settings) if goal == "pooled" and host.original else host
        marked = replace(kept, unproved=True)
        return [kept, marked, replace(marked, torn=True), replace(marked, settings=goal, torn=False, fresh=False)]
    if step == "restart":
        return [replace(host, process=None), replace(host, process=host.settings, fresh=True)]
    if step == "prove":
        assert host.process == host.settings == goal, "never prove what does not run"
        done = replace(host, unproved=False)
        return [done, replace(done, before=None)] if goal == "direct" else [done]
    return []


def walk(host: Host, goal: Goal) -> Iterator[Host]:
    """The host after each change of a run towards a goal that nothing disturbs."""
    made = 0
    while following := changes(host, goal):
        for host in following:
            made += 1
            assert made < 20, "a run ends"
            yield host


def way_back(host: Host) -> Iterator[Host]:
    """The host after each change of taking a move back; a move that was not begun leaves nothing to do."""
    if not host.unproved:
        return
    if host.before is not None and (host.torn or host.before != host.settings):
        host = replace(host, torn=True)
        yield host
        host = replace(host, settings=host.before, torn=False, fresh=False)
        yield host
        host = replace(host, before=None)
        yield host
    yield from walk(host, "direct")


def ends(host: Host, goal: Goal, fault: Fault) -> Iterator[Host]:
    """Every state in which a run may end that this fault strikes anywhere, and that is killed anywhere on its way back.

    A way back to the server is not taken back itself.
    """
    for reached in [host, *walk(host, goal)]:
        struck = reached.struck(fault)
        yield struck
        if fault != "killed" and goal == "pooled":
            yield from way_back(struck)


def reachable() -> set[Host]:
    """Every state that any series of runs with one fault each can leave."""
    found, new = {Host()}, {Host()}
    while new:
        new = {end for host in new for goal in GOALS for fault in FAULTS for end in ends(host, goal, fault)} - found
        found |= new
    return found


GOALS: tuple[Goal, ...] = ("pooled", "direct")


def test_whatever_faults_struck_one_more_run_ends_it_wholly_at_either_end() -> None:
    states = reachable()
    assert len(states) > 15
    for host in states:
        assert host.before in (None, "direct"), "the way back is never what the move itself wrote"
        assert host.settings == "direct" or host.before == "direct", "no moved setting without a way back"
        for goal in GOALS:
            end = [host, *walk(host, goal)][-1]
            if host.down and (goal == "pooled" or host.settings == goal):
                assert end == host, "what was stopped, and is where it belongs or may not move, is not started"
                continue
            assert end.whole(goal), f"{host} to {goal} ends as {end}"
            assert next_step(end.position, goal) == "done"


def test_a_fault_that_the_run_outlives_ends_wholly_back_by_itself() -> None:
    """From every state, at every place: no further run is needed, unless nothing had been begun and nothing is."""
    for host in reachable():
        for reached in [host, *walk(host, "pooled")]:
            for fault in FAULTS[1:]:
                struck = reached.struck(fault)
                if struck.unproved:
                    assert [struck, *way_back(struck)][-1].whole("direct")
                else:
                    assert not list(way_back(struck)), "what is proved, or was not begun, is left alone"


def test_what_a_full_disk_kept_from_being_rewritten_is_not_restarted() -> None:
    for host in list(walk(Host(), "pooled"))[:2]:
        assert all(state.process == "direct" for state in way_back(host))


def test_a_move_takes_each_step_once_and_in_order() -> None:
    host, steps = Host(), []
    while (step := next_step(host.position, "pooled")) != "done":
        steps.append(step)
        host = changes(host, "pooled")[-1]
    assert steps == ["switch", "restart", "prove"]


def test_half_rewritten_settings_are_switched_as_a_whole() -> None:
    position = Position("mixed", restarted=True, unproved=True)
    assert next_step(position, "pooled") == next_step(position, "direct") == "switch"
    with pytest.raises(ValueError, match="neither"):
        next_step(Position("unknown", restarted=True, unproved=False), "pooled")


def look(at: float, good: bool, process: float = 1.0) -> Sample:
    return Sample(at, 0, 6, 0, 0.0, 31, 97, "200", () if good else ("its health URL answers 503",), process)


def outcome(soak: Soak, looks: str, every: float = 1.0) -> list[str]:
    """`g` and `b` for good and bad looks, one each `every` seconds, until it is decided."""
    results: list[str] = []
    for number, sign in enumerate(looks):
        results.append(soak.add(look(number * every, sign == "g")))
        if results[-1] != "going on":
            break
    return results


def test_the_soak_counts_from_the_first_good_look_and_needs_all_of_it() -> None:
    assert outcome(Soak(3), "bbgggg") == ["going on"] * 5 + ["proved"]


def test_a_short_miss_is_a_race_that_starts_the_soak_anew_and_a_longer_one_is_none() -> None:
    assert outcome(Soak(3), "ggbggg")[-1] == "going on"
    assert outcome(Soak(3), "ggbgggg")[-1] == "proved"
    assert outcome(Soak(9), "gbbb")[-1] == "going on"
    assert outcome(Soak(9), "gbbbb")[-1] == "failed"


def test_a_service_that_never_settles_or_flaps_fails_when_its_time_is_over() -> None:
    assert outcome(Soak(5, settle_seconds=4), "bbbbb") == ["going on"] * 4 + ["failed"]
    assert outcome(Soak(5, settle_seconds=4), "gb" * 20)[-1] == "failed"


def test_a_process_that_ended_in_the_soak_has_failed_and_one_that_ended_before_has_not() -> None:
    soak = Soak(3)
    assert [soak.add(look(0, False, 1)), soak.add(look(1, True, 2)), soak.add(look(2, True, 3))] == [
        "going on",
        "going on",
        "died",
    ]
    back = Soak(1, one_process=False)
    assert [back.add(look(0, True, 1)), back.add(look(1, True, 2))] == ["going on", "proved"]


def test_a_look_that_could_not_be_made_is_not_good_and_its_numbers_are_not_shown() -> None:
    unread = Sample.unread(1.0, ["server db1 could not be read: it is starting up"])
    soak = Soak(3)
    assert [soak.add(look(0, True)), soak.add(unread), soak.add(look(2, True)), soak.add(look(4, True))] == [
        "going on"
    ] * 4
    assert soak.add(look(5, True)) == "proved"
    assert str(unread) == "not seen"


@given(st.text("gb", min_size=1, max_size=40), st.integers(1, 8))
def test_nothing_is_proved_before_its_time_or_on_a_bad_look(looks: str, seconds: int) -> None:
    results = outcome(Soak(seconds), looks)
    if "proved" in results:
        proved = results.index("proved")
        assert set(looks[proved - seconds : proved + 1]) == {"g"}
        assert proved >= seconds
