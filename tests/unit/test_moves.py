"""A move killed anywhere, in any order, is finished or taken back by the next run; the proof over time."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolward.acceptance import Sample, Soak
from poolward.moves import Goal, Position, next_step


@dataclass(frozen=True)
class Host:
    """The host's side of a move, as the scripts change it; each change is one rename, so it happens or it does not."""

    settings: Goal = "direct"
    process: Goal = "direct"
    """What the running process was started with."""
    before: Goal | None = None
    unproved: bool = False
    fresh: bool = True
    """Whether the process was started after the settings were changed last."""

    @property
    def position(self) -> Position:
        return Position(self.settings, self.fresh, self.unproved)


def changes(host: Host, goal: Goal) -> list[Host]:
    """The host after each atomic change of the step that comes next."""
    step = next_step(host.position, goal)
    if step == "switch":
        kept = host if host.unproved or goal == "direct" else replace(host, before=host.settings)
        marked = replace(kept, unproved=True)
        return [kept, marked, replace(marked, settings=goal, fresh=False)]
    if step == "restart":
        return [replace(host, process=host.settings, fresh=True)]
    if step == "prove":
        assert host.process == host.settings == goal, "never prove what does not run"
        done = replace(host, unproved=False)
        return [done, replace(done, before=None)] if goal == "direct" else [done]
    return []


def run(host: Host, goal: Goal, killed_after: int | None) -> Host:
    """One run towards a goal, killed after so many changes."""
    made = 0
    while following := changes(host, goal):
        for host in following:
            made += 1
            if made == killed_after:
                return host
        assert made < 20, "a run ends"
    return host


@given(st.lists(st.tuples(st.sampled_from(["pooled", "direct"]), st.integers(1, 6)), max_size=8), st.booleans())
def test_whatever_was_interrupted_one_more_run_ends_it_wholly(kills: list[tuple[Goal, int]], pooled: bool) -> None:
    host = Host()
    for goal, killed_after in kills:
        host = run(host, goal, killed_after)
        assert host.before in (None, "direct"), "the way back is never what the move itself wrote"
        assert host.settings == "direct" or host.before == "direct", "no moved setting without a way back"
    goal: Goal = "pooled" if pooled else "direct"
    host = run(host, goal, None)
    assert (host.settings, host.process, host.unproved) == (goal, goal, False)
    assert next_step(host.position, goal) == "done"


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


def look(at: float, good: bool) -> Sample:
    return Sample(at, 0, 6, 0, 0.0, 31, 97, "200", () if good else ("its health URL answers 503",))


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


@given(st.text("gb", min_size=1, max_size=40), st.integers(1, 8))
def test_nothing_is_proved_before_its_time_or_on_a_bad_look(looks: str, seconds: int) -> None:
    results = outcome(Soak(seconds), looks)
    if "proved" in results:
        proved = results.index("proved")
        assert set(looks[proved - seconds : proved + 1]) == {"g"}
        assert proved >= seconds
