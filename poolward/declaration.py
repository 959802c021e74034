"""The operator's words, read once from the inventory and its group data into a fleet; every problem in them at once."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from poolward import (
    app_local,
    auth_users,
    combinations,
    conninfo,
    declared_knobs,
    declared_runtime,
    declared_sections,
    declared_services,
    peers,
    render,
)
from poolward.declared_knobs import Knobs
from poolward.errors import PoolwardError, Problem, Refused
from poolward.fleet import AUTH_ROLE, PROBE_ROLE, Fleet, Pooler, Server
from poolward.service import Service
from poolward.settings import Version

# Where a connection string stands in a host's data that this run alone looks by, and no deploy (`--dsn`).
LOOKED_AT_BY = "--dsn"
# PostgreSQL cuts off what is longer (NAMEDATALEN).
_LONGEST_ROLE = 63


def read(hosts: Mapping[str, Mapping[str, Any]], groups: Mapping[str, Iterable[str]]) -> Fleet:
    """Build the fleet from every host's data and the inventory's groups; raises Refused with all problems at once."""
    problems: list[Problem] = []
    pooler_hosts = list(groups.get("poolers", ()))
    if not pooler_hosts:
        problems.append(Problem("inventory", "there is no host in the group `poolers`", 'poolers = [("pool1", {})]'))
    servers, knobs = _servers(hosts, groups, problems)
    knobs |= {name: declared_knobs.read(name, hosts[name], problems) for name in pooler_hosts if name not in knobs}
    poolers = {name: _pooler(name, hosts[name], knobs[name], servers, problems) for name in pooler_hosts}
    problems += _shared_auth_roles(servers)
    problems += _auth_role_problems(servers.values())
    servers = {name: _with_auth_users(server, poolers.values()) for name, server in servers.items()}
    for name, pooler in poolers.items():
        own = tuple(servers[entry] for entry in dict.fromkeys(entry.server for entry in pooler.entries))
        problems += auth_users.one_way_problems(pooler, knobs[name].auth_query, own)
        problems += auth_users.console_problems(pooler, pooler.declared_version, own)
    apps = list(groups.get("apps", ()))
    problems += app_local.problems(poolers.values(), apps)
    local = [name for name, pooler in poolers.items() if pooler.app_local]
    services = declared_services.read(hosts, apps, pooler_hosts, problems, local)
    problems += _auth_roles_of_services(servers.values(), services)
    problems += peers.problems(poolers)
    if not problems:  # the numbers in it are numbers
        problems += [problem for pooler in poolers.values() for problem in combinations.unlimited(pooler)]
    if problems:
        raise Refused("The inventory cannot be deployed; no host was changed.", sorted(set(problems)))
    return Fleet(
        servers,
        poolers,
        services,
        _service_addresses(hosts, services),
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
    knobs = {name: declared_knobs.read(name, hosts[name], problems) for name in names}
    return {name: _server(name, hosts[name], knobs[name], problems) for name in names}, knobs


def _server(name: str, data: Mapping[str, Any], knobs: Knobs, problems: list[Problem]) -> Server:
    port = str(data.get("postgresql_port", 5432))
    if not re.fullmatch("[1-9][0-9]{0,4}", port):
        problems.append(Problem(name, f"postgresql_port = {port!r} is no port", "leave it out for 5432"))
        port = "5432"
    dsn = data.get(LOOKED_AT_BY, data.get("postgresql_dsn"))
    hostless = data.get("postgresql_dsn") is not None
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
        manage_hba=knobs.manage_hba and not hostless,
        auth_secret_command=tuple(knobs.auth_secret_command) if knobs.auth_secret_command else None,
        probe_secret_command=tuple(knobs.probe_secret_command) if knobs.probe_secret_command else None,
        dsn=None if dsn is None else str(dsn),
        hostless=hostless,
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


def _auth_role_problems(servers: Iterable[Server]) -> Iterable[Problem]:
    for server in servers:
        where, role, hint = server.name, server.auth_role, f'leave it out for "{AUTH_ROLE}"'
        try:
            render.userlist_txt({role: ""})
        except PoolwardError as error:
            yield Problem(where, f"pgbouncer_auth_role: {error.message}", hint)
            continue
        # Its secret lies in a file of that name.
        if "/" in role or role.startswith((".", "pg_")) or len(role.encode()) > _LONGEST_ROLE:
            yield Problem(where, f"pgbouncer_auth_role = {role!r} cannot name a role of the poolers' own", hint)
        if role == PROBE_ROLE:
            yield Problem(where, f"pgbouncer_auth_role = {role!r} is the role that proves logins", hint)


def _auth_roles_of_services(servers: Iterable[Server], services: Iterable[Service]) -> Iterable[Problem]:
    taken = {service.role: service.name for service in services if service.role}
    for server in servers:
        if server.auth_role in taken:
            message = f"pgbouncer_auth_role = {server.auth_role!r} is the role of the service {taken[server.auth_role]}"
            yield Problem(server.name, message, f'leave it out for "{AUTH_ROLE}": a deploy takes every right from it')


def _pooler(
    name: str, data: Mapping[str, Any], knobs: Knobs, servers: Mapping[str, Server], problems: list[Problem]
) -> Pooler:
    version = _version(name, "pgbouncer_version", knobs.version, problems)
    minimum = _version(name, "pgbouncer_minimum_version", knobs.minimum_version, problems)
    if knobs.minimum_version and "-" in knobs.minimum_version:
        message = f"pgbouncer_minimum_version = {knobs.minimum_version!r}: the floor is a version of PgBouncer itself"
        problems.append(Problem(name, message, "a package's revision is pinned by pgbouncer_version"))
    problems += declared_sections.settings_problems(name, knobs, version)
    entries = [
        declared_sections.entry(name, entry, keys, servers, version, problems)
        for entry, keys in knobs.databases.items()
    ]
    if not entries and not data.get("pgbouncer_databases"):
        problems.append(Problem(name, "no database is declared", 'pgbouncer_databases = {"mydb": {"host": "db1"}}'))
    served = [entry.server for entry in entries if entry is not None]
    runtime = declared_runtime.read(name, knobs, problems)
    users = auth_users.declared(name, knobs.auth_users, servers, served, problems)
    for user, keys in knobs.users.items():
        looked_up = user not in knobs.auth_users and knobs.auth_query
        problems += declared_sections.user_problems(name, user, keys, version, looked_up=looked_up)
    return Pooler(
        name=name,
        address=_own_address(name, data) if runtime.addressed_by_host else None,
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


def _service_addresses(hosts: Mapping[str, Mapping[str, Any]], services: Iterable[Service]) -> dict[str, str]:
    """A loopback address is only this machine's way in to a host, such as a forwarded port."""
    found = {service.host: _own_address(service.host, hosts[service.host]) for service in services}
    return {host: address for host, address in found.items() if address and not app_local.is_loopback(address)}


def _version(host: str, knob: str, written: str | None, problems: list[Problem]) -> Version | None:
    if not written:
        return None
    try:
        return Version.parse(written)
    except PoolwardError as error:
        problems.append(Problem(host, f"{knob}: {error.message}", error.hint))
        return None


def _own_address(name: str, data: Mapping[str, Any]) -> str | None:
    """The address a host's connections come from, where the inventory tells; a pooler's is else looked up there."""
    candidate = str(data.get("address") or data.get("ssh_hostname") or name)
    try:
        return str(ipaddress.ip_address(candidate))
    except ValueError:
        return None
