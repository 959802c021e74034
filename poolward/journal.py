"""What a run did, step by step, as append-only lines of JSON: here and on the hosts. No secret is ever in it."""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from poolward.errors import PoolwardError

FOLDER = Path("journal")


@dataclass
class Journal:
    """The journal of one run, on the operator's side; `event` makes the lines for the hosts as well."""

    what: str
    """`cutover` or `rollback`."""
    inventory: str
    folder: Path = FOLDER
    run: str = field(default_factory=lambda: uuid.uuid4().hex)
    path: Path = field(init=False)
    broken: str = field(default="", init=False)
    """Why it could not be continued."""
    _begun: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        started = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
        self.path = self.folder / f"{started}-{self.what}-{self.run[:6]}.jsonl"

    @property
    def report(self) -> Path:
        """Where the report of this run is written."""
        return self.path.with_suffix(".html")

    def write(self, step: str, service: str = "", **facts: object) -> str:
        """Append one event and return its line, so that a host can keep the same.

        Raises PoolwardError where the first one cannot be written; one that breaks off later stops no move and no way
        back, and is told at the end.
        """
        event: Mapping[str, object] = {
            "at": round(time.time(), 3),
            "run": self.run,
            "what": self.what,
            "inventory": self.inventory,
            **({"service": service} if service else {}),
            "step": step,
            **facts,
        }
        line = json.dumps(event, ensure_ascii=False, default=str)
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            with os.fdopen(handle, "a", encoding="utf-8") as file:
                file.write(f"{line}\n")
            self._begun = True
        except OSError as error:
            self.broken = f"The journal {self.path} could not be written: {error.strerror}."
            if not self._begun:
                raise PoolwardError(self.broken, "Make room, or start from a folder you may write to.") from error
        return line


def read(path: Path) -> list[dict[str, object]]:
    """The events of a journal; a last line that was cut off in the middle is left out."""
    events: list[dict[str, object]] = []
    # As bytes: a line may be cut off within a letter, and text may hold characters that Python takes for line breaks.
    for line in path.read_bytes().splitlines():
        try:
            events.append(json.loads(line))
        except ValueError:
            break
    return events
