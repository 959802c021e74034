"""Whose lease may be taken over at once: that of a process of this machine that has ended."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from unittest.mock import Mock

import pytest

from lab.wait import until
from poolward import lease, remote
from poolward.shell import Command


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="this system tells no process's start")
def test_a_process_has_ended_once_it_was_killed_even_where_its_parent_never_asks() -> None:
    # The parent becomes a program that knows of no child, so nobody ever asks how that one ended.
    parent = ["sh", "-c", "sleep 60 & echo $!; exec sleep 60"]
    with subprocess.Popen(parent, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        child = int(process.stdout.readline())
        try:
            until(
                "the parent knows of no child", lambda: Path(f"/proc/{process.pid}/comm").read_text() == "sleep\n", 10
            )
            assert lease._started(child) != ""
            os.kill(child, signal.SIGKILL)
            until("it has ended", lambda: lease._started(child) == "", timeout=10)
            assert Path(f"/proc/{child}").exists()
        finally:
            process.kill()
    assert lease._started(process.pid) == ""


def test_before_a_long_step_it_is_made_to_live_for_all_of_it_and_afterwards_no_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[int] = []

    def answer(_host: object, command: Command) -> str:
        asked.append(int(command.text.partition("seconds=")[2].split()[0]))
        return "free 0 -"

    monkeypatch.setattr(remote, "must", answer)
    held = lease.Lease(Mock(), "token", "test")
    held.take()
    held.renew()
    held.renew(during=310)
    held.renew(during=310)
    held.renew()
    held.renew()
    assert asked == [lease.SECONDS, lease.SECONDS + 310, lease.SECONDS]
