"""The state of one pooler host, gathered in one remote command."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pyinfra.api import FactBase
from pyinfra.api.exceptions import FactProcessError

from poolward import shell
from poolward.errors import PoolwardError
from poolward.facts._plain import plain
from poolward.observed import PoolerState
from poolward.runtime import Package


class Pooler(FactBase[dict[str, Any] | None]):
    """Package, unit, files and what PgBouncer says of itself; None when it could not be read.

    To look around: `pyinfra INVENTORY fact poolward.facts.pgbouncer.Pooler --json`. Operations read through `observe`.

    `server_addresses` are resolved on the host; `with_candidate` also asks apt for the newest version on offer.
    """

    def command(self, server_addresses: Sequence[str] = (), with_candidate: bool = False) -> str:
        return shell.script(
            "observe_pooler",
            "read the pooler's state",
            60,
            Package().place,
            server_addresses=list(server_addresses),
            with_candidate=with_candidate,
        ).text

    def process(self, output: list[str]) -> dict[str, Any] | None:
        try:
            record: dict[str, Any] = plain(PoolerState.parse(output))
            return record
        except PoolwardError as error:
            raise FactProcessError(str(error)) from error
