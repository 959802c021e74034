"""An inventory as plain data, its poolers and servers, and how the two consoles are asked. Not by way of poolward."""

from __future__ import annotations

import csv
import json
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from testinfra.host import Host

from tests.endstate.connection import connected

ROOT = Path(__file__).resolve().parents[2]
PROBE_SECRET = "/var/lib/poolward/secrets/pgbouncer_probe"


@dataclass(frozen=True)
class Inventory:
    hosts: Mapping[str, Mapping[str, Any]]
    groups: Mapping[str, list[str]]

    @classmethod
    def load(cls, path: str) -> Inventory:
        """As pyinfra loads it, in a process of its own: pyinfra's command line patches the one it is imported into."""
        command = [sys.executable, "-m", "poolward.dump_inventory", path]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode:
            raise ValueError(done.stderr.strip())
        loaded = cls(**json.loads(done.stdout))
        if not loaded.groups.get("poolers") or not loaded.groups.get("databases"):
            raise ValueError(f"The inventory {path} has no hosts in the groups `poolers` and `databases`.")
        return loaded

    @cached_property
    def servers(self) -> list[Server]:
        """Those that a pooler has an entry on."""
        return [server for server in self._declared.values() if self.served_by(server)]

    @cached_property
    def poolers(self) -> list[Pooler]:
        return [Pooler(name, self.hosts[name], self._declared) for name in self.groups["poolers"]]

    @cached_property
    def _declared(self) -> dict[str, Server]:
        return {name: Server(name, self.hosts[name]) for name in self.groups["databases"]}

    def served_by(self, server: Server) -> list[Pooler]:
        return [pooler for pooler in self.poolers if server in pooler.server_of.values()]


class _Machine:
    def __init__(self, name: str, data: Mapping[str, Any]) -> None:
        self.name = name
        self.data = data

    def __repr__(self) -> str:
        return self.name  # and not its data: a sudo password is in it

    @cached_property
    def host(self) -> Host:
        return connected(self.name, self.data)


class Server(_Machine):
    """A PostgreSQL server."""

    @property
    def address(self) -> str:
        return str(self.data.get("postgresql_address") or self.data.get("ssh_hostname") or self.name)

    @property
    def port(self) -> int:
        return int(self.data.get("postgresql_port", 5432))

    @property
    def hostless(self) -> bool:
        """Whether a connection string is all there is."""
        return self.data.get("postgresql_dsn") is not None

    @property
    def auth_role(self) -> str:
        return str(self.data.get("pgbouncer_auth_role", "pgbouncer_auth"))

    @property
    def auth_database(self) -> str:
        return str(self.data.get("pgbouncer_auth_database", "postgres"))

    @property
    def auth_query(self) -> bool:
        return bool(self.data.get("pgbouncer_auth_query", True))

    def ask(self, sql: str, database: str = "postgres") -> Any:
        """The one JSON value this SQL selects, as the superuser, read-only by the server's own word."""
        read_only = "env PGOPTIONS='-c default_transaction_read_only=on' PGCONNECT_TIMEOUT=10"
        psql = f"psql -XqAt -v ON_ERROR_STOP=1 -p {self.port} -d {shlex.quote(database)} -c {shlex.quote(sql)}"
        container = self.data.get("postgresql_container")
        superuser = f"docker exec -u postgres {container}" if container else "cd /; runuser -u postgres --"
        return json.loads(self.host.check_output(f"{superuser} {read_only} {psql} -U {self.superuser}") or "null")

    @cached_property
    def superuser(self) -> str:
        """Who it is asked as: said by the operator, or the one its container was made with."""
        container, said = self.data.get("postgresql_container"), self.data.get("postgresql_superuser")
        made_with = self.host.run(f"docker exec {container} printenv POSTGRES_USER").stdout if container else ""
        return shlex.quote(str(said or made_with.strip() or "postgres"))

    @cached_property
    def probe_secret(self) -> Secret:
        """The probe's secret, from where the deploy has it."""
        command = self.data.get("pgbouncer_probe_secret_command")
        if command:
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
            return Secret(done.stdout.removesuffix("\n"))
        return Secret(self.host.backend.private("cat %s", PROBE_SECRET).removesuffix("\n"))


class Secret:
    """Text that no failing assertion prints."""

    def __init__(self, text: str) -> None:
        assert text, "the secret is empty"
        self.text = text


