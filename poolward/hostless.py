"""Database hosts that nobody can log in to: pyinfra has them in its inventory, and nothing is ever run on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from pyinfra.api import Host, State
from pyinfra.connectors.base import BaseConnector
from pyinfra.connectors.util import CommandOutput, OutputLine

_WHY = "it is known by a connection string alone (postgresql_dsn), and nothing runs on its host"
_OTHER_PARTS = frozenset({"poolers", "apps"})


class ByConnectionString(BaseConnector):
    """Connects to nothing. Whatever is asked of such a host fails with the reason."""

    handles_execution = True

    @staticmethod
    def make_names_data(name: str) -> Iterator[tuple[str, dict[str, Any], list[str]]]:
        """No inventory names it: `initialised` gives it to the hosts that need it."""
        raise NotImplementedError(name)

    def run_shell_command(self, *_arguments: Any, **_options: Any) -> tuple[bool, CommandOutput]:
        return False, CommandOutput([OutputLine("stderr", _WHY)])

    def put_file(self, *_arguments: Any, **_options: Any) -> bool:
        return False

    def get_file(self, *_arguments: Any, **_options: Any) -> bool:
        return False


def initialised(state: State) -> Callable[..., None]:
    """pyinfra's own initialisation of a run, after which it connects to no host that is not there."""
    init = state.init

    def and_then(*arguments: Any, **options: Any) -> None:
        init(*arguments, **options)
        for host in state.inventory:
            if _is_hostless(host):
                host.connector = ByConnectionString(state, host)

    return and_then


def _is_hostless(host: Host) -> bool:
    """A host that is a pooler or runs services as well is connected to for that."""
    return host.data.get("postgresql_dsn") is not None and not _OTHER_PARTS & set(host.groups)
