"""A declared service, what its settings say, and what they say once it has moved. Pure.

The fields are the operator's words in `services` (group_data); `declared_services` reads and checks them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Literal, NamedTuple

from pydantic import SecretStr

from poolward import dsn
from poolward.dsn import Connection
from poolward.dsn_sockets import is_socket
from poolward.errors import PoolwardError, Problem, Refused
from poolward.observed.sockets import run_by_commands

SOAK_SECONDS = 60.0
HEALTH_TIMEOUT_SECONDS = 5.0
MAX_WAIT_SECONDS = 5.0
RUN_TIMEOUT_SECONDS = 300
# libpq's own names; a service that uses PGHOST reads the others as well.
LIBPQ_PARTS = {"host": "PGHOST", "port": "PGPORT", "database": "PGDATABASE", "user": "PGUSER", "password": "PGPASSWORD"}
# What libpq and most other drivers take from the environment where a text is silent, under libpq's names; the last
# three it sends as settings. Source of fact: PQconninfoOptions and EnvironmentOptions in its fe-connect.c.
LIBPQ_VARIABLES = {
    "PGHOST": "host",
    "PGHOSTADDR": "hostaddr",
    "PGPORT": "port",
    "PGDATABASE": "dbname",
    "PGUSER": "user",
    "PGPASSWORD": "password",
    "PGSERVICE": "service",
    "PGOPTIONS": "options",
    "PGAPPNAME": "application_name",
    "PGCLIENTENCODING": "client_encoding",
    "PGSSLMODE": "sslmode",
    "PGCHANNELBINDING": "channel_binding",
    "PGGSSENCMODE": "gssencmode",
    "PGREQUIREAUTH": "require_auth",
    "PGTARGETSESSIONATTRS": "target_session_attrs",
    "PGDATESTYLE": "datestyle",
    "PGTZ": "timezone",
    "PGGEQO": "geqo",
}


class Address(NamedTuple):
    """Where a connection is to go: behind a pooler, `database` is the name of its entry."""

    host: str
    port: int
    database: str


@dataclass(frozen=True)
class Service:
    """A service as declared; it stays direct where `direct` gives the reason, and then nothing else is needed."""

    name: str
    host: str
    direct: str = ""
    connections: int | None = None
    """What it opens at most."""
    unit: str = ""
    compose_file: str = ""
    compose_service: str = ""
    """Its name in the Compose file."""
    restart_command: tuple[str, ...] = ()
    processes_command: tuple[str, ...] = ()
    """Prints the pids of its processes, where it has no unit that tells."""
    runs: Literal["always", "now and then"] = "always"
    run_command: tuple[str, ...] = ()
    """Runs a service once that lives now and then, and ends when that has ended."""
    run_timeout: int = RUN_TIMEOUT_SECONDS
    """Seconds a run may take."""
    env_file: str = ""
    read_command: tuple[str, ...] = ()
    """Prints the settings as an environment file; `write_command` takes them by standard input."""
    write_command: tuple[str, ...] = ()
    url_variables: tuple[str, ...] = ()
    """Each a URL, keyword DSN or JDBC URL, told by its value."""
    host_variable: str = ""
    port_variable: str = ""
    database_variable: str = ""
    user_variable: str = ""
    password_variable: str = ""
    role: str = ""
    """Where the settings do not say it."""
    database: str = ""
    """Where the settings do not say it."""
    pooler: str = ""
    """A pooler of the fleet, or an address host:port in front of several."""
    pool: str = "transaction"
    """A pool mode, or the name of an entry."""
    prepared_statements: Literal["on", "off"] = "on"
    health: str | tuple[str, ...] = ""
    """A URL, or a command that succeeds."""
    health_timeout: float = HEALTH_TIMEOUT_SECONDS
    errors_command: tuple[str, ...] = ()
    """Prints what its clients have seen fail since it started, as JSON: a number by SQLSTATE."""
    soak: float = SOAK_SECONDS
    """Seconds for which everything has to stay well after the move."""
    max_wait: float = MAX_WAIT_SECONDS
    """Seconds a client may wait for a server connection."""
    accept_hazards: str = ""
    """Why it moves although the scan says that it needs more than its pool gives."""

    @property
    def where(self) -> str:
        """How problems name it."""
        return f"{self.host}: {self.name}"

    @property
    def moves(self) -> bool:
        return not self.direct

    @property
    def now_and_then(self) -> bool:
        """Whether it has no session at rest: a job, which nothing restarts."""
        return self.runs == "now and then"

    @property
    def owner(self) -> str:
        """What its sockets are known by: its unit, or what stands for one; empty where nothing tells."""
        return self.unit or (run_by_commands(self.name) if self.processes_command or self.compose_service else "")


def settings_of(service: Service, variables: Mapping[str, str]) -> dict[str, Connection]:
    """What the service connects to, by the variable that names it; raises Refused, in which no value is repeated."""
    around = {
        keyword: value
        for name, keyword in LIBPQ_VARIABLES.items()
        if (value := variables.get(name)) and name not in _parts(service).values()
    }
    found: dict[str, Connection] = {}
    problems: list[Problem] = []
    for name in service.url_variables or filter(None, [service.host_variable]):
        try:
            if not variables.get(name):
                raise _unset(name, variables)
            if service.url_variables:
                connection = _with_login(service, variables, dsn.parse(variables[name], around))
            else:
                connection = _of_parts(service, variables, around)
            found[name] = _completed(service, connection)
        except PoolwardError as error:
            problems.append(Problem(service.where, f"{name}: {error.message}", error.hint))
    if problems:
        raise Refused("The settings of a service cannot be read.", problems)
    return found


def moved_variables(service: Service, variables: Mapping[str, str], addresses: Mapping[str, Address]) -> dict[str, str]:
    """The variables that change, with their new values, so that each connection goes to its new address.

    `addresses` goes by the names of `settings_of`. Raises Refused where a variable would have to change that is not
    declared.
    """
    now = settings_of(service, variables)
    changed: dict[str, str] = {}
    problems: list[Problem] = []
    for name, new in addresses.items():
        try:
            if service.url_variables:
                another = None if new.database == now[name].database else new.database
                changed[name] = dsn.rewritten(variables[name], new.host, new.port, another)
            else:
                changed |= _moved_parts(service, variables, now[name], new)
        except PoolwardError as error:
            problems.append(Problem(service.where, f"{name}: {error.message}", error.hint))
    if problems:
        raise Refused("The settings of a service cannot be rewritten.", problems)
    return {name: value for name, value in changed.items() if variables.get(name) != value}


def _unset(name: str, variables: Mapping[str, str]) -> PoolwardError:
    near = get_close_matches(name, variables, 1)
    return PoolwardError("It is not set.", f"Did you mean {near[0]}?" if near else "Correct it in `services`.")


def _parts(service: Service) -> dict[str, str]:
    """The variables that each hold one part of the address, by part."""
    return {part: name for part in LIBPQ_PARTS if (name := getattr(service, f"{part}_variable"))}


def _of_parts(service: Service, variables: Mapping[str, str], around: Mapping[str, str]) -> Connection:
    """What variables for host, port and so on say, with what is declared in place of those that are not there."""
    said = {part: variables.get(name, "") for part, name in _parts(service).items()}
    if "," in said["host"]:
        raise PoolwardError("It names several hosts, to be tried in turn.", "Name the one that the service needs.")
    if not service.port_variable:
        said["host"], said["port"] = _host_and_port(said["host"])
    login = {
        "host": said["host"],
        "port": said["port"],
        "dbname": said.get("database") or service.database,
        "user": said.get("user") or service.role,
        "password": said.get("password", ""),
    }
    found = Connection.of("variables", {**around, **login})
    return replace(found, inherited=frozenset(found.parameters))


def _with_login(service: Service, variables: Mapping[str, str], connection: Connection) -> Connection:
    """With the user and the password that stand in variables beside the URL, where that is silent (Spring)."""
    user, password = (variables.get(name, "") for name in (service.user_variable, service.password_variable))
    if user and connection.user and user != connection.user:
        raise PoolwardError(f"It says {connection.user}, and {service.user_variable} says {user}.", "Keep one.")
    return replace(
        connection,
        user=connection.user or user,
        password=connection.password or (SecretStr(password) if password else None),
    )


def _completed(service: Service, connection: Connection) -> Connection:
    """With the declared role and database where the settings are silent; what contradicts them is refused."""
    for said, declared, word in (
        (connection.user, service.role, "role"),
        (connection.database, service.database, "database"),
    ):
        if said and declared and said != declared:
            raise PoolwardError(f'It says {said}, and "{word}" says {declared}.', "Correct one of them.")
    user = connection.user or service.role
    return replace(connection, user=user, database=connection.database or service.database or user)


def _host_and_port(text: str) -> tuple[str, str]:
    """What a variable says that holds both, as host:port or [address]:port."""
    host, colon, port = text.rpartition(":")
    if not colon or (":" in host and not host.startswith("[")):
        return text.strip("[]"), ""
    return host.strip("[]"), port


def _moved_parts(service: Service, variables: Mapping[str, str], now: Connection, new: Address) -> dict[str, str]:
    changed = {service.host_variable: new.host}
    if service.port_variable:
        changed[service.port_variable] = str(new.port)
    elif _host_and_port(variables[service.host_variable])[1]:
        if is_socket(new.host):
            hint = 'Give the port a variable of its own: "port_variable".'
            raise PoolwardError(f"host:port in one variable cannot name the Unix socket in {new.host}.", hint)
        changed[service.host_variable] = f"[{new.host}]:{new.port}" if ":" in new.host else f"{new.host}:{new.port}"
    elif new.port != now.port:
        raise PoolwardError(f"The port has to become {new.port}.", 'Say which variable holds it: "port_variable".')
    if new.database != now.database:
        if not service.database_variable:
            hint = 'Say which variable holds it: "database_variable".'
            raise PoolwardError(f"The database has to become {new.database}.", hint)
        changed[service.database_variable] = new.database
    return changed
