"""The operator's words, read once from the inventory and its group data into a fleet; every problem in them at once."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from difflib import get_close_matches
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from poolward import (
    app_local,
    auth_users,
    client_hba,
    combinations,
    conninfo,
    declared_services,
    peers,
    render,
    settings,
)
from poolward.errors import PoolwardError, Problem, Refused
from poolward.fleet import AUTH_ROLE, USER_LINES_SINCE, Entry, Fleet, Pooler, Server
from poolward.runtime import Docker, Package, Runtime
from poolward.settings import Version

# Without these nobody can say where a pooler listens and how its clients log in.
_ESSENTIAL = ("listen_addr", "listen_port", "unix_socket_dir", "auth_type")
# A port as Compose publishes it, with the address to publish it on or without.
_PUBLISHED = re.compile(r"(?:(?:[0-9.]+|\[[0-9a-fA-F:.]+\]):)?[1-9][0-9]{0,4}:[1-9][0-9]{0,4}")
# What `desired` writes itself, whatever else is written.
_POOLWARDS_OWN = ("auth_file", "auth_user", "auth_query", "auth_dbname")


class Knobs(BaseModel):
    """The operator's words in group_data, for one host; every name is described in group_data/all.py."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    defaults: dict[str, Any] = Field(default_factory=dict)
    app_local_defaults: dict[str, Any] = Field(default_factory=dict)
    topology: Literal["shared", "app-local"] = "shared"
    settings: dict[str, Any] = Field(default_factory=dict)
    databases: dict[str, dict[str, Any]] = Field(default_factory=dict)
    users: dict[str, dict[str, Any]] = Field(default_factory=dict)
    peers: dict[str, Any] = Field(default_factory=dict)
    allow_superusers: list[str] = Field(default_factory=list)
    hba: list[str] = Field(default_factory=list)
    manage_hba: bool = False
    allow_overcommit: bool = False
    version: str | None = None
    minimum_version: str | None = None
    auth_secret_command: list[str] | None = None
    probe_secret_command: list[str] | None = None
    auth_query: bool = True
    auth_users: dict[str, dict[str, Any]] = Field(default_factory=dict)
    runtime: Literal["package", "docker"] = "package"
    network: str | None = None
    image: str | None = None
    publish: list[str] = Field(default_factory=list)

    @property
    def app_local(self) -> bool:
        return self.topology == "app-local"

    @property
    def written(self) -> dict[str, Any]:
        """What is written into `[pgbouncer]`, but for Poolward's own: the operator's words over the defaults."""
        return {**self.all_defaults, **self.settings}

    @property
    def all_defaults(self) -> dict[str, Any]:
        """The defaults of this pooler's topology."""
        return {**self.defaults, **(self.app_local_defaults if self.app_local else {})}


def read(hosts: Mapping[str, Mapping[str, Any]], groups: Mapping[str, Iterable[str]]) -> Fleet:
    """Build the fleet from every host's data and the inventory's groups; raises Refused with all problems at once."""
    problems: list[Problem] = []
    pooler_hosts = list(groups.get("poolers", ()))
    if not pooler_hosts:
        problems.append(Problem("inventory", "there is no host in the group `poolers`", 'poolers = [("pool1", {})]'))
    servers, knobs = _servers(hosts, groups, problems)
    knobs |= {name: _knobs(name, hosts[name], problems) for name in pooler_hosts if name not in knobs}
    poolers = {name: _pooler(name, hosts[name], knobs[name], servers, problems) for name in pooler_hosts}
    problems += _shared_auth_roles(servers)
    servers = {name: _with_auth_users(server, poolers.values()) for name, server in servers.items()}
    for name, pooler in poolers.items():
        own = tuple(servers[entry] for entry in dict.fromkeys(entry.server for entry in pooler.entries))
        problems += auth_users.one_way_problems(pooler, knobs[name].auth_query, own)
        problems += auth_users.console_problems(pooler, pooler.declared_version, own)
    apps = list(groups.get("apps", ()))
    problems += app_local.problems(poolers.values(), apps)
    local = [name for name, pooler in poolers.items() if pooler.app_local]
    services = declared_services.read(hosts, apps, pooler_hosts, problems, local)
    problems += peers.problems(poolers)
    if not problems:  # the numbers in it are numbers
        problems += [problem for pooler in poolers.values() for problem in combinations.unlimited(pooler)]
    if problems:
        raise Refused("The inventory cannot be deployed; no host was changed.", sorted(set(problems)))
    return Fleet(
        servers,
        poolers,
        services,
        frozenset(str(hosts[service.host].get("ssh_hostname") or service.host) for service in services),
        allow_overcommit=any(found.allow_overcommit for found in knobs.values()),
    )


