"""Two samples beside the lab's nine services: one that only its own commands know, and a job."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.apps import environment_file
from lab.docker import file_script
from lab.state import State
from lab.topology import MAIN, REPOSITORY, Lab, Service, host_named
from tests.lab.cutover_support import CUTOVER, ROLLBACK
from tests.lab.support import Run, command, console, on, psql, pyinfra

LEDGER = Service("ledger_sync", "app1", 8011, "postgres", MAIN, "dsn", 2, 2, "read")
PROGRAM = "/srv/ledger_sync/app.py"
STORE = "/var/lib/ledger_sync/store"
"""Its settings as nothing but its commands reads them."""
LEDGER_DECLARED: dict[str, object] = {
    "name": "ledger_sync",
    "host": "app1",
    "pooler": "pool1",
    "read_command": ["/usr/local/bin/ledger", "settings"],
    "write_command": ["/usr/local/bin/ledger", "set"],
    "restart_command": ["/usr/local/bin/ledger", "restart"],
    "processes_command": ["pgrep", "-f", PROGRAM],
    "url_variables": ["DATABASE_DSN"],
    "health": "http://127.0.0.1:8011/health",
    "accept_hazards": "a sample that needs nothing of its session",
}
_LEDGER = f"""\
#!/bin/sh
# Its settings live in a store that is encoded; /run/ledger-breaks says how writing them goes wrong.
set -eu
case $1 in
settings) base64 -d {STORE} ;;
set)
    case $(cat /run/ledger-breaks 2>/dev/null) in
    fails) echo 'no room' >&2; exit 3 ;;
    tears) head -c 20 | base64 >{STORE}; exit 0 ;;
    esac
    base64 -w0 >{STORE}.new
    mv {STORE}.new {STORE}
    ;;
restart)
    while pkill -f '^/usr/bin/python3 {PROGRAM}'; do sleep 0.1; done
    set -a
    eval "$(base64 -d {STORE})"
    setsid -f /usr/bin/python3 {PROGRAM}
    ;;
esac
"""

JOB = Service("nightly_report", "app2", 0, "postgres", MAIN, "url", 1, 1, "read")
JOB_UNIT = JOB.unit
JOB_FILE = "/etc/nightly_report/env"
JOB_DECLARED: dict[str, object] = {
    "name": "nightly_report",
    "host": "app2",
    "pooler": "pool2",
    "unit": JOB_UNIT,
    "env_file": JOB_FILE,
    "url_variables": ["DATABASE_URL"],
    "prepared_statements": "off",
    "runs": "now and then",
    "run_timeout": 30,
    "accept_hazards": "a sample that needs nothing of its session",
}
JOB_RUNS = {**JOB_DECLARED, "run_command": ["systemctl", "start", JOB_UNIT]}
_UNIT = f"""\
[Service]
Type=oneshot
User=app
EnvironmentFile={JOB_FILE}
ExecStart=/usr/bin/python3 /srv/nightly_report.py
"""
_JOB = """\
import os, pathlib, sys, psycopg
does = lambda: pathlib.Path("/run/job-does").read_text().strip()
how = does()
with psycopg.connect(os.environ["DATABASE_URL"], prepare_threshold=None) as connection:
    if how == "two" and ":6432/" in os.environ["DATABASE_URL"]:
        psycopg.connect(os.environ["DATABASE_URL"], host="db1", port=5432).execute("SELECT pg_sleep(0.1)")
    connection.execute("SELECT pg_sleep(0.3)")
    while does() == "long":
        connection.execute("SELECT pg_sleep(0.1)")
