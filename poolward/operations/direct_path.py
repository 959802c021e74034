"""What closing and opening a direct path does to a server."""

from __future__ import annotations

from collections.abc import Generator
from functools import partial

from poolward.direct_path import DirectPaths
from poolward.operations._step import Change, step


@step
def changed(plan: DirectPaths, server: str) -> Generator[Change, None, None]:
    """pg_hba.conf lets in, or turns away, as planned; proved by logins, or as it was."""
    yield partial(plan.carry_out, server)
