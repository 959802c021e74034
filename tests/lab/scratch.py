"""Throwaway PostgreSQL and PgBouncer processes on the lab's hosts, beside those that serve there."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

from lab.database import identifier
from lab.docker import file_script
from lab.topology import Lab, host_named
from poolward import auth, scram, templates
from poolward.desired import PoolerConfig
from poolward.fleet import AUTH_ROLE, PROBE_CONNECTION_LIMIT, PROBE_ROLE, Server
from poolward.shell.psql import with_variables
from tests.lab.support import on

AS_NOBODY = "setpriv --reuid=65534 --regid=65534 --clear-groups"
# Logins are many here and say nothing about the cost of a password: a verifier of one round keeps the machine free.
ROUNDS = 1

SERVER_SETTINGS = """
listen_addresses = '*'
port = {port}
unix_socket_directories = '{folder}'
max_connections = 400
fsync = off
shared_buffers = 32MB
autovacuum = off
log_connections = on
log_disconnections = on
log_line_prefix = '%m [%p] %r '
log_timezone = 'UTC'
lc_messages = 'C'
"""


@dataclass(frozen=True)
class ScratchServer:
    """A PostgreSQL of its own on db1; its log tells of every connection."""

    lab: Lab
    port: int
    roles: Iterable[str]
    """Who may log in, beside the product's own roles."""

    @cached_property
    def passwords(self) -> dict[str, str]:
        """Every role's."""
        return {role: secrets.token_urlsafe(9) for role in (*self.roles, AUTH_ROLE, PROBE_ROLE)}

    @cached_property
    def verifiers(self) -> dict[str, str]:
        """What PostgreSQL has of them."""
        return {role: scram.verifier(password, ROUNDS) for role, password in self.passwords.items()}

    @property
    def folder(self) -> str:
        return f"/srv/scratch-{self.port}"

    @contextmanager
    def running(self, poolers: Iterable[str]) -> Iterator[ScratchServer]:
        """It runs for a while, open to these poolers."""
        peers = "".join(f"host all all {self.lab.address(host_named(name))}/32 scram-sha-256\n" for name in poolers)
        settings = SERVER_SETTINGS.format(port=self.port, folder=self.folder)
        self._remove()
        try:
            on(
                self.lab,
                "db1",
                f"""
                bin=$(ls -d /usr/lib/postgresql/*/bin | tail -n 1)
                install -d -o postgres -g postgres -m 0700 {self.folder}
                cd {self.folder}
                as_postgres() {{ runuser -u postgres -- "$@"; }}
                as_postgres "$bin/initdb" -D data --auth=trust --no-sync --no-instructions --locale=C.UTF-8 >/dev/null
                {file_script("data/pg_hba.conf", "local all all trust" + chr(10) + peers, "0600", "postgres:postgres")}
                printf %s "{settings}" >> data/postgresql.conf
                as_postgres "$bin/pg_ctl" start -D data -l {self.folder}/log --wait --timeout=30 >/dev/null
                """,
            )
            logins = (f"CREATE ROLE {identifier(role)} LOGIN PASSWORD '{self.verifiers[role]}'" for role in self.roles)
            self.sql(";\n".join((*logins, "CREATE DATABASE pooled")))
            self.sql(self._lookup(), "pooled")
            yield self
        finally:
            self._remove()

    def _remove(self) -> None:
        """Leave nothing of it, nor of one that a killed run left behind."""
        on(
            self.lab,
            "db1",
            f"""
            cd /
            bin=$(ls -d /usr/lib/postgresql/*/bin | tail -n 1)
            [ ! -f {self.folder}/data/postmaster.pid ] ||
                runuser -u postgres -- "$bin/pg_ctl" stop -D {self.folder}/data --mode=immediate >/dev/null
            rm -rf {self.folder}
            """,
        )

    def sql(self, statements: str, database: str = "postgres") -> str:
        """Ask it as its superuser."""
        psql = f"psql -XqAt -v ON_ERROR_STOP=1 -h {self.folder} -p {self.port} -U postgres"
        return on(self.lab, "db1", f"cd /; {psql} -d '{database}' <<'END OF SQL'\n{statements}\nEND OF SQL").strip()

    def create_databases(self, names: Iterable[str]) -> None:
        """Databases in which PgBouncer can look up its clients."""
        self.sql("\n".join(f"CREATE DATABASE {identifier(name)} TEMPLATE pooled;" for name in names))

    def log_of(self, fleet: str) -> str:
        """What it logged so far of the databases whose names begin so."""
        return on(self.lab, "db1", f"grep -F ' database={fleet}_' {self.folder}/log || true")

    def _lookup(self) -> str:
        """The product's own database side."""
        variables: dict[str, str | int] = {
            "auth_role": AUTH_ROLE,
            "probe_role": PROBE_ROLE,
            "probe_connection_limit": PROBE_CONNECTION_LIMIT,
            "lookup_source": auth.lookup_source(Server("db1", "db1")),
            "auth_verifier": self.verifiers[AUTH_ROLE],
            "probe_verifier": self.verifiers[PROBE_ROLE],
        }
        scripts = [templates.text(name) for name in ("probe_setup.sql", "auth_setup.sql")]
        return with_variables("\n".join(("BEGIN;", *scripts, "COMMIT;")), variables)