def read_servers(hosts: Mapping[str, Mapping[str, Any]], groups: Mapping[str, Iterable[str]]) -> dict[str, Server]:
    """The database servers alone, with no pooler needed; raises Refused with all problems in them at once."""
    problems: list[Problem] = []
    servers, _ = _servers(hosts, groups, problems)
    if problems:
        raise Refused("The database hosts of this inventory cannot be read.", sorted(set(problems)))
    return servers


def _servers(
    hosts: Mapping[str, Mapping[str, Any]], groups: Mapping[str, Iterable[str]], problems: list[Problem]
) -> tuple[dict[str, Server], dict[str, Knobs]]:
    names = list(groups.get("databases", ()))
    if not names:
        problems.append(Problem("inventory", "there is no host in the group `databases`", 'databases = [("db1", {})]'))
    knobs = {name: _knobs(name, hosts[name], problems) for name in names}
    return {name: _server(name, hosts[name], knobs[name], problems) for name in names}, knobs


def _knobs(host: str, data: Mapping[str, Any], problems: list[Problem]) -> Knobs:
    prefix = "pgbouncer_"
    given = {key.removeprefix(prefix): value for key, value in data.items() if key.startswith(prefix)}
    for own in ("auth_database", "auth_role"):
        given.pop(own, None)
    try:
        knobs = Knobs.model_validate(given)
    except ValidationError as error:
        for found in error.errors():
            name = prefix + ".".join(str(part) for part in found["loc"])
            if found["type"] == "extra_forbidden":
                problems.append(Problem(host, f"{name} is no word of Poolward's", _meant(name)))
            else:
                problems.append(Problem(host, f"{name}: {found['msg']}", "see group_data/all.py"))
        # Without the wrong words the others are read all the same, so that what is wrong in them is said too.
        wrong = {str(found["loc"][0]) for found in error.errors()}
        knobs = Knobs.model_validate({key: value for key, value in given.items() if key not in wrong})
    if not knobs.defaults:
        problems.append(
            Problem(host, "Poolward's defaults (group_data/all.py) were not loaded", "run from the top of the clone")
        )
    elif lacking := [name for name in _ESSENTIAL if name not in knobs.written]:
        problems.append(
            Problem(
                host,
                f"pgbouncer_defaults lacks {', '.join(lacking)}",
                "leave it as group_data/all.py has it, and write yours into pgbouncer_settings",
            )
        )
    return knobs


def _meant(name: str) -> str:
    known = sorted(f"pgbouncer_{field}" for field in Knobs.model_fields)
    near = get_close_matches(name, known, 1)
    return f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"


def _server(name: str, data: Mapping[str, Any], knobs: Knobs, problems: list[Problem]) -> Server:
    port = str(data.get("postgresql_port", 5432))
    if not re.fullmatch("[1-9][0-9]{0,4}", port):
        problems.append(Problem(name, f"postgresql_port = {port!r} is no port", "leave it out for 5432"))
        port = "5432"
    dsn = data.get("postgresql_dsn")
    if dsn is not None and (found := conninfo.problem(dsn)):
        problems.append(Problem(name, f"postgresql_dsn {found[0]}", found[1]))
    container, superuser = data.get("postgresql_container"), data.get("postgresql_superuser")
    if superuser and not container:
        message = "postgresql_superuser is for a server in a container (postgresql_container)"
        problems.append(Problem(name, message, "leave it out: on a host it is asked as its user postgres"))
    return Server(
        name=name,
        address=str(data.get("postgresql_address") or data.get("ssh_hostname") or name),
        port=int(port),
        auth_database=str(data.get("pgbouncer_auth_database", "postgres")),
        auth_role=str(data.get("pgbouncer_auth_role", AUTH_ROLE)),
        allow_superusers=tuple(sorted(knobs.allow_superusers)),
        manage_hba=knobs.manage_hba,
        auth_secret_command=tuple(knobs.auth_secret_command) if knobs.auth_secret_command else None,
        probe_secret_command=tuple(knobs.probe_secret_command) if knobs.probe_secret_command else None,
        dsn=None if dsn is None else str(dsn),
        auth_query=knobs.auth_query,
        container=str(container) if container else None,
        superuser=str(superuser) if superuser else None,
    )


