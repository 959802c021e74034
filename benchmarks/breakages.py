"""What a redeploy must notice: each thing broken alone, on the host and past both tools."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import playbook
from benchmarks.hosts import LAB
from lab.docker import shell
from lab.progress import say
from poolward.errors import PoolwardError


@dataclass(frozen=True)
class Breakage:
    what: str
    host: str
    script: str
    undo: str = ""
    """Where Poolward refuses rather than mends."""


PSQL = "cd /; runuser -u postgres -- psql -XqAt -d postgres"
CONSOLE = "cd /; runuser -u postgres -- psql -XqAt -h /var/run/postgresql -p 6432 -U pgbouncer -d pgbouncer"
HBA = '$(cd /; runuser -u postgres -- psql -XqAt -c "SHOW hba_file")'
PID = "$(systemctl show pgbouncer -p MainPID --value)"
RELOAD = f"{PSQL} -c 'SELECT pg_reload_conf()' >/dev/null"

BREAKAGES = (
    Breakage("package not held", "pool1", "apt-mark -q unhold pgbouncer"),
    Breakage("pgbouncer.ini edited", "pool1", "echo '; by hand' >>/etc/pgbouncer/pgbouncer.ini"),
    Breakage("userlist.txt readable by all", "pool1", "chmod 0644 /etc/pgbouncer/userlist.txt"),
    Breakage("drop-in edited", "pool1", "echo '#' >>/etc/systemd/system/pgbouncer.service.d/poolward.conf"),
    Breakage("unit not enabled", "pool1", "systemctl -q disable pgbouncer"),
    Breakage("service stopped", "pool1", "systemctl stop pgbouncer"),
    Breakage("running value changed", "pool1", f"{CONSOLE} -c 'SET query_wait_timeout = 99'"),
    Breakage("too few open files", "pool1", f"runuser -u postgres -- prlimit --pid {PID} --nofile=64:"),
    Breakage("role with another limit", "db1", f"{PSQL} -c 'ALTER ROLE pgbouncer_probe CONNECTION LIMIT 5'"),
    Breakage("another verifier", "db1", f"{PSQL} -c \"ALTER ROLE pgbouncer_auth PASSWORD 'other'\""),
    Breakage(
        "function open to PUBLIC", "db1", f"{PSQL} -c 'GRANT EXECUTE ON FUNCTION pgbouncer.user_lookup TO PUBLIC'"
    ),
    Breakage("pg_hba.conf without a line", "db1", f"sed -i '/# pool1$/d' {HBA}; {RELOAD}"),
    Breakage(
        "no login through the pooler",
        "db1",
        f"sed -i '1i host all pgbouncer_probe all reject' {HBA}; {RELOAD}",
        undo=f"sed -i 1d {HBA}; {RELOAD}",
    ),
)


def prove(deploy: Callable[[], int], inventory: Path, names: Sequence[str]) -> None:
    """Break each thing twice, once before a run of each side; raises PoolwardError for a breakage that goes unseen."""
    playbook.write_inventory(inventory, names)
    for breakage in BREAKAGES:
        shell(LAB.container(breakage.host), breakage.script)
        theirs = playbook.run(inventory)
        shell(LAB.container(breakage.host), breakage.undo or breakage.script)
        if breakage.undo:
            shell(LAB.container(breakage.host), breakage.script)
        try:
            ours = f"mended in {deploy()} operations"
            seen = not ours.startswith("mended in 0")
        except PoolwardError:
            ours, seen = "refused", True
        if breakage.undo:
            shell(LAB.container(breakage.host), breakage.undo)
            deploy()
        said = "failed" if theirs.returncode else f"changed {playbook.changed(theirs)}"
        say(f"  {breakage.what}: Poolward {ours}, the playbook {said}")
        if not seen or not (theirs.returncode or playbook.changed(theirs)):
            raise PoolwardError(f"Not noticed: {breakage.what}")