class Pooler(_Machine):
    """A PgBouncer host."""

    def __init__(self, name: str, data: Mapping[str, Any], servers: Mapping[str, Server]) -> None:
        super().__init__(name, data)
        self.entries: dict[str, dict[str, Any]] = data["pgbouncer_databases"]
        self.server_of = {entry: servers[keys["host"]] for entry, keys in self.entries.items()}

    @property
    def runtime(self) -> str:
        """`package` or `docker`."""
        return str(self.data.get("pgbouncer_runtime", "package"))

    def inside(self, command: str) -> str:
        """A shell command where PgBouncer runs: on the host, or in its container as its user."""
        return f"docker exec -i pgbouncer sh -c {shlex.quote(command)}" if self.runtime == "docker" else command

    def in_its_network(self, command: str) -> str:
        """A command that sees the network as PgBouncer does."""
        return f"nsenter -t {self.pid} -n {command}" if self.runtime == "docker" else command

    @property
    def pid(self) -> int:
        """The process, as its host sees it."""
        if self.runtime == "docker":
            return int(self.host.check_output("docker inspect -f '{{.State.Pid}}' pgbouncer"))
        return int(self.unit("MainPID"))

    def address_towards(self, server: Server) -> str:
        """Where its connections to a server come from."""
        resolved = self.host.check_output(self.inside(f"getent ahosts {server.address}")).split()[0]
        route = self.host.check_output(self.in_its_network(f"ip -o route get {resolved}"))
        return route.split(" src ")[1].split()[0]

    @property
    def written(self) -> dict[str, Any]:
        """The settings of the inventory: Poolward's defaults, and the operator's over them."""
        small = self.data["pgbouncer_app_local_defaults"] if self.app_local else {}
        return {**self.data["pgbouncer_defaults"], **small, **self.data.get("pgbouncer_settings", {})}

    @property
    def app_local(self) -> bool:
        return self.data.get("pgbouncer_topology") == "app-local"

    @property
    def own_units(self) -> set[str]:
        """The units of its own host that are to connect through it."""
        here = [one for one in self.data.get("services", ()) if one["host"] == self.name and "direct" not in one]
        default = self.name if self.app_local else ""
        return {one["unit"] for one in here if "unit" in one and one.get("pooler", default) == self.name}

    @property
    def port(self) -> int:
        return int(self.written["listen_port"])

    @property
    def userlist(self) -> set[str]:
        """Who has to stand in userlist.txt."""
        servers = self.server_of.values()
        own = {server.auth_role if server.auth_query else "pgbouncer_probe" for server in servers}
        return own | set(self.data.get("pgbouncer_auth_users", {}))

    @property
    def listen_addresses(self) -> list[str]:
        written = self.written["listen_addr"]
        parts = written.split(",") if isinstance(written, str) else written
        return [part.strip() for part in parts if part.strip()]

    @property
    def socket_directory(self) -> str:
        return str(self.written["unix_socket_dir"])

    def show(self, what: str) -> list[dict[str, str]]:
        """The rows of a SHOW, over the Unix socket as the service's own user."""
        psql = f"psql -Xq --csv -h {self.socket_directory} -p {self.port} -U pgbouncer -d pgbouncer -c 'SHOW {what}'"
        own_user = "" if self.runtime == "docker" else "cd /; runuser -u postgres -- "
        output = self.host.check_output(self.inside(f"{own_user}env PGCONNECT_TIMEOUT=10 {psql}"))
        return list(csv.DictReader(output.splitlines()))

    @cached_property
    def running(self) -> dict[str, str]:
        return {row["key"]: row["value"] for row in self.show("CONFIG")}

    @cached_property
    def served(self) -> dict[str, dict[str, str]]:
        return {row["name"]: row for row in self.show("DATABASES")}

    @cached_property
    def version(self) -> tuple[int, ...]:
        number = self.show("VERSION")[0]["version"].split()[-1]
        return tuple(int(part) for part in number.split("."))

    @cached_property
    def listening(self) -> set[str]:
        """Every listening socket, like tcp://0.0.0.0:6432 and unix:///run/x."""
        if self.runtime == "package":
            return {*self.host.socket.get_listening_sockets()}
        tcp = self.host.check_output(self.in_its_network("ss -Hltn")).splitlines()
        unix = self.host.check_output(self.in_its_network("ss -Hlx")).splitlines()
        return {f"tcp://{line.split()[3]}" for line in tcp} | {f"unix://{line.split()[4]}" for line in unix}

    def unit(self, name: str) -> str:
        return self.host.check_output("systemctl show pgbouncer.service -p %s --value", name)
