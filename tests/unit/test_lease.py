"""Whose lease may be taken over at once: that of a process of this machine that has ended."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import Mock

import pytest

from lab.wait import until
from poolward import lease, remote
from poolward.shell import Command

HERE = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="this system tells no process's start")


@pytest.fixture
def holder() -> Iterator[tuple[dict[str, object], subprocess.Popen[bytes]]]:
    """What a run of this machine would say of itself, and its process."""
    with subprocess.Popen(["sleep", "60"]) as process:
        told = {"machine": socket.gethostname(), "boot": lease._boot(), "processes": lease._processes()}
        yield {**told, "pid": process.pid, "started": lease._started(process.pid)}, process
        process.kill()


@HERE
def test_a_holder_is_gone_when_its_process_is_or_another_has_its_number(
    holder: tuple[dict[str, object], subprocess.Popen[bytes]],
) -> None:
    says, process = holder
    assert not lease._is_gone(json.dumps(says))
    assert lease._is_gone(json.dumps({**says, "started": "1"}))
    process.kill()
    process.wait()
    assert lease._is_gone(json.dumps(says))


@HERE
def test_a_holder_that_cannot_be_seen_is_not_gone(
    holder: tuple[dict[str, object], subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another user's, where /proc shows only one's own (hidepid); or one in another container of the same name."""
    says, process = holder
    process.kill()
    process.wait()
    assert not lease._is_gone(json.dumps({**says, "processes": "pid:[1]"}))

    def not_permitted(_pid: int, _signal: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", not_permitted)
    assert not lease._is_gone(json.dumps(says))


@HERE
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
