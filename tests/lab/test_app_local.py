"""A pooler on each application host: services behind their own, by loopback and by socket, over a reboot and back."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.process_sampler import ProcessSampler
from lab.state import State
from lab.topology import REPOSITORY, Lab
from lab.wait import until
from tests.lab import cutover_support as support
from tests.lab.cutover_support import direct, settings_file
from tests.lab.leaks import named
from tests.lab.support import Run, console, deployed, on, psql, pyinfra

INVENTORY = "inventories/lab_app_local.py"
# By Unix socket on app1, by 127.0.0.1 on app2.
MOVED = {"webhook_receiver": "app1", "ingest_worker": "app1", "cron": "app2", "gateway": "app2"}
SERVED = {
    "app1": ["dashboard-api", "ingest-worker", "webhook-receiver", "worker"],
    "app2": ["cron", "gateway", "grafana", "scheduler"],
}
# Both ends of every connection on a pooler's Unix socket, as the kernel pairs them: the clients' pids, one each.
SOCKET_CLIENTS = r"""
ss -Hxp state established | awk '
    { match($0, /pid=[0-9]+/); pid[$5] = substr($0, RSTART + 4, RLENGTH - 4); peer[$5] = $7; path[$5] = $4 }
    { if ($4 ~ /\.s\.PGSQL\.6432$/) { served[$7] = 1 } else { own[$5] = pid[$5] } }
    END { for (inode in own) if (inode in served) print own[inode] }'
