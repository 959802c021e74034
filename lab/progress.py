"""Lines that say what the lab is doing; work runs in parallel, so each line stands alone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

console = Console(highlight=False, soft_wrap=True)


def say(text: str) -> None:
    console.print(text, markup=False)


@contextmanager
def step(text: str) -> Iterator[None]:
    """Announce a piece of work and, when it succeeded, how long it took."""
    started = time.monotonic()
    console.print(f"  … {text}", style="dim", markup=False)
    yield
    console.print(f"  [green]✓[/] {text}  [dim]{time.monotonic() - started:.1f} s[/]")
