"""What live tests share: running pyinfra as an operator does, looking at hosts past it, and starting from nothing."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from lab.docker import shell
from lab.state import State
from lab.topology import REPOSITORY, Lab, host_named

INVENTORY = "inventories/lab.py"
DEPLOY = "deploy/pgbouncer.py"
UNCOUNTED = "PGOPTIONS='-c pg_stat_statements.track=none'"
"""For psql and pg_dump as postgres, which is the role of services, too: what they send is no statement of theirs."""


@dataclass(frozen=True)
class Run:
    """A finished pyinfra run."""

    returncode: int
    stdout: str
    stderr: str

    @property
    def text(self) -> str:
        """Everything it said."""
        return self.stderr + self.stdout

    @property
    def results(self) -> Mapping[str, Any]:
        """pyinfra's own results (`--json`): `operations`, each with its hosts by outcome, and `totals`."""
        results: Mapping[str, Any] = json.loads(self.stdout)["results"]
        return results

    @property
    def totals(self) -> Mapping[str, int]:
        """pyinfra's own count of operations: `success` (changed), `no_change`, `error`."""
        totals: Mapping[str, int] = self.results["totals"]
        return totals


def command(
    *options: str, data: Mapping[str, object] | None = None, deploy: str = DEPLOY, inventory: str = INVENTORY
) -> list[str]:
    """The command line of an unattended run; `data` overrides group data on every host (`--data`)."""
    overrides = [part for key, value in (data or {}).items() for part in ("--data", f"{key}={json.dumps(value)}")]
    return [str(Path(sys.executable).with_name("pyinfra")), "-y", *options, *overrides, inventory, deploy]


def pyinfra(
    *options: str,
    data: Mapping[str, object] | None = None,
    deploy: str = DEPLOY,
    timeout: float = 240,
    environment: Mapping[str, str] | None = None,
    inventory: str = INVENTORY,
) -> Run:
    """Run pyinfra from the top of the clone and wait for its end."""
    done = subprocess.run(
        command(*options, data=data, deploy=deploy, inventory=inventory),
        cwd=REPOSITORY,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    return Run(done.returncode, done.stdout, done.stderr)


def deployed(data: Mapping[str, object] | None = None, inventory: str = INVENTORY) -> Run:
    """A deploy that has to succeed, with pyinfra's own results."""
    run = pyinfra("--json", data=data, inventory=inventory)
    assert run.returncode == 0, run.stderr
    return run


def settings_with(**changes: object) -> dict[str, object]:
    """The data for a run in which the lab's operator changed his mind about some `pgbouncer_settings`."""
    declared = runpy.run_path(str(REPOSITORY / "group_data" / "lab.py"))["pgbouncer_settings"]
    return {"pgbouncer_settings": {**declared, **changes}}


def poolers(lab: Lab) -> list[str]:
    """The poolers that are up: pool1 and pool2, and pool3 once a test has asked for it."""
    return sorted(name for name in State(lab).hosts() if name.startswith("pool"))


def on(lab: Lab, host: str, script: str, timeout: float = 60) -> str:
    """Run a bash script as root on a lab host, past ssh and past pyinfra."""
    return shell(lab.container(host), script, timeout=timeout)


def psql(lab: Lab, sql: str, database: str = "postgres", server: str = "db1") -> str:
    """Ask PostgreSQL as its superuser."""
    client = f"runuser -u postgres -- psql -XqAt -v ON_ERROR_STOP=1 -d '{database}'"
    return on(lab, server, f"cd /; {client} <<'EOF'\n{sql}\nEOF").strip()


def console(lab: Lab, pooler: str, sql: str, port: int = 6432) -> str:
    """Ask a pooler's admin console over its Unix socket."""
    query = f"psql -XqAt -h /var/run/postgresql -p {port} -U pgbouncer -d pgbouncer -c '{sql}'"
    return on(lab, pooler, f"cd /; runuser -u postgres -- {query}").strip()


def running_config(lab: Lab, pooler: str, port: int = 6432) -> dict[str, str]:
    """Every value of SHOW CONFIG."""
    rows = (line.split("|") for line in console(lab, pooler, "SHOW CONFIG", port).splitlines())
    return {row[0]: row[1] for row in rows}


def serves(lab: Lab, pooler: str) -> bool:
    """Whether its PgBouncer answers, over its Unix socket."""
    ready = "psql -XqAt -h /var/run/postgresql -p 6432 -U pgbouncer -d pgbouncer -c 'SHOW VERSION' 2>/dev/null || :"
    return "PgBouncer" in on(lab, pooler, f"cd /; runuser -u postgres -- {ready}")


def main_pid(lab: Lab, pooler: str) -> str:
    """The process that serves, as systemd knows it; "0" when none does."""
    return on(lab, pooler, "systemctl show pgbouncer.service -p MainPID --value").strip()


def client(
    lab: Lab,
    pooler: str,
    role: str = "worker",
    database: str = "tracksolid_db",
    *,
    password: str | None = None,
    port: int = 6432,
) -> psycopg.Connection[tuple[Any, ...]]:
    """A client of the pooler, from this process over TCP, as an application is one."""
    return psycopg.connect(
        host=lab.address(host_named(pooler)),
        port=port,
        dbname=database,
        user=role,
        password=State(lab).role_passwords()[role] if password is None else password,
        connect_timeout=10,
    )


def who(lab: Lab, pooler: str, role: str, password: str | None = None) -> str:
    """Who the server says somebody is, or what kept him out."""
    try:
        with closing(client(lab, pooler, role, password=password)) as connection:
            found = connection.execute("SELECT session_user").fetchone()
            return str(found and found[0])
    except psycopg.Error as error:
        return str(error).rsplit("FATAL:", 1)[-1].strip()


def purge_pooler(lab: Lab, pooler: str) -> None:
    """A pooler host as it was before its first deploy."""
    on(
        lab,
        pooler,
        """
        systemctl stop pgbouncer.service 2>/dev/null || true
        systemctl unmask pgbouncer.service pgbouncer.socket 2>/dev/null || true
        apt-mark unhold pgbouncer >/dev/null 2>&1 || true
        DEBIAN_FRONTEND=noninteractive apt-get purge -qq -y pgbouncer postgresql-client >/dev/null 2>&1 || true
        rm -rf /etc/pgbouncer /etc/systemd/system/pgbouncer.service.d /var/lib/poolward
        systemctl daemon-reload
        """,
        timeout=120,
    )


def purge_database(lab: Lab, server: str = "db1") -> None:
    """A database host as it was before its first deploy."""
    databases = "SELECT datname FROM pg_database WHERE datallowconn AND NOT datistemplate"
    own_roles = "FROM pg_roles WHERE rolname ~ '^pgbouncer_'"
    for database in psql(lab, databases, server=server).splitlines():
        drop = f"SELECT format('DROP OWNED BY %I', rolname) {own_roles} \\gexec"
        psql(lab, f"DROP SCHEMA IF EXISTS pgbouncer CASCADE;\n{drop}", database, server)
    psql(lab, f"SELECT format('DROP ROLE %I', rolname) {own_roles} \\gexec", server=server)
    on(
        lab,
        server,
        """
        rm -rf /var/lib/poolward
        file=$(cd /; runuser -u postgres -- psql -XqAt -c 'SHOW hba_file')
        sed -i '/^# BEGIN poolward/,/^# END poolward/d' "$file"
        cd /; runuser -u postgres -- psql -XqAt -c 'SELECT pg_reload_conf()' >/dev/null
        """,
    )