"""

# What the trial asks, as the server was asked it: in its name for what PgBouncer prepared there.
PREPARED = r"""
grep -h 'execute PGBOUNCER_[0-9]*: SELECT current_user, current_database(), extract' /var/log/postgresql/*.log ||
    true"""

pytestmark = pytest.mark.usefixtures("app_local")


def run(deploy: str, *options: str, **data: object) -> Run:
    done = pyinfra("--json", *options, deploy=deploy, data=data or None, inventory=INVENTORY, timeout=300)
    assert done.returncode == 0, done.text
    return done


def poolward(*words: str) -> dict[str, Any]:
    command = str(Path(sys.executable).with_name("poolward"))
    done = subprocess.run([command, *words, INVENTORY, "--json"], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode in (0, 2), done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def app_local(lab: Lab) -> Iterator[Run]:
    """Poolers on both application hosts; afterwards they are gone, and the lab is as its own inventory says."""
    first = deployed(inventory=INVENTORY)
    run("deploy/cutover.py", only=",".join(MOVED), soak=1)
    yield first
    on(lab, "app1", "systemctl stop rogue.service 2>/dev/null || true")
    run("deploy/rollback.py", soak=1)
    for host in ("app1", "app2"):
        run("deploy/remove.py", "--limit", host)
    deployed()


def pooled(lab: Lab, name: str) -> int:
    """A service's connections to the pooler of its host, as the host's own kernel has them."""
    host, unit = MOVED[name], support.service_named(name).unit
    pids = set(on(lab, host, f"cat /sys/fs/cgroup/system.slice/{unit}/cgroup.procs 2>/dev/null || true").split())
    if host == "app1":
        return sum(1 for pid in on(lab, host, SOCKET_CLIENTS).split() if pid in pids)
    return len(support.sockets(lab, name, 6432))


def behind_their_pooler(lab: Lab) -> bool:
    return all(direct(lab, name) == 0 and pooled(lab, name) > 0 for name in MOVED)


def test_deployed_again_nothing_changes_and_the_bill_counts_the_pools_of_both_hosts(lab: Lab) -> None:
    again = deployed(inventory=INVENTORY)
    assert again.totals["success"] == 0
    for host in ("app1", "app2"):
        listening = on(lab, host, "ss -Hltn 'sport = 6432' | awk '{ print $4 }'").split()
        assert listening == ([] if host == "app1" else ["127.0.0.1:6432"])
    plan = poolward("plan")
    assert plan["clean"]
    (bill,) = plan["bills"].values()
    counted = {(line["pooler"], line["entry"]): line["connections"] for line in bill["lines"] if line["pooler"]}
    entries = {"tracksolid_db": 25, "tracksolid_db_session": 8, "tracksolid-archive": 6, "": 2}
    assert counted == {(host, entry): most for host in ("app1", "app2") for entry, most in entries.items()}
    assert bill["worst_case"] == 2 * sum(entries.values())


def test_services_are_behind_the_pooler_of_their_own_host_by_socket_and_by_loopback(lab: Lab) -> None:
    assert behind_their_pooler(lab)
    said = {name: settings_file(lab, name)[1] for name in MOVED}
    assert "@/tracksolid_db?port=6432&host=/var/run/postgresql" in said["webhook_receiver"]
    assert "DB_HOST=/var/run/postgresql\n" in said["ingest_worker"]
    assert "PGHOST=127.0.0.1\n" in said["cron"]
    assert "jdbc:postgresql://127.0.0.1:6432/" in said["gateway"]
    rows = {row["name"]: row for row in poolward("services")["services"]}
    for name in MOVED:
        assert (rows[name]["standing"], rows[name]["direct"], rows[name]["pooled"]) == ("pooled", 0, pooled(lab, name))


def test_the_login_that_is_tried_over_a_socket_prepares_and_shows_its_password_to_nobody(lab: Lab) -> None:
    password = State(lab).role_passwords()[support.service_named("worker").role]
    before = on(lab, "db1", PREPARED)
    with ProcessSampler() as sampler:
        run("deploy/cutover.py", only="worker", soak=1)
    # The services themselves have it in their environment, as systemd gives it to them.
    others = [text for text in sampler.samples if "INVOCATION_ID=" not in text]
    assert any("IO::Socket::UNIX" in text and ".s.PGSQL.6432" in text for text in others)
    assert not named({"worker": password}, "\0".join(others))
    # The server's log has each run of a statement, with the name it was prepared under.
    assert len(on(lab, "db1", PREPARED).splitlines()) == len(before.splitlines()) + 3


def test_the_path_that_the_pooler_shares_with_its_services_stays_open(lab: Lab) -> None:
    rules = psql(lab, "SELECT count(*) FROM pg_hba_file_rules WHERE auth_method = 'reject'")
    closing = run("deploy/close.py", only="webhook_receiver")
    assert "the pooler on app1 connects from there, too" in closing.text
    assert psql(lab, "SELECT count(*) FROM pg_hba_file_rules WHERE auth_method = 'reject'") == rules


def test_whoever_connects_past_the_pooler_from_its_host_is_named(lab: Lab) -> None:
    connect = "import os, psycopg, time; c = psycopg.connect(os.environ['DATABASE_URL']); time.sleep(300)"
    on(
        lab,
        "app1",
        f"""systemd-run --quiet --unit=rogue -p EnvironmentFile=/etc/webhook_receiver/env.before-poolward \
            python3 -c "{connect}" """,
    )
    pid = on(lab, "app1", "systemctl show rogue.service -p MainPID --value").strip()
    until(
        "the rogue is connected", lambda: on(lab, "app1", f"ss -Htnp 'dport = :5432' | grep 'pid={pid},' || true"), 20
    )
    found = poolward("services")
    assert [line for line in found["bypasses"] if f"pid {pid} " in line]
    assert not [line for line in found["bypasses"] if "pgbouncer" in line]
    on(lab, "app1", "systemctl stop rogue.service")


def test_after_a_reboot_services_come_back_through_their_pooler_in_the_right_order(lab: Lab) -> None:
    since = {host: on(lab, host, "date +%s.%N").strip() for host in SERVED}
    started = {host: _up_since(lab, host) for host in SERVED}
    for host in SERVED:
        subprocess.run(["docker", "exec", lab.container(host), "systemctl", "reboot"], check=False, timeout=30)
    until("both hosts are up again", lambda: all(_up_since(lab, h) not in ("", started[h]) for h in SERVED), 60)
    until("the services are behind their poolers", lambda: behind_their_pooler(lab), 60)
    for host, units in SERVED.items():
        said = _said_by_systemd(lab, host, since[host])
        pooler_stops = said.index("Stopping pgbouncer.service")
        pooler_stood = said.index("Started pgbouncer.service")
        assert pooler_stops < pooler_stood
        for unit in units:
            assert said.index(f"Stopped {unit}.service") < pooler_stops, said
            assert pooler_stood < said.index(f"Started {unit}.service"), said


def _up_since(lab: Lab, host: str) -> str:
    """When systemd began, once it has started everything; empty before that."""
    script = "systemctl is-system-running --wait >/dev/null; systemctl show -p UserspaceTimestampMonotonic --value"
    shown = subprocess.run(
        ["docker", "exec", lab.container(host), "sh", "-c", script],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return shown.stdout.strip() if shown.returncode == 0 else ""


def _said_by_systemd(lab: Lab, host: str, since: str) -> list[str]:
    """What systemd did, in its order: `Stopped cron.service`."""
    text = on(lab, host, f"journalctl --since @{since} _PID=1 -o cat | grep -E '^(Started|Stopping|Stopped) '")
    return [" ".join(line.split()[:2]) for line in text.splitlines()]


def test_rolled_back_and_removed_the_hosts_are_as_before(lab: Lab) -> None:
    started = {name: on(lab, host, f"cat /etc/{name}/env.before-poolward") for name, host in MOVED.items()}
    run("deploy/rollback.py", soak=1)
    assert {name: settings_file(lab, name)[1] for name in MOVED} == started
    assert all(direct(lab, name) > 0 and pooled(lab, name) == 0 for name in MOVED)
    run("deploy/remove.py", "--limit", "app1")
    assert "not-found" in on(lab, "app1", "systemctl show pgbouncer.service -p LoadState --value")
    assert on(lab, "app1", "ls -d /etc/pgbouncer /etc/systemd/system/pgbouncer.service.d 2>/dev/null || true") == ""
    assert console(lab, "app2", "SHOW VERSION").startswith("PgBouncer")
    assert all(direct(lab, name) > 0 for name in MOVED)