sys.exit(4 if how == "fails" and ":6432/" in os.environ["DATABASE_URL"] else 0)
"""


def install_ledger(lab: Lab) -> None:
    """Put the service there, and start it."""
    settings = environment_file(LEDGER, State(lab).role_passwords()[LEDGER.role])
    on(
        lab,
        "app1",
        file_script("/usr/local/bin/ledger", _LEDGER, "0755")
        + f"install -D /usr/local/lib/lab/service.py {PROGRAM}\nmkdir -p {STORE.rpartition('/')[0]}\n"
        + f"base64 -w0 >{STORE} <<'END'\n{settings}END\n/usr/local/bin/ledger restart >/dev/null 2>&1",
    )


def uninstall_ledger(lab: Lab) -> None:
    on(lab, "app1", f"pkill -f '^/usr/bin/python3 {PROGRAM}'; rm -rf /srv/ledger_sync /var/lib/ledger_sync")


def install_job(lab: Lab) -> None:
    """Put the job there; it does not run."""
    settings = environment_file(JOB, State(lab).role_passwords()[JOB.role])
    on(
        lab,
        "app2",
        file_script(f"/etc/systemd/system/{JOB_UNIT}", _UNIT)
        + file_script(JOB_FILE, settings, "0640")
        + file_script("/srv/nightly_report.py", _JOB)
        + "systemctl daemon-reload",
    )


def uninstall_job(lab: Lab) -> None:
    on(
        lab,
        "app2",
        f"systemctl stop {JOB_UNIT}; rm -rf /etc/systemd/system/{JOB_UNIT} {JOB_FILE.rpartition('/')[0]} "
        "/srv/nightly_report.py /run/job-does; systemctl daemon-reload",
    )


def breaks(lab: Lab, how: str) -> None:
    """How writing the settings of the first one goes wrong from now on; empty for not at all."""
    on(lab, "app1", f"echo '{how}' >/run/ledger-breaks")


def does(lab: Lab, how: str) -> None:
    """What the job does from now on."""
    on(lab, "app2", f"echo '{how}' >/run/job-does")


def inventory(folder: Path, *services: dict[str, object]) -> str:
    """The lab's own inventory, with these services in place of its nine."""
    path = folder / "samples.py"
    groups = "".join(
        f"{group} = [(name, {{**data, **_wanted}}) for name, data in lab_hosts({group!r})]\n"
        for group in ("databases", "poolers", "apps")
    )
    path.write_text(
        "import runpy\n"
        "from lab.inventory import lab_hosts\n"
        "_wanted = {k: v for k, v in runpy.run_path('group_data/lab.py').items() if not k.startswith('__')}\n"
        f"_wanted['services'] = {list(services)!r}\n{groups}"
    )
    return str(path)


def cutover(inventory: str, deploy: str = CUTOVER, **data: object) -> Run:
    return pyinfra(data={"soak": 1, **data}, deploy=deploy, inventory=inventory)


def rollback(inventory: str) -> Run:
    return cutover(inventory, ROLLBACK)


def ledger_settings(lab: Lab) -> str:
    return on(lab, "app1", f"base64 -d {STORE}")


def ledger_sessions(lab: Lab) -> tuple[int, int]:
    """How many of its connections PostgreSQL has, and how many PgBouncer has, by the ports its process holds."""
    script = f"ss -Htnp state established | grep pid=$(pgrep -f '^/usr/bin/python3 {PROGRAM}'), || true"
    ends = [line.split()[2] for line in on(lab, "app1", script).splitlines()]
    ports = {end.rpartition(":")[2] for end in ends}
    address = lab.address(host_named("app1"))
    backends = psql(lab, f"SELECT client_port FROM pg_stat_activity WHERE client_addr = '{address}'").split()
    clients = [row.split("|") for row in console(lab, "pool1", "SHOW CLIENTS").splitlines()]
    return len(ports & set(backends)), sum(1 for row in clients if ports & set(row[4:8]))


def kept(lab: Lab, host: str) -> list[str]:
    """What a move keeps for a service whose settings only commands know."""
    return on(lab, host, "ls -A /var/lib/poolward/services/*/ 2>/dev/null || true").split()


def job_file(lab: Lab) -> str:
    """The job's settings with owner, group and mode, and what lies beside them."""
    return on(lab, "app2", f"stat -c '%U:%G %a' {JOB_FILE}; cat {JOB_FILE}; ls -A {JOB_FILE.rpartition('/')[0]}")


def standing(inventory: str, name: str) -> tuple[str, int, int]:
    """What `poolward services` says of a service: where it stands, and its sessions, direct and pooled."""
    program = str(Path(sys.executable).with_name("poolward"))
    done = subprocess.run(
        [program, "services", inventory, "--json"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, 2), done.stderr
    (row,) = [row for row in json.loads(done.stdout)["services"] if row["name"] == name]
    return row["standing"], row["direct"], row["pooled"]


def ledger_pid(lab: Lab) -> str:
    return on(lab, "app1", f"pgrep -f '^/usr/bin/python3 {PROGRAM}'").strip()


@contextmanager
def moving(inventory: str, deploy: str = CUTOVER) -> Iterator[subprocess.Popen[bytes]]:
    """A run that goes on."""
    arguments = command(data={"soak": 5}, deploy=deploy, inventory=inventory)
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(arguments, cwd=REPOSITORY, **quiet) as process:
        try:
            yield process
        finally:
            process.kill()
