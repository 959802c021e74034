"""The terminal a person reads at: text in, text out.

No markup: a role, an application or a setting may be named [bold], and that is its name.
"""

from __future__ import annotations

from rich.console import Console
from rich.text import Text


def console(width: int | None = None, *, stderr: bool = False) -> Console:
    """The console everything is shown on; `width` in columns, None for the terminal's own."""
    return Console(width=width, stderr=stderr, markup=False, highlight=False)


def led(style: str, lead: str, text: str = "") -> Text:
    """A sentence with its first words in a style."""
    return Text.assemble((lead, style), text)
