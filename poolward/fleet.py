"""What the operator wants: servers, poolers, services, identical on every host.

This is the desired side, made by `declaration` from the inventory; what is true now lives in `observed`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from poolward import settings
from poolward.runtime import Package, Place, Runtime, postgresql
from poolward.service import Service
from poolward.settings import Value, Version

AUTH_ROLE = "pgbouncer_auth"
PROBE_ROLE = "pgbouncer_probe"
PROBE_CONNECTION_LIMIT = 3
# PgBouncer reads the secrets of clients through a [databases] entry of its own where it can (`auth_dbname`, 1.19).
AUTH_ENTRY_SINCE = Version(1, 19)
AUTH_POOL_SIZE = 2
# A [users] line for a role that auth_query serves locks that role out before 1.23 (pgbouncer#484, #1052).
USER_LINES_SINCE = Version(1, 23)
# SHOW USERS tells which roles auth_query was asked about.
LOOKED_UP_SHOWN_SINCE = Version(1, 23)


@dataclass(frozen=True)
class AuthUser:
    """A user that stands in userlist.txt itself; one of the two says where its SCRAM verifier comes from."""

    name: str
    verifier_from: str | None = None
    """The server whose verifier of the role it is, byte for byte."""
    password_command: tuple[str, ...] | None = None
    """A command on the operator's machine that prints the password it is made from."""

    @property
    def source(self) -> str:
        """What stands in the file, in words."""
        return f"the verifier {self.verifier_from} has" if self.verifier_from else "a verifier of its password"


@dataclass(frozen=True)
class Server:
    """One PostgreSQL server of the group `databases`."""

    name: str
    address: str
    port: int = 5432
    auth_database: str = "postgres"
    auth_role: str = AUTH_ROLE
    allow_superusers: tuple[str, ...] = ()
    manage_hba: bool = False
    auth_secret_command: tuple[str, ...] | None = None
    probe_secret_command: tuple[str, ...] | None = None
    dsn: str | None = None
    """libpq's connection string, without a password, where it is not asked on its host."""
    hostless: bool = False
    """Whether that string is all there is: a deploy, too, only reads there, and its owner changes it."""
    auth_query: bool = True
    """Whether PgBouncer may ask this server for the verifiers of clients, through the lookup function."""
    auth_users: tuple[str, ...] = ()
    """The users that stand in userlist.txt on some pooler with an entry on this server."""
    container: str | None = None
    """The container on its host it runs in."""
    superuser: str | None = None
    """Who logs in there over its own socket; None: the container's POSTGRES_USER, else postgres."""

    @property
    def place(self) -> Place:
        """Where it is asked."""
        return postgresql(self.port, self.container, self.superuser)

    @property
    def own_roles(self) -> tuple[str, ...]:
        """The roles a deploy makes and keeps on it; the first stands in userlist.txt."""
        return (self.auth_role, PROBE_ROLE) if self.auth_query else (PROBE_ROLE,)

    @property
    def deployable(self) -> bool:
        """Whether a deploy asks it as this run does: `--dsn` only looks at what a deploy works on by its host."""
        return self.hostless or self.dsn is None

    @property
    def secrets_in_reach(self) -> bool:
        """Whether the pooler's own secrets can be had: from the host, or from the operator's commands."""
        return self.dsn is None or not self.secret_commands_lacking

    @property
    def secret_commands_lacking(self) -> tuple[str, ...]:
        """The operator's words that would bring the secrets of its own roles, and are not given."""
        auth = ("pgbouncer_auth_secret_command",) if self.auth_query and not self.auth_secret_command else ()
        probe = () if self.probe_secret_command else ("pgbouncer_probe_secret_command",)
        return (*auth, *probe)


@dataclass(frozen=True)
class Entry:
    """One line of `[databases]` as the operator wrote it: `keys` are PgBouncer's, without host, port and dbname."""

    name: str
    server: str
    dbname: str
    keys: Mapping[str, Value]


