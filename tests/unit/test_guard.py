"""Ctrl-C while `poolward run` waits for pyinfra: the two are of one process group, and both get it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

WAITS = """
import os
from poolward import guard
try:
    code = guard._wait(["sh", "-c", "trap 'exit 0' INT; echo started; read line"], dict(os.environ))
    print(f"ended with {code}")
except guard.PoolwardError as error:
    print(error.message)
"""


@pytest.mark.parametrize("_strike", range(5))
def test_ctrl_c_is_told_wherever_it_comes_and_the_child_is_waited_for(_strike: int) -> None:
    """The child tells that it runs while this side may still be about starting it."""
    with subprocess.Popen(
        [sys.executable, "-c", WAITS],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "started\n"
        os.killpg(process.pid, signal.SIGINT)
        said, _ = process.communicate(timeout=20)
    assert said == "Interrupted: the remaining operations did not run.\n"


def test_a_child_that_ends_by_itself_is_not_called_interrupted() -> None:
    done = subprocess.run([sys.executable, "-c", WAITS], input="\n", capture_output=True, text=True, check=True)
    assert done.stdout == "started\nended with 0\n"
