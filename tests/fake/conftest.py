"""A deploy by the real pyinfra command on hosts that only pretend, and what each of them was told to do, in order."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
READS_ONLY = {"observe_pooler", "observe_server", "read_secret_file", "read_verifiers", "login", "secrets", "read_hba"}


@dataclass(frozen=True)
class Run:
    returncode: int
    stdout: str
    stderr: str
    log: list[tuple[str, str]]
    """Host and script, in the order in which they were run on all hosts together."""

    @property
    def changes(self) -> list[tuple[str, str]]:
        return [(host, script) for host, script in self.log if script not in READS_ONLY]

    @property
    def operations(self) -> list[str]:
        """The names of the operations, in the order in which pyinfra began them."""
        return re.findall(r"^--> Starting operation: (.*?) *$", self.stderr, re.MULTILINE)

    @property
    def changed(self) -> int:
        """Operations that pyinfra itself counts as a change."""
        return int(json.loads(self.stdout)["results"]["totals"]["success"])


@pytest.fixture(scope="session")
def deploy(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Run]:
    """Deploy; `faults` by host and script, `deployed`: the hosts are as after an earlier deploy."""

    def run(
        *options: str,
        deployed: bool = False,
        faults: Mapping[str, Mapping[str, str]] | None = None,
        script: str = "deploy/pgbouncer.py",
    ) -> Run:
        log = tmp_path_factory.mktemp("fake") / "log"
        log.touch()
        how = {"log": str(log), "deployed": deployed, "faults": faults or {}}
        command = [str(Path(sys.executable).with_name("pyinfra")), "-y", *options]
        done = subprocess.run(
            [*command, "tests/fake/inventories/lab.py", script],
            cwd=ROOT,
            env={**os.environ, "POOLWARD_FAKE": json.dumps(how)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        ran = [(host, script) for host, script in (line.split() for line in log.read_text().splitlines())]
        return Run(done.returncode, done.stdout, done.stderr, ran)

    return run


@pytest.fixture(scope="session")
def first(deploy: Callable[..., Run]) -> Run:
    """A first deploy on which nothing fails."""
    run = deploy("--json")
    assert run.returncode == 0, run.stderr
    return run
