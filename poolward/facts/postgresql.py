"""The state of one PostgreSQL server, gathered in one remote command and read-only by the server's own word."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pyinfra.api import FactBase
from pyinfra.api.exceptions import FactProcessError

from poolward import fleet, shell
from poolward.errors import PoolwardError
from poolward.facts._plain import plain
from poolward.fleet import AUTH_ROLE
from poolward.observed import ServerState


class Server(FactBase[dict[str, Any] | None]):
    """Limits, roles, rules, backends and, per database, the lookup function; None when it could not be read.

    To look around: `pyinfra INVENTORY fact poolward.facts.postgresql.Server --json`. Operations read through `observe`.
    """

    def command(self, databases: Sequence[str] = (), port: int = 5432, auth_role: str = AUTH_ROLE) -> str:
        return shell.observe_server(fleet.Server("", "", port, auth_role=auth_role), databases).text

    def process(self, output: list[str]) -> dict[str, Any] | None:
        try:
            record: dict[str, Any] = plain(ServerState.parse(output))
            return record
        except PoolwardError as error:
            raise FactProcessError(str(error)) from error
