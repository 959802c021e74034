"""Journals to tell of: two runs of an invented fleet (tests/unit/journals/), and small ones made by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from poolward import journal
from poolward.history import summary
from poolward.history.summary import Summary

FOLDER = Path(__file__).parent / "journals"
STOPPED, ENDED = sorted(FOLDER.glob("*.jsonl"))
"""A cutover that took a service back and stopped, and the one that went on."""
START = 1772460000.0
"""2026-03-02 14:00:00 UTC."""


def events(*paths: Path) -> list[dict[str, Any]]:
    """The lines as they stand there."""
    return [json.loads(line) for path in paths or (STOPPED, ENDED) for line in path.read_text().splitlines()]


def told(*paths: Path) -> Summary:
    return summary.of([journal.read(path) for path in paths or (STOPPED, ENDED)])


def of(*made: dict[str, Any]) -> Summary:
    """The summary of events made by hand."""
    return summary.of([made])


def event(second: float, step: str, service: str = "", /, **facts: Any) -> dict[str, Any]:
    """One event, so many seconds after the start, of a cutover unless `what` says otherwise."""
    common = {"at": START + second, "run": "r1", "what": "cutover", "inventory": "inventories/shop.py"}
    return {**common, **({"service": service} if service else {}), "step": step, **facts}


def look(seconds: float, service: str = "", direct: int = 0, pooled: int = 0, **facts: Any) -> dict[str, Any]:
    """A look at a fleet of one service, `shop`."""
    numbers = {"by_service": {"shop": {"direct": direct, "pooled": pooled}}, "by_pooler": {"pool1": min(pooled, 2)}}
    mine = {"direct": direct, "pooled": pooled} if service else {}
    return event(seconds, "look", service, limit=97, others=1, **mine, **{**numbers, **facts})


def moved(seconds: float = 0.0, service: str = "shop", **facts: Any) -> list[dict[str, Any]]:
    """The events of a move that ends well."""
    return [
        event(seconds, "begun", service, host="app1", pooler="pool1", entry="shop", direct=8, pooled=0, **facts),
        event(seconds + 1, "switched", service, path="/etc/shop/env", variables=["DATABASE_URL"], **facts),
        event(seconds + 2, "restarted", service, seconds=0.9, **facts),
        event(seconds + 70, "proved", service, seconds=70.0, soak=60, direct=0, pooled=8, **facts),
    ]
