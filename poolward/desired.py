"""What a pooler host should look like, for the PgBouncer version it has: the files, and what the process should say."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from poolward import auth, auth_users, client_hba, peers, render, settings
from poolward.errors import Problem, Refused
from poolward.fleet import AUTH_ENTRY_SINCE, AUTH_POOL_SIZE, PROBE_ROLE, USER_LINES_SINCE, Entry, Fleet, Pooler, Server
from poolward.runtime import Runtime, Wanted
from poolward.settings import Value, Version

USERLIST, HBA = "/etc/pgbouncer/userlist.txt", "/etc/pgbouncer/pg_hba.conf"
PROBE_FILE = "/etc/pgbouncer/probe.pgpass"


@dataclass(frozen=True)
class PoolerConfig:
    """Everything that is to be true on one pooler, for one version; the secrets are not in it."""

    pooler: Pooler
    version: Version
    servers: tuple[Server, ...]
    settings: Mapping[str, Value]
    """Every key written into `[pgbouncer]`."""
    databases: Mapping[str, Mapping[str, Value]]
    users: Mapping[str, Mapping[str, Value]]
    peers: Mapping[str, Mapping[str, Value]]
    serves: tuple[str, ...] = ()
    """The units on its own host that connect through it."""

    @cached_property
    def ini(self) -> str:
        """The text of pgbouncer.ini."""
        wanted = render.Configuration(self.databases, self.settings, self.users, self.peers)
        return render.pgbouncer_ini(wanted, self.version)

    @property
    def port(self) -> int:
        return int(str(self.settings["listen_port"]))

    @property
    def login_address(self) -> str:
        """An address a client on the pooler's own host reaches it by: TCP where it listens on TCP."""
        first = (
            settings.text(settings.known("pgbouncer", "listen_addr"), self.settings["listen_addr"])
            .split(",")[0]
            .strip()
        )
        if not first or self._clients_need_certificates:
            return str(self.settings["unix_socket_dir"])
        return {"*": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(first, first)

    @property
    def _clients_need_certificates(self) -> bool:
        """The probe has none, but a Unix socket asks for none."""
        modes = (self.settings.get("client_tls_sslmode"), self.settings.get("auth_type"))
        return modes[0] in ("verify-ca", "verify-full") or modes[1] == "cert"

    @property
    def open_files_need(self) -> int:
        """File descriptors in the worst case: clients, server connections, cancel requests (up to twice a pool), own.

        PgBouncer's own estimate leaves out the reserve, dynamic users and cancels.
        """
        clients = int(str(self.settings.get("max_client_conn", 100)))
        servers = sum(
            self.pooler.entry_limit(entry) + 2 * self.pooler.entry_size(entry) for entry in self.pooler.entries
        )
        passed_on = len(self.peers) * int(str(self.settings.get("default_pool_size", 20)))
        return clients + servers + len(self.servers) * 2 * AUTH_POOL_SIZE + passed_on + 20

    @property
    def open_files(self) -> int:
        """The need and a quarter more."""
        return math.ceil(self.open_files_need * 1.25)

    @property
    def runtime(self) -> Runtime:
        return self.pooler.runtime

    @cached_property
    def service_file(self) -> str:
        """The text of the file that says how it runs."""
        wanted = Wanted(
            self.open_files_need,
            self.open_files,
            str(self.settings["unix_socket_dir"]),
            str(self.settings.get("logfile", "")),
            self._probe_logins[0],
            self.serves,
        )
        return self.runtime.service_text(wanted)

    @property
    def hba(self) -> str | None:
        """The text of PgBouncer's own pg_hba.conf, where the operator wrote one."""
        return client_hba.text(self.pooler.hba) if self.pooler.hba else None

    @property
    def userlist(self) -> dict[str, str]:
        """Who stands in userlist.txt, each with what their secret is, in words (`userlist.entries` has the secrets).

        What PgBouncer itself logs in with is there in clear, because a SCRAM verifier cannot be used for that
        (PgBouncer doc, `auth_user`).
        """
        own = {
            server.own_roles[0]: "the secret of the poolers"
            if server.auth_query or server.hostless
            else f"the verifier {server.name} has"
            for server in self.servers
        }
        users = self.pooler.auth_users
        return own | {user.name: "its password" if self.passwords_in_clear else user.source for user in users}

    @property
    def passwords_in_clear(self) -> bool:
        """Whether the passwords of its users stand in userlist.txt as they are.

        A verifier that is not the server's own, byte for byte, opens the pooler and not the server, and nobody can read
        the server's own by a connection string.
        """
        return any(server.hostless for server in self.servers)

    def probe_services(self, secrets: Mapping[str, str]) -> dict[str, dict[str, str | int]]:
        """A libpq service per entry, to log in through the pooler as the probe; `secrets` by server name."""
        return {
            f"entry{number}": {**login, "password": secrets[entry.server]}
            for number, (login, entry) in enumerate(zip(self._probe_logins, self.pooler.entries, strict=True))
        }

    def probe_file(self, secrets: Mapping[str, str]) -> str:
        """The password file by which a health check logs in as the probe; `secrets` by server name."""
        return render.pgpass(self.probe_services(secrets).values())

    @property
    def _probe_logins(self) -> list[dict[str, str | int]]:
        """Per entry how the probe logs in on the pooler's own host, as libpq's keywords."""
        return [
            {"host": self.login_address, "port": self.port, "dbname": entry.name, "user": PROBE_ROLE}
            for entry in self.pooler.entries
        ]


def pooler_config(fleet: Fleet, name: str, version: Version) -> PoolerConfig:
    """What pooler `name` should be under this version; raises Refused with every setting that does not fit it."""
    pooler, servers = fleet.poolers[name], fleet.servers_of([name])
    if problems := _version_problems(pooler, version, servers):
        raise Refused(f"{name} has PgBouncer {version}, and these settings do not fit it.", problems)
    by_query = servers[0].auth_query
    own_entry = by_query and version >= AUTH_ENTRY_SINCE
    written: dict[str, Value] = {
        key: value
        for key, value in pooler.defaults.items()
        if not settings.check("pgbouncer", key, value, version, name)
    }
    written |= pooler.settings
    written |= {"auth_file": USERLIST}
    if by_query:
        written |= {"auth_user": servers[0].auth_role, "auth_query": auth.QUERY}
    if pooler.hba:
        written |= {"auth_type": "hba", "auth_hba_file": HBA}
    if own_entry:
        written["auth_dbname"] = servers[0].auth_role
    if name in pooler.peers:
        written["peer_id"] = pooler.peers[name]
    databases = {entry.name: _database_line(pooler, entry, servers, version) for entry in pooler.entries}
    if own_entry:
        databases |= {server.auth_role: _auth_line(server) for server in servers}
    users = {user: dict(keys) for user, keys in pooler.users.items()}
    others = peers.section(pooler, fleet.poolers)
    return PoolerConfig(pooler, version, servers, written, databases, users, others, fleet.units_behind(name))


def _version_problems(pooler: Pooler, version: Version, servers: tuple[Server, ...]) -> list[Problem]:
    problems = [*auth_users.console_problems(pooler, version, servers)]
    if pooler.minimum_version and version < pooler.minimum_version:
        problems.append(
            Problem(
                pooler.name,
                f"PgBouncer {version} is older than pgbouncer_minimum_version = {pooler.minimum_version}",
                "install a newer package (pgbouncer_version), or lower the minimum",
            )
        )
    if pooler.package_version is None and pooler.declared_version not in (None, version):
        problems.append(
            Problem(
                pooler.name,
                f"PgBouncer {version} is not the declared pgbouncer_version = {pooler.declared_version}",
                "to have that one installed give the package's whole version, as apt-cache policy pgbouncer shows it",
            )
        )
    for key, value in pooler.settings.items():
        problems += settings.check("pgbouncer", key, value, version, f"{pooler.name}: pgbouncer_settings")
    for entry in pooler.entries:
        for key, value in entry.keys.items():
            where = f'{pooler.name}: pgbouncer_databases["{entry.name}"]'
            problems += settings.check("databases", key, value, version, where)
    if pooler.hba:
        problems += client_hba.problems(pooler.hba, version, f"{pooler.name}: pgbouncer_hba")
    problems += peers.version_problems(pooler, version)
    for user, keys in pooler.users.items():
        where = f'{pooler.name}: pgbouncer_users["{user}"]'
        looked_up = servers[0].auth_query and user not in {declared.name for declared in pooler.auth_users}
        if looked_up and version < USER_LINES_SINCE:
            problems.append(
                Problem(
                    where,
                    f"PgBouncer {version} stops asking auth_query for a role that has a [users] line",
                    f"that works from {USER_LINES_SINCE}; until then limit the entry (pool_size, max_db_connections)",
                )
            )
        for key, value in keys.items():
            problems += settings.check("users", key, value, version, where)
    return problems


def _database_line(pooler: Pooler, entry: Entry, servers: tuple[Server, ...], version: Version) -> dict[str, Value]:
    server = next(server for server in servers if server.name == entry.server)
    line: dict[str, Value] = {"host": server.address, "port": server.port, "dbname": entry.dbname}
    line |= entry.keys
    line["max_db_connections"] = pooler.entry_limit(entry)
    if server.auth_role != servers[0].auth_role:
        line["auth_user"] = server.auth_role
        if version >= AUTH_ENTRY_SINCE:
            line["auth_dbname"] = server.auth_role
    return line


def _auth_line(server: Server) -> dict[str, Value]:
    return {
        "host": server.address,
        "port": server.port,
        "dbname": server.auth_database,
        "pool_size": AUTH_POOL_SIZE,
        "reserve_pool_size": 0,
        "max_db_connections": AUTH_POOL_SIZE,
        "auth_user": server.auth_role,
        "auth_dbname": server.auth_role,
    }
