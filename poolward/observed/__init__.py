"""What is true now: frozen records parsed from what a host printed. Unknown is never empty: it is None or an error."""

from poolward.observed._answer import Unreadable, sections, unindented
from poolward.observed.application import ApplicationState, Process, ServiceState
from poolward.observed.composed import SettingsFile
from poolward.observed.pooler import ConfigValue, Console, File, PoolerState, Route
from poolward.observed.server import DatabaseState, Function, HbaRule, Inside, Role, ServerState
from poolward.observed.sessions import Backend, PooledClient, PooledServer, Sessions, Traffic
from poolward.observed.sockets import Endpoint, Socket
from poolward.observed.traces import Dependency, PoolerTraces, ServerTraces

__all__ = [
    "ApplicationState",
    "Backend",
    "ConfigValue",
    "Console",
    "DatabaseState",
    "Dependency",
    "Endpoint",
    "File",
    "Function",
    "HbaRule",
    "Inside",
    "PooledClient",
    "PooledServer",
    "PoolerState",
    "PoolerTraces",
    "Process",
    "Role",
    "Route",
    "ServerState",
    "ServerTraces",
    "ServiceState",
    "Sessions",
    "SettingsFile",
    "Socket",
    "Traffic",
    "Unreadable",
    "sections",
    "unindented",
]
