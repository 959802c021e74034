"""What live tests share: running pyinfra as an operator does, looking at hosts past it, and starting from nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.docker import shell
from lab.topology import REPOSITORY, Lab

INVENTORY = "inventories/lab.py"
DEPLOY = "deploy/pgbouncer.py"


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
    def totals(self) -> Mapping[str, int]:
        """pyinfra's own count of operations: `success` (changed), `no_change`, `error`."""
        results: Mapping[str, Any] = json.loads(self.stdout)["results"]
        totals: Mapping[str, int] = results["totals"]
        return totals


def command(*options: str, data: Mapping[str, object] | None = None, deploy: str = DEPLOY) -> list[str]:
    """The command line of an unattended run; `data` overrides group data on every host (`--data`)."""
    overrides = [part for key, value in (data or {}).items() for part in ("--data", f"{key}={json.dumps(value)}")]
    return [str(Path(sys.executable).with_name("pyinfra")), "-y", *options, *overrides, INVENTORY, deploy]


def pyinfra(
    *options: str,
    data: Mapping[str, object] | None = None,
    deploy: str = DEPLOY,
    timeout: float = 240,
    environment: Mapping[str, str] | None = None,
) -> Run:
    """Run pyinfra from the top of the clone and wait for its end."""
    done = subprocess.run(
        command(*options, data=data, deploy=deploy),
        cwd=REPOSITORY,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    return Run(done.returncode, done.stdout, done.stderr)


def deployed(data: Mapping[str, object] | None = None) -> Run:
    """A deploy that has to succeed, with pyinfra's own results."""
    run = pyinfra("--json", data=data)
    assert run.returncode == 0, run.stderr
    return run


def on(lab: Lab, host: str, script: str, timeout: float = 60) -> str:
    """Run a bash script as root on a lab host, past ssh and past pyinfra."""
    return shell(lab.container(host), script, timeout=timeout)


def psql(lab: Lab, sql: str, database: str = "postgres") -> str:
    """Ask PostgreSQL on db1 as its superuser."""
    client = f"runuser -u postgres -- psql -XqAt -v ON_ERROR_STOP=1 -d '{database}'"
    return on(lab, "db1", f"cd /; {client} <<'EOF'\n{sql}\nEOF").strip()


def console(lab: Lab, pooler: str, sql: str, port: int = 6432) -> str:
    """Ask a pooler's admin console over its Unix socket."""
    query = f"psql -XqAt -h /var/run/postgresql -p {port} -U pgbouncer -d pgbouncer -c '{sql}'"
    return on(lab, pooler, f"cd /; runuser -u postgres -- {query}").strip()


def running_config(lab: Lab, pooler: str, port: int = 6432) -> dict[str, str]:
    """Every value of SHOW CONFIG."""
    rows = (line.split("|") for line in console(lab, pooler, "SHOW CONFIG", port).splitlines())
    return {row[0]: row[1] for row in rows}


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
        rm -rf /etc/pgbouncer /etc/systemd/system/pgbouncer.service.d
        systemctl daemon-reload
        """,
        timeout=120,
    )


def purge_database(lab: Lab) -> None:
    """db1 as it was before its first deploy."""
    for database in psql(lab, "SELECT datname FROM pg_database WHERE datallowconn AND NOT datistemplate").splitlines():
        psql(
            lab,
            """
            DROP SCHEMA IF EXISTS pgbouncer CASCADE;
            SELECT format('DROP OWNED BY %I', rolname) FROM pg_roles
            WHERE rolname IN ('pgbouncer_auth', 'pgbouncer_probe') \\gexec
            """,
            database,
        )
    psql(lab, "DROP ROLE IF EXISTS pgbouncer_auth; DROP ROLE IF EXISTS pgbouncer_probe;")
    on(
        lab,
        "db1",
        """
        rm -rf /var/lib/poolward
        file=$(cd /; runuser -u postgres -- psql -XqAt -c 'SHOW hba_file')
        sed -i '/^# BEGIN poolward/,/^# END poolward/d' "$file"
        cd /; runuser -u postgres -- psql -XqAt -c 'SELECT pg_reload_conf()' >/dev/null
        """,
    )
