"""What `--data` of a cutover says: nothing that is given is read as if it had not been."""

from __future__ import annotations

import pytest

from poolward.deploys.itinerary import parsed
from poolward.errors import PoolwardError


def test_what_is_not_given_is_everything_and_the_services_own_soak() -> None:
    options = parsed(None, None, None)
    assert (options.only, options.pause_after, options.soak) == ((), None, None)


def test_what_is_given_counts() -> None:
    options = parsed("worker, cron,", 1, "0.5")
    assert (options.only, options.pause_after, options.soak) == (("worker", "cron"), 1, 0.5)
    assert parsed(None, None, 0).soak == 0


@pytest.mark.parametrize("empty", ["", ",", " , "])
def test_an_empty_list_of_services_does_not_mean_all_of_them(empty: str) -> None:
    with pytest.raises(PoolwardError, match="`only` names no service"):
        parsed(empty, None, None)


@pytest.mark.parametrize(("pause", "soak"), [(0, None), ("x", None), (None, -1), (None, "inf"), (None, "nan")])
def test_a_number_that_never_ends_a_run_or_is_none_is_refused(pause: object, soak: object) -> None:
    with pytest.raises(PoolwardError, match="pause_after and soak"):
        parsed(None, pause, soak)
