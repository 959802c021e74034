"""Ctrl-C in the middle of a run: pyinfra exits 0 and skips what is left, `poolward run` says so and exits 1."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lab.topology import REPOSITORY
from tests.lab.support import INVENTORY, deployed

pytestmark = pytest.mark.usefixtures("lab")


def interrupted(program: str, *arguments: str) -> tuple[int, str]:
    """Start a run in a process group of its own and press Ctrl-C once it executes."""
    command = [str(Path(sys.executable).with_name(program)), *arguments]
    child = subprocess.Popen(
        command,
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert child.stdout
    said = ""
    for line in child.stdout:
        said += line
        if "Starting operation" in line:
            os.killpg(child.pid, signal.SIGINT)
            break
    rest, _ = child.communicate(timeout=180)
    return child.returncode, said + rest


def test_plain_pyinfra_calls_it_a_success() -> None:
    code, said = interrupted("pyinfra", "-y", INVENTORY, "deploy/pgbouncer.py")
    assert code == 0
    assert "Grand total" not in said


def test_poolward_run_calls_it_an_error_and_the_next_run_is_whole() -> None:
    code, said = interrupted("poolward", "run", "pgbouncer", INVENTORY)
    assert code == 1
    assert "Interrupted: the remaining operations did not run." in said
    deployed()
    assert deployed().totals["success"] == 0
