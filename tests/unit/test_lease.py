"""Whose lease may be taken over at once: that of a process of this machine that has ended."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lab.wait import until
from poolward import lease


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="this system tells no process's start")
def test_a_process_has_ended_once_it_was_killed_even_before_its_parent_asks() -> None:
    # It waits to be killed.
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        assert lease._started(process.pid) != ""
        process.kill()
        until("it has ended", lambda: lease._started(process.pid) == "", timeout=10)
        assert Path(f"/proc/{process.pid}").exists()
    assert lease._started(process.pid) == ""
