"""A restart that returns before the former processes are gone."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from poolward import move, soaking
from poolward.observed import Process, ServiceState
from poolward.observed.composed import SettingsFile

SETTINGS = SettingsFile("root", "root", "640", 10.0, b"")


def looks(*started: float | None) -> tuple[Any, list[float | None]]:
    """A move that sees the oldest process of its service started then, look after look."""
    left = list(started)

    def look() -> Any:
        at = left.pop(0) if len(left) > 1 else left[0]
        process = Process("it runs as 7", running=at is not None, started=at, incarnation=at)
        return SimpleNamespace(state=ServiceState("/e", process, SETTINGS, None, None, ""))

    run = SimpleNamespace(lease=SimpleNamespace(renew=lambda: None))
    return SimpleNamespace(witness=SimpleNamespace(look=look), run=run), left


@pytest.mark.parametrize(("settle", "seen"), [(5.0, 20.0), (0.0, 5.0)])
def test_former_processes_have_time_to_end(monkeypatch: pytest.MonkeyPatch, settle: float, seen: float) -> None:
    monkeypatch.setattr(soaking, "INTERVAL", 0.01)
    monkeypatch.setattr(move, "SETTLE_SECONDS", settle)
    moving, _ = looks(5.0, 5.0, 5.0, 20.0)
    assert move.after_restart(moving).state.process.started == seen


def test_what_does_not_run_is_not_waited_for() -> None:
    moving, left = looks(None, 20.0)
    assert move.after_restart(moving).state.process.started is None
    assert left == [20.0]
