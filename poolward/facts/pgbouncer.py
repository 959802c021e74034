"""The state of one pooler host, gathered in one remote command."""

from __future__ import annotations

from collections.abc import Sequence

from pyinfra.api import FactBase
from pyinfra.api.exceptions import FactProcessError

from poolward import shell
from poolward.errors import PoolwardError
from poolward.observed import PoolerState


class Pooler(FactBase[PoolerState | None]):
    """Package, unit, files and what PgBouncer says of itself; None when it could not be read.

    `server_addresses` are resolved on the host; `with_candidate` also asks apt for the newest version on offer.
    """

    def command(self, server_addresses: Sequence[str] = (), with_candidate: bool = False) -> str:
        return shell.script(
            "observe_pooler",
            "read the pooler's state",
            60,
            server_addresses=list(server_addresses),
            with_candidate=with_candidate,
        ).text

    def process(self, output: list[str]) -> PoolerState | None:
        try:
            return PoolerState.parse(output)
        except PoolwardError as error:
            raise FactProcessError(str(error)) from error