def _with_auth_users(server: Server, poolers: Iterable[Pooler]) -> Server:
    users = {
        user.name
        for pooler in poolers
        if any(entry.server == server.name for entry in pooler.entries)
        for user in pooler.auth_users
    }
    return replace(server, auth_users=tuple(sorted(users)))


def _shared_auth_roles(servers: Mapping[str, Server]) -> Iterable[Problem]:
    seen: dict[str, str] = {}
    for name, server in servers.items():
        if server.auth_role in seen:
            yield Problem(
                name,
                f"the role {server.auth_role} would need two passwords in one userlist.txt: {seen[server.auth_role]} "
                "has a secret of its own",
                f'give {name} its own: pgbouncer_auth_role = "{AUTH_ROLE}_{re.sub("[^a-z0-9_]", "_", name.lower())}"',
            )
        seen[server.auth_role] = name


def _pooler(
    name: str, data: Mapping[str, Any], knobs: Knobs, servers: Mapping[str, Server], problems: list[Problem]
) -> Pooler:
    version = _version(name, "pgbouncer_version", knobs.version, problems)
    minimum = _version(name, "pgbouncer_minimum_version", knobs.minimum_version, problems)
    for key, value in knobs.written.items():
        # A default of ours that this version does not know is left out later; what the operator wrote is not.
        checked = version if key in knobs.settings else None
        problems += settings.check("pgbouncer", key, value, checked, f"{name}: pgbouncer_settings")
    problems += combinations.problems(knobs.written, f"{name}: pgbouncer_settings", own_hba=bool(knobs.hba))
    if knobs.hba:
        problems += client_hba.problems(knobs.hba, version, f"{name}: pgbouncer_hba")
    problems += _own_settings_problems(name, knobs)
    entries = [_entry(name, entry, keys, servers, version, problems) for entry, keys in knobs.databases.items()]
    if not entries and not data.get("pgbouncer_databases"):
        problems.append(Problem(name, "no database is declared", 'pgbouncer_databases = {"mydb": {"host": "db1"}}'))
    served = [entry.server for entry in entries if entry is not None]
    runtime = _runtime(name, knobs, problems)
    users = auth_users.declared(name, knobs.auth_users, servers, served, problems)
    for user, keys in knobs.users.items():
        looked_up = user not in knobs.auth_users and knobs.auth_query
        problems += _user_problems(name, user, keys, version, looked_up=looked_up)
    return Pooler(
        name=name,
        address=_own_address(data) if runtime.addressed_by_host else None,
        hostname=app_local.front(knobs.written) if knobs.app_local else _hostname(name, data),
        declared_version=version,
        minimum_version=minimum,
        package_version=knobs.version if knobs.version and "-" in knobs.version else None,
        defaults=knobs.all_defaults,
        settings=dict(knobs.settings),
        entries=tuple(entry for entry in entries if entry is not None),
        hba=tuple(knobs.hba),
        peers=dict(knobs.peers),
        users={user: dict(keys) for user, keys in knobs.users.items()},
        auth_users=users,
        runtime=runtime,
        app_local=knobs.app_local,
    )


def _hostname(name: str, data: Mapping[str, Any]) -> str:
    return str(data.get("address") or data.get("ssh_hostname") or name)


def _runtime(name: str, knobs: Knobs, problems: list[Problem]) -> Runtime:
    """How PgBouncer runs there, by the operator's words."""
    if knobs.runtime == "package":
        for knob in ("network", "image", "publish"):
            if getattr(knobs, knob):
                hint = 'pgbouncer_runtime = "docker" is what it is for'
                problems.append(Problem(name, f"pgbouncer_{knob} means nothing to a package", hint))
        return Package(knobs.version if knobs.version and "-" in knobs.version else None)
    if not knobs.network:
        problems.append(
            Problem(
                name,
                'pgbouncer_runtime = "docker" needs the network the container joins',
                'pgbouncer_network = "the one PostgreSQL and the services are on"; docker network ls shows them',
            )
        )
    problems += _container_problems(f"{name}: pgbouncer_settings", knobs.written)
    port = str(knobs.written.get("listen_port", 6432))
    for line in knobs.publish:
        if not _PUBLISHED.fullmatch(line) or line.rpartition(":")[2] != port:
            hint = f'pgbouncer_publish = ["127.0.0.1:{port}:{port}"], the last being listen_port'
            problems.append(Problem(name, f"pgbouncer_publish: {line!r} is no ADDRESS:PORT:{port}", hint))
    return Docker(knobs.network or "", knobs.image, tuple(knobs.publish), knobs.version)