@dataclass(frozen=True)
class Pooler:
    """One host of the group `poolers`, with everything that is to be true on it."""

    name: str
    address: str | None
    """Where its connections come from, where the inventory tells."""
    hostname: str
    """Where clients reach it; for services on its own host a loopback address or the directory of its Unix socket."""
    declared_version: Version | None
    package_version: str | None
    minimum_version: Version | None
    """What the operator refuses to go below."""
    defaults: Mapping[str, Value]
    settings: Mapping[str, Value]
    entries: tuple[Entry, ...]
    users: Mapping[str, Mapping[str, Value]]
    hba: tuple[str, ...] = ()
    """The lines of PgBouncer's own pg_hba.conf; empty where auth_type alone decides."""
    peers: Mapping[str, Value] = field(default_factory=dict)
    """The poolers that pass cancel requests on to each other, with their peer_id; itself among them if it is one."""
    auth_users: tuple[AuthUser, ...] = ()
    runtime: Runtime = field(default_factory=Package)
    """How PgBouncer runs there."""
    app_local: bool = False
    """Whether it stands on an application host and serves the services there alone."""

    @property
    def port(self) -> int:
        """Where clients reach it."""
        return _number(self.effective("listen_port"))

    def effective(self, name: str, version: Version | None = None) -> Value:
        """The value a setting will have: the operator's, ours, or PgBouncer's own default for that version."""
        if name in self.settings:
            return self.settings[name]
        if name in self.defaults:
            return self.defaults[name]
        return settings.known("pgbouncer", name).default_in(version or settings.OLDEST)

    def names_in(self, key: str) -> list[str]:
        """The items of a setting that is a list, like `admin_users`."""
        written = settings.text(settings.known("pgbouncer", key), self.effective(key))
        return [name.strip() for name in written.split(",") if name.strip()]

    def limits_per_user(self, key: str) -> dict[str, int]:
        """What the [users] lines say of one key, by role."""
        return {user: _number(keys[key]) for user, keys in self.users.items() if key in keys}

    def user_limit(self, role: str) -> int:
        """`max_user_connections` of a role over all entries of one process; 0: no limit."""
        return _number(self.users.get(role, {}).get("max_user_connections", self.effective("max_user_connections")))

    def entry_size(self, entry: Entry) -> int:
        """`pool_size` of one pool of the entry, in connections."""
        return _number(entry.keys.get("pool_size", self.effective("default_pool_size")))

    def entry_reserve(self, entry: Entry) -> int:
        """`reserve_pool_size` of one pool of the entry (the reserve is per pool), in connections."""
        keys = entry.keys
        return _number(keys.get("reserve_pool_size", keys.get("reserve_pool", self.effective("reserve_pool_size"))))

    def entry_limit(self, entry: Entry) -> int:
        """`max_db_connections` of the entry: the operator's, else one full pool.

        It is never left out: every role that may log in would bring a pool of its own.
        """
        written = _number(entry.keys.get("max_db_connections", 0)) or _number(self.effective("max_db_connections"))
        return written or self.entry_size(entry) + self.entry_reserve(entry)


@dataclass(frozen=True)
class Fleet:
    """All of it."""

    servers: Mapping[str, Server]
    poolers: Mapping[str, Pooler]
    services: tuple[Service, ...] = ()
    """In the order in which they move."""
    service_addresses: Mapping[str, str] = field(default_factory=dict)
    """Per host of a declared service where its connections come from, where the inventory tells."""
    allow_overcommit: bool = False
    """Whether a deploy may go on although its worst case does not fit."""

    @cached_property
    def pooled_databases(self) -> Mapping[str, tuple[str, ...]]:
        """Per server the names of its databases that some pooler serves."""
        names: dict[str, set[str]] = {server: set() for server in self.servers}
        for pooler in self.poolers.values():
            for entry in pooler.entries:
                names[entry.server].add(entry.dbname)
        return {server: tuple(sorted(found)) for server, found in names.items()}

    @property
    def keeper(self) -> str:
        """The host that keeps the lease on the fleet: the first database host.

        Where none of them can be logged in to, it is one that a rollback cannot do without either: the first service's.
        """
        hosts = [name for name, server in self.servers.items() if not server.hostless]
        return next(iter([*hosts, *(service.host for service in self.services), *self.poolers]))

    def with_services_on(self, hosts: Iterable[str]) -> Fleet:
        """The fleet for a run that concerns the services of these hosts alone, with the same keeper."""
        wanted = {*hosts, self.keeper}
        return replace(self, services=tuple(one for one in self.services if one.host in wanted))

    def units_behind(self, pooler: str) -> tuple[str, ...]:
        """The units on the pooler's own host that connect through it once they have moved, sorted."""
        return tuple(
            sorted({one.unit for one in self.services if one.unit and one.moves and one.host == one.pooler == pooler})
        )

    def servers_of(self, poolers: Iterable[str]) -> tuple[Server, ...]:
        """The servers these poolers connect to."""
        wanted = {entry.server for name in poolers for entry in self.poolers[name].entries}
        return tuple(server for name, server in self.servers.items() if name in wanted)


def _number(value: Value) -> int:
    """A checked number as group data holds it: 20 or "20"."""
    return int(str(value))
