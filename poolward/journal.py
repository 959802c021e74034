"""What a run did, step by step, as append-only lines of JSON: here and on the hosts. No secret is ever in it."""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Iterator, Mapping
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
            handle = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
            with os.fdopen(handle, "a", encoding="utf-8") as file:
                file.write(f"{_end_of_torn_line(handle)}{line}\n")
            self._begun = True
        except OSError as error:
            self.broken = f"The journal {self.path} could not be written: {error.strerror}."
            if not self._begun:
                raise PoolwardError(self.broken, "Make room, or start from a folder you may write to.") from error
        return line


def _end_of_torn_line(handle: int) -> str:
    """What has to come before the next line: a full disk may have left half of one."""
    size = os.fstat(handle).st_size
    return "" if size == 0 or os.pread(handle, 1, size - 1) == b"\n" else "\n"


def read(path: Path) -> list[dict[str, object]]:
    """The events of a journal, without the lines that cannot be read."""
    return [event for event in _lines(path) if event is not None]


def unreadable(path: Path) -> int:
    """How many lines of a journal cannot be read, as where one was cut off in the middle."""
    return sum(event is None for event in _lines(path))


def _lines(path: Path) -> Iterator[dict[str, object] | None]:
    # As bytes: a line may be cut off within a letter, and text may hold characters that Python takes for line breaks.
    for line in path.read_bytes().split(b"\n"):
        if line.strip():
            try:
                event = json.loads(line)
            except ValueError:
                event = None
            yield event if isinstance(event, dict) else None
