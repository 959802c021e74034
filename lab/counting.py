"""What the sample services and the server say of themselves over time: transactions, failures, connections."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from lab import hosts
from lab.docker import shell
from lab.topology import SERVICES, Lab

Numbers = dict[str, Any]
# Told by the processes' titles: at the peak nobody gets a connection to ask the server by, not even a superuser.
_BACKENDS = r"ps -eo args | grep -cE '^postgres: .*([0-9]\)|\[local\]) ' || :"


@dataclass
class Counted:
    """What was counted in a while; a restarted service counts anew from zero, which is noticed."""

    succeeded: Counter[str] = field(default_factory=Counter)
    """Transactions by service."""
    failed: dict[str, Counter[str]] = field(default_factory=dict)
    """Failed transactions by service and SQLSTATE."""
    refused: Counter[str] = field(default_factory=Counter)
    """Connections that were refused, by SQLSTATE."""
    most_backends: int = 0
    wanted: int = 0
    """The most connections the services had open themselves, through a pooler or not."""

    @property
    def failures(self) -> Counter[str]:
        """Failed transactions by SQLSTATE."""
        return sum(self.failed.values(), Counter[str]())


@contextmanager
def counting(lab: Lab, interval: float = 0.7) -> Iterator[Counted]:
    """Count in the background until the block ends, and once more then."""
    counted, before, done = Counted(), _numbers(lab), threading.Event()

    def once() -> None:
        nonlocal before
        now = _numbers(lab)
        for name, numbers in now.items():
            _add(counted, name, before.get(name, {}), numbers)
        counted.wanted = max(counted.wanted, sum(numbers["connections"] for numbers in now.values()))
        counted.most_backends = max(counted.most_backends, backends(lab))
        before = {**before, **now}

    def run() -> None:
        while not done.wait(interval):
            once()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield counted
    finally:
        done.set()
        thread.join()
        once()


def backends(lab: Lab) -> int:
    """Client backends on db1, asked on the host itself."""
    answer = shell(lab.container("db1"), _BACKENDS)
    return int(answer.strip())


def _numbers(lab: Lab) -> dict[str, Numbers]:
    """Every service's own numbers; one that does not answer, because it is being restarted, is left out."""
    answers: dict[str, str] = {}
    for name in sorted({service.host for service in SERVICES}):
        answers |= hosts.health(lab, [service for service in SERVICES if service.host == name])
    return {name: json.loads(answer) for name, answer in answers.items() if answer}


def _add(counted: Counted, name: str, before: Numbers, now: Numbers) -> None:
    restarted = now["succeeded"] < before.get("succeeded", 0)
    old = {} if restarted else before
    counted.succeeded[name] += now["succeeded"] - old.get("succeeded", 0)
    counted.failed.setdefault(name, Counter()).update(_more(old.get("failed", {}), now["failed"]))
    counted.refused.update(_more(old.get("connect_failed", {}), now["connect_failed"]))


def _more(before: dict[str, int], now: dict[str, int]) -> Counter[str]:
    return Counter({code: count - before.get(code, 0) for code, count in now.items() if count > before.get(code, 0)})
