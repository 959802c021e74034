"""Sees what any user could see in the process list: every command line and environment, every 10 ms, on all lab hosts.

The hosts are containers, so their processes show up in this machine's /proc.

    with ProcessSampler() as sampler:
        deploy()
    assert not sampler.having(canary)
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from types import TracebackType

INTERVAL = 0.01
# A process may replace its program (exec) after it was first seen; young ones are read every time, old ones rarely.
YOUNG, REREAD = 2.0, 1.0


class ProcessSampler:
    """The sampling happens in a process of its own, so that the test does not slow it down."""

    def __init__(self) -> None:
        self.samples: frozenset[str] = frozenset()

    def __enter__(self) -> ProcessSampler:
        command = [sys.executable, __file__]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self._process.stdout.readline()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        output, _ = self._process.communicate()
        self.samples = frozenset(json.loads(output))

    def having(self, text: str) -> list[str]:
        """The command lines and environments this text was seen in."""
        return sorted(sample for sample in self.samples if text in sample)


def _sample_until_told() -> None:
    told = threading.Event()
    threading.Thread(target=_wait_for_end_of_input, args=(told,), daemon=True).start()
    samples: set[bytes] = set()
    first_seen: dict[str, float] = {}
    read_at: dict[str, float] = {}
    own = str(os.getpid())
    print("ready", flush=True)
    while not told.wait(INTERVAL):
        now = time.monotonic()
        pids = {name for name in os.listdir("/proc") if name.isdigit() and name != own}
        for gone in first_seen.keys() - pids:
            del first_seen[gone], read_at[gone]
        for pid in pids:
            age = now - first_seen.setdefault(pid, now)
            if age < YOUNG or now - read_at[pid] > REREAD:
                read_at[pid] = now
                samples |= {_read(f"/proc/{pid}/cmdline"), _read(f"/proc/{pid}/environ")}
    json.dump([sample.replace(b"\0", b" ").decode(errors="replace") for sample in samples], sys.stdout)


def _wait_for_end_of_input(told: threading.Event) -> None:
    sys.stdin.read()
    told.set()


def _read(path: str) -> bytes:
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read()
    except OSError:
        return b""


if __name__ == "__main__":
    _sample_until_told()
