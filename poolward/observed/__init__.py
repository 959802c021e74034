"""What is true now: frozen records parsed from what a host printed. Unknown is never empty: it is None or an error."""

from poolward.observed._answer import Unreadable, sections
from poolward.observed.pooler import ConfigValue, Console, File, PoolerState
from poolward.observed.server import DatabaseState, Function, HbaRule, Role, ServerState

__all__ = [
    "ConfigValue",
    "Console",
    "DatabaseState",
    "File",
    "Function",
    "HbaRule",
    "PoolerState",
    "Role",
    "ServerState",
    "Unreadable",
    "sections",
]
