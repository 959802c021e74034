"""The report of cutovers and rollbacks, from their journals: a page for the change ticket, and a summary to read now.

Not `poolward/report.py`, which tells what is true on the hosts at this moment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from poolward import cutover_page, cutover_tables, journal, pages
from poolward.errors import PoolwardError
from poolward.history import summary
from poolward.history.summary import Summary


@dataclass(frozen=True)
class Report:
    """What the journals come to, and where the page of it is."""

    summary: Summary
    page: Path
    unseen = ()
    """It looks at no host."""

    @property
    def differs(self) -> bool:
        """Whether something is left to do."""
        return not self.summary.history.clean

    def show(self, console: Console) -> None:
        """Print it for a person."""
        console.print(cutover_tables.summary(self.summary))
        console.print(f"\nThe page for the change ticket: {self.page}", soft_wrap=True)

    def document(self) -> dict[str, Any]:
        """The same for a machine."""
        return {"page": str(self.page), **self.summary.document()}


def make(journals: Sequence[Path], output: Path | None = None) -> Report:
    """Write the page beside the last journal, or to `output`; raises PoolwardError where that cannot be."""
    page = output or journals[-1].with_suffix(".html")
    if page.resolve() in {path.resolve() for path in journals}:
        raise PoolwardError(f"{page} is a journal: the page would replace it.", "Name another page with --output.")
    found = summary.of(
        [_read(path) for path in journals],
        {path.name: count for path in journals if (count := journal.unreadable(path))},
    )
    pages.write(page, cutover_page.html(found, [path.name for path in journals]), "--output")
    return Report(found, page)


def _read(path: Path) -> list[dict[str, object]]:
    try:
        return journal.read(path)
    except OSError as error:
        raise PoolwardError(f"The journal {path} cannot be read: {error.strerror}.") from error
