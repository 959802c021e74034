"""What is true now: frozen records parsed from what a host printed. Unknown is never empty: it is None or an error."""

from poolward.observed._answer import Unreadable, sections, unindented
from poolward.observed.application import ApplicationState, ServiceState, SettingsFile, Unit
from poolward.observed.pooler import ConfigValue, Console, File, PoolerState
from poolward.observed.server import DatabaseState, Function, HbaRule, Inside, Role, ServerState
from poolward.observed.sessions import Backend, Endpoint, PooledClient, PooledServer, Sessions, Socket, Traffic

__all__ = [
    "ApplicationState",
    "Backend",
    "ConfigValue",
    "Console",
    "DatabaseState",
    "Endpoint",
    "File",
    "Function",
    "HbaRule",
    "Inside",
    "PooledClient",
    "PooledServer",
    "PoolerState",
    "Role",
    "ServerState",
    "ServiceState",
    "Sessions",
    "SettingsFile",
    "Socket",
    "Traffic",
    "Unit",
    "Unreadable",
    "sections",
    "unindented",
]
