"""Where a page for people lands: written at once, for its owner alone, because it names hosts and roles."""

from __future__ import annotations

import os
from pathlib import Path

from poolward.errors import PoolwardError


def write(page: Path, text: str, option: str) -> None:
    """Replace the page; raises PoolwardError, which names the `option` to choose another place by."""
    unfinished = page.with_name(f".{page.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
        unfinished.replace(page)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise PoolwardError(
            f"{page} cannot be written: {error.strerror}.", f"Name another page with {option}."
        ) from error