@dataclass(frozen=True)
class ScratchPooler:
    """A PgBouncer of its own on a pooler host, on the files the product renders."""

    lab: Lab
    config: PoolerConfig

    @property
    def name(self) -> str:
        return self.config.pooler.name

    @property
    def folder(self) -> str:
        return folder(self.config.port)

    @property
    def address(self) -> str:
        return self.lab.address(host_named(self.name))

    @contextmanager
    def running(self, userlist: str) -> Iterator[ScratchPooler]:
        """It runs for a while."""
        # Only where its users are is not as rendered: the product knows one place for them.
        wrapper = f"%include {self.folder}/pgbouncer.ini\nauth_file = {self.folder}/userlist.txt\n"
        files = {"pgbouncer.ini": self.config.ini, "wrapper.ini": wrapper, "userlist.txt": userlist}
        written = "".join(
            file_script(f"{self.folder}/{name}", text, "0600", "nobody:nogroup") for name, text in files.items()
        )
        try:
            on(
                self.lab,
                self.name,
                f"""
                install -d -o nobody -g nogroup -m 0700 {self.folder}
                {written}
                cd {self.folder}
                TZ=UTC setsid {AS_NOBODY} /usr/sbin/pgbouncer {self.folder}/wrapper.ini >log 2>&1 </dev/null &
                echo $! >pid
                for _ in $(seq 600); do
                    if grep -q 'process up' log; then exit 0; fi
                    kill -0 "$(cat pid)" 2>/dev/null || break
                    sleep 0.05
                done
                cat log >&2
                exit 1
                """,
            )
            yield self
        finally:
            on(
                self.lab,
                self.name,
                f"""
                [ ! -f {self.folder}/pid ] || kill -KILL "$(cat {self.folder}/pid)" 2>/dev/null || true
                rm -rf {self.folder}
                """,
            )

    def console(self, command: str) -> str:
        """Ask its admin console."""
        psql = f"psql -XqAt -h {self.folder} -p {self.config.port} -U pgbouncer -d pgbouncer -c '{command}'"
        return on(
            self.lab, self.name, f"cd /; {AS_NOBODY} {psql} || {{ tail -n 20 {self.folder}/log >&2; exit 1; }}"
        ).strip()

    def log(self) -> str:
        """Everything it logged so far."""
        return on(self.lab, self.name, f"cat {self.folder}/log")


def folder(port: int) -> str:
    """Where the pooler that listens on this port has its files and its socket."""
    return f"/run/scratch-{port}"