def _container_problems(where: str, written: Mapping[str, Any]) -> Iterable[Problem]:
    """What only a host has."""
    addresses = written.get("listen_addr", "*")
    named = addresses if isinstance(addresses, list) else str(addresses).split(",")
    if strangers := [one for one in map(str.strip, named) if one not in ("*", "0.0.0.0", "::", "127.0.0.1", "::1")]:
        message = f"listen_addr = {', '.join(strangers)}: a container has no address of its host"
        yield Problem(where, message, 'listen_addr = "*", and pgbouncer_publish says where the host listens')
    for key in ("logfile", "pidfile", "syslog"):
        if str(written.get(key, "")) not in ("", "0"):
            yield Problem(where, f"{key}: a container has neither a place for it nor a need", "docker logs has the log")


def _own_settings_problems(pooler: str, knobs: Knobs) -> Iterable[Problem]:
    where = f"{pooler}: pgbouncer_settings"
    for key in _POOLWARDS_OWN:
        if key in knobs.settings:
            yield Problem(where, f"{key} is Poolward's own to write, and yours would be lost", "leave it out")
    if "peer_id" in knobs.settings:
        yield Problem(where, "peer_id alone finds no peer", 'pgbouncer_peers = {"pool1": 1, "pool2": 2} says both')
    if str(knobs.settings.get("unix_socket_dir", "")).startswith("@"):
        yield Problem(where, "unix_socket_dir is an abstract socket, which Poolward cannot ask", "name a directory")


def _version(host: str, knob: str, written: str | None, problems: list[Problem]) -> Version | None:
    if not written:
        return None
    try:
        return Version.parse(written)
    except PoolwardError as error:
        problems.append(Problem(host, f"{knob}: {error.message}", error.hint))
        return None


def _user_problems(
    pooler: str, user: str, keys: Mapping[str, Any], version: Version | None, *, looked_up: bool
) -> Iterable[Problem]:
    where = f'{pooler}: pgbouncer_users["{user}"]'
    if looked_up and version and version < USER_LINES_SINCE:
        yield Problem(
            where,
            f"PgBouncer {version} stops asking auth_query for a role that has a [users] line: {user} could not log in",
            f"that works from {USER_LINES_SINCE}; until then use max_db_connections or pool_size of the entry",
        )
    for key, value in keys.items():
        yield from settings.check("users", key, value, version, where)


def _entry(
    pooler: str,
    name: str,
    keys: Mapping[str, Any],
    servers: Mapping[str, Server],
    version: Version | None,
    problems: list[Problem],
) -> Entry | None:
    where = f'{pooler}: pgbouncer_databases["{name}"]'
    if reason := render.entry_name_problem(name):
        problems.append(Problem(where, reason, "choose another entry name and give the database's in `dbname`"))
    host = keys.get("host")
    if not isinstance(host, str) or host not in servers:
        known = ", ".join(servers) or "none"
        problems.append(
            Problem(where, f"`host` is {host!r}, but must name a host of the group `databases`", f"known: {known}")
        )
        return None
    if name in {server.auth_role for server in servers.values()}:
        problems.append(Problem(where, "this name is kept for the entry auth_query goes through", "choose another"))
    if "port" in keys:
        problems.append(Problem(where, "`port` belongs to the server", f"postgresql_port in the data of {host}"))
    own = {key: value for key, value in keys.items() if key not in ("host", "port", "dbname")}
    for key, value in own.items():
        problems += settings.check("databases", key, value, version, where)
    if "user" in own and (version is None or version < Version(1, 26)):
        problems.append(
            Problem(
                where,
                "a forced `user` does not work with clients that log in by SCRAM verifier before PgBouncer 1.26 "
                "(pgbouncer#944): their logins fail after the first",
                "leave `user` out, or declare pgbouncer_version 1.26 or newer",
            )
        )
    return Entry(name, str(host), str(keys.get("dbname", name)), own)


def _own_address(data: Mapping[str, Any]) -> str | None:
    """The address the pooler's connections come from, where the inventory tells; else it is looked up on the host."""
    candidate = str(data.get("address") or data.get("ssh_hostname") or "")
    try:
        return str(ipaddress.ip_address(candidate))
    except ValueError:
        return None
