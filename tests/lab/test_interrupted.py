"""A run that is killed after any of its remote commands leaves nothing half-applied, and the next run repairs it.

Every command of every host a run touches is a place to be killed at; how many there are is counted on a run of its own.
What a kill leaves is read in full. A state that an ordinary run has already been seen to start from, and to repair, is
not repaired again: most commands only look.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pytest

from lab import recorder
from lab.topology import HOSTS, REPOSITORY, Lab
from lab.wait import until
from tests.lab.support import (
    client,
    command,
    deployed,
    on,
    psql,
    purge_database,
    purge_pooler,
    pyinfra,
    settings_with,
)

pytestmark = pytest.mark.usefixtures("as_declared")
TOUCHED = ("pool1", "db1")
LIMIT = ("--json", "--limit", "pool1")
AIM = 25

# All that a deploy may change on a pooler. Secrets are masked: the database host makes new ones after every purge.
POOLER = r"""
cd /
mask() { sed -E 's/"[^"]+"$/"***"/'; }
echo "-- running"
systemctl show pgbouncer.service -p ActiveState -p UnitFileState -p NeedDaemonReload
listening=$(ss -Hltn 'sport = 6432' | wc -l)
echo "processes $(pgrep -c -x pgbouncer || true), listening $listening"
if [ "$listening" != 0 ]; then
    for what in CONFIG DATABASES; do
        runuser -u postgres -- psql -XqAt -h /var/run/postgresql -p 6432 -U pgbouncer -d pgbouncer -c "SHOW $what" |
            { if [ $what = CONFIG ]; then cat; else cut -d'|' -f1-9; fi; }
    done
    cd /etc
    for file in pgbouncer/pgbouncer.ini pgbouncer/userlist.txt systemd/system/pgbouncer.service.d/*.conf; do
        echo "-- $file"
        mask <"$file"
    done
fi
echo "-- left"
dpkg-query -W -f='${Package} ${Status}\n' pgbouncer postgresql-client iproute2 2>/dev/null || true
apt-mark showhold
for file in $({
    find /etc/pgbouncer /run/poolward* /tmp/poolward* /var/tmp/poolward*
    find /etc/systemd/system -path '*pgbouncer*'
} 2>/dev/null | sort); do
    stat -c '%n %U %G %a %F' "$file"
    case $file in *.previous) ;; *) if [ -f "$file" ]; then mask <"$file" | sha1sum; fi ;; esac
done
"""
DATABASE = """
SELECT to_jsonb(r) - 'oid' - 'rolpassword', r.rolpassword IS NOT NULL, s.setdatabase, s.setconfig
FROM pg_authid r LEFT JOIN pg_db_role_setting s ON s.setrole = r.oid WHERE r.rolname LIKE 'pgbouncer%' ORDER BY rolname;
SELECT nspname, nspacl FROM pg_namespace WHERE nspname = 'pgbouncer';
SELECT to_jsonb(p) - 'oid' - 'pronamespace' FROM pg_proc p WHERE p.proname = 'user_lookup';
SELECT datname, datacl FROM pg_database ORDER BY datname;
SELECT type, database, user_name, address, auth_method, error FROM pg_hba_file_rules;
"""
SERVER = "cd /etc/postgresql/17/main; find . /var/lib/poolward -printf '%p %u %g %m %s\n' 2>/dev/null | sort || true"


@dataclass(frozen=True)
class Snapshot:
    """What is on the pooler and on the database host."""

    running: str
    """Of the pooler's service: whether it runs, and the configuration it runs, by its own word and on disk."""
    left: str

    @property
    def leftovers(self) -> list[str]:
        """What only the middle of a run may have lying about."""
        signs = ("/.poolward", ".part", "/run/poolward", "/tmp/poolward")
        return [line for line in self.left.splitlines() if any(sign in line for sign in signs)]


def look(lab: Lab) -> Snapshot:
    running, pooler = on(lab, "pool1", POOLER).split("-- left\n")
    return Snapshot(running, pooler + psql(lab, DATABASE) + "\n" + on(lab, "db1", SERVER))


def commands_of(run: Callable[[], object]) -> dict[str, int]:
    """How many remote commands a run takes, by host."""
    for host in HOSTS:
        if not host.optional:
            recorder.reset(host.name)
    run()
    return {host.name: len(recorder.commands(host.name)) for host in HOSTS if not host.optional}


def ordinary(data: Mapping[str, object] | None) -> None:
    run = pyinfra(*LIMIT, data=data)
    assert run.returncode == 0, run.text


def start(data: Mapping[str, object] | None) -> subprocess.Popen[bytes]:
    where = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(command(*LIMIT, data=data), cwd=REPOSITORY, start_new_session=True, **where)


def kill(process: subprocess.Popen[bytes]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL  # it had not ended by itself


def killed_after(host: str, number: int, data: Mapping[str, object] | None) -> None:
    """A run, killed when that command of that host has completed and before it hears of it."""
    recorder.reset(host)
    recorder.hold_after(host, number)
    process = start(data)
    try:
        recorder.wait_held(host, 60)
        assert len(recorder.commands(host)) == number
    finally:
        kill(process)
        recorder.release(host)


def repaired(lab: Lab, data: Mapping[str, object] | None, wanted: Snapshot) -> None:
    """One ordinary run repairs it, and the one after it finds nothing to do."""
    ordinary(data)
    again = pyinfra(*LIMIT, data=data)
    assert again.totals["success"] == 0, again.text
    found = look(lab)
    assert found.running == wanted.running
    assert found.left.splitlines() == wanted.left.splitlines()


def login(lab: Lab) -> None:
    """An application gets through."""
    with client(lab, "pool1") as connection:
        assert connection.execute("SELECT count(*) FROM accounts").fetchone() == (100,)


@pytest.mark.timeout(1200)
def test_killed_in_a_first_deploy(lab: Lab):
    purge_pooler(lab, "pool1")
    purge_database(lab)
    nothing = look(lab)
    assert "processes 0, listening 0" in nothing.running
    counts = commands_of(lambda: ordinary(None))
    print("commands of a first deploy:", counts)
    wanted = look(lab)
    assert wanted.leftovers == []
    repaired(lab, None, wanted)

    here, sound, repairs = wanted, {nothing, wanted}, 0
    at_rest = ("ActiveState=inactive", "processes 0, listening 0")
    for host in TOUCHED:
        for number in range(1, counts[host] + 1):
            if here != nothing:
                purge_pooler(lab, "pool1")
                purge_database(lab)
            killed_after(host, number, None)
            here = found = look(lab)
            place = f"killed after command {number} of {counts[host]} on {host}"
            if found.running == wanted.running:
                login(lab)
            else:
                # Never Debian's own configuration, which the package starts by itself, and not after a reboot either.
                assert all(sign in found.running for sign in at_rest), f"{place}: {found.running}"
                assert "UnitFileState=enabled" not in found.running, place
            if found not in sound:
                repaired(lab, None, wanted)
                here = wanted
                sound.add(found)
                repairs += 1
    print("states repaired:", repairs)
    assert repairs >= 5  # package, secrets, pg_hba.conf, roles, staged files, an unproved switch


@pytest.mark.timeout(1200)
def test_killed_in_a_changing_deploy(lab: Lab):
    """From the declared settings to others and back again: reloadable ones, and one that needs a restart."""
    others = settings_with(tcp_keepidle=55, default_pool_size=15, query_wait_timeout=12, listen_backlog=2048)
    ordinary(None)  # of a first deploy the previous files are Debian's; these two leave our own
    ordinary(others)
    clean = {"others": look(lab)}
    counts = commands_of(lambda: ordinary(None))
    print("commands of a changing deploy:", counts)
    clean["declared"] = look(lab)
    assert clean["others"].running != clean["declared"].running
    assert not clean["others"].leftovers
    assert not clean["declared"].leftovers

    now, repairs = "declared", 0
    for host in TOUCHED:
        for number in range(1, counts[host] + 1):
            target, data = ("others", others) if now == "declared" else ("declared", None)
            killed_after(host, number, data)
            found, place = look(lab), f"killed after command {number} of {counts[host]} on {host}"
            assert found.running in (clean[now].running, clean[target].running), f"{place}: {found.running}"
            login(lab)
            if found == clean[target]:
                now = target
            elif found != clean[now]:
                repaired(lab, data, clean[target])
                now = target
                repairs += 1
    print("states repaired:", repairs)
    assert repairs >= 4  # three staged files, an unproved switch


def test_killed_while_the_switch_runs(lab: Lab):
    """The connection breaks in the middle of it; the host ends it alone, one way or the other."""
    ordinary(None)
    before = look(lab)
    changes = settings_with(tcp_keepidle=50, listen_backlog=4096)
    recorder.reset("pool1")
    process = start(changes)
    try:
        until("the switch begins", lambda: switching() != [], 60, interval=0.01)
    finally:
        kill(process)
    until("the switch ends", lambda: None not in switching(), 60)
    found = look(lab)
    login(lab)
    ordinary(changes)
    wanted = look(lab)
    assert found.running in (before.running, wanted.running)
    repaired(lab, changes, wanted)


def switching() -> list[int | None]:
    """The exit code of each switch so far, None while it runs."""
    return [record.status for record in recorder.records("pool1") if "differing() {" in record.command]


def test_a_run_with_nothing_to_do_takes_few_commands():
    deployed()
    counts = commands_of(lambda: deployed())
    print("commands of a run with nothing to do:", counts)
    assert 0 < max(counts.values()) <= AIM
    assert counts["app1"] == counts["app2"] == 0
