"""A deploy does what changed and no more: nothing, a reload nobody notices, or a restart that was announced."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import psycopg
import pytest

from lab.state import State
from lab.topology import Lab
from tests.lab.support import client, deployed, main_pid, on, psql, purge_pooler, pyinfra, running_config, settings_with

pytestmark = pytest.mark.usefixtures("as_declared")

POOLERS = ("pool1", "pool2")
FILES = (
    "/etc/pgbouncer/pgbouncer.ini",
    "/etc/pgbouncer/userlist.txt",
    "/etc/systemd/system/pgbouncer.service.d/poolward.conf",
)
FIRST_OPERATION = "Starting operation:"


def files(lab: Lab, pooler: str) -> dict[str, str]:
    """Each file's content and inode: a file written again with the same bytes shows too."""
    script = "".join(f'echo "$(sha256sum < {file}) $(stat -c %i {file})"\n' for file in FILES)
    return dict(zip(FILES, on(lab, pooler, script).splitlines(), strict=True))


def soft_limit(lab: Lab, pooler: str) -> int:
    limits = on(lab, pooler, f"cat /proc/{main_pid(lab, pooler)}/limits")
    return next(int(line.split()[3]) for line in limits.splitlines() if line.startswith("Max open files"))


def changes(results: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Every operation that changed a host, without what stands behind a colon in its name, and that host."""
    names = [(operation["name"].split(":")[0], operation["success"]) for operation in results["operations"]]
    return sorted((host, name) for name, hosts in names for host in hosts)


def test_a_second_run_changes_nothing_on_any_host(lab: Lab):
    roles = "SELECT rolname, xmin, rolpassword FROM pg_authid WHERE rolname ~ '^pgbouncer_' ORDER BY 1"
    functions = "SELECT xmin, prosrc FROM pg_proc WHERE proname = 'user_lookup'"

    def everything() -> object:
        poolers = {pooler: (files(lab, pooler), main_pid(lab, pooler)) for pooler in POOLERS}
        hba = on(lab, "db1", "stat -c '%i %Y' /etc/postgresql/17/main/pg_hba.conf")
        return poolers, psql(lab, roles), psql(lab, functions), hba

    before = everything()
    run = deployed()
    assert run.totals["success"] == run.totals["error"] == 0
    looked_at = {host for operation in run.results["operations"] for host in operation["no_change"]}
    assert looked_at >= {"db1", *POOLERS, "app1", "app2"}
    assert everything() == before


@pytest.mark.usefixtures("put_back")
def test_a_reloadable_setting_is_a_reload_that_no_client_notices(lab: Lab):
    poolers = sorted(name for name in State(lab).hosts() if name.startswith("pool"))
    before = {pooler: (files(lab, pooler), main_pid(lab, pooler)) for pooler in POOLERS}
    with client(lab, "pool1") as open_one, client(lab, "pool2") as idle:
        idle.execute("SELECT 1")
        idle.commit()
        open_one.execute("UPDATE accounts SET balance = balance WHERE id = 7")
        held = open_one.execute("SELECT pg_backend_pid(), pg_current_xact_id()::text").fetchone()

        run = deployed(settings_with(query_wait_timeout=17))

        assert open_one.execute("SELECT pg_backend_pid(), pg_current_xact_id()::text").fetchone() == held
        open_one.commit()
        idle.execute("SELECT 1")
    assert held is not None
    assert psql(lab, f"SELECT pg_xact_status('{held[1]}'::xid8)") == "committed"

    assert changes(run.results) == [(name, "PgBouncer | Configuration applied and proved") for name in poolers]
    said_before = run.stderr.split(FIRST_OPERATION)[0]
    assert "query_wait_timeout: 15 → 17" in said_before
    assert "a restart" not in said_before
    for pooler in POOLERS:
        old_files, old_pid = before[pooler]
        new_files = files(lab, pooler)
        assert [file for file in FILES if new_files[file].split()[0] != old_files[file].split()[0]] == [FILES[0]]
        assert main_pid(lab, pooler) == old_pid
        assert running_config(lab, pooler)["query_wait_timeout"] == "17"


def test_another_port_is_a_restart_said_before_and_back(lab: Lab):
    first = main_pid(lab, "pool1")
    there = pyinfra("--limit", "pool1", data=settings_with(listen_port=6433))
    assert there.returncode == 0, there.stderr
    assert "listen_port: 6432 → 6433" in there.stderr.split(FIRST_OPERATION)[0]
    assert "a restart, which cuts every client" in there.stderr.split(FIRST_OPERATION)[0]
    second = main_pid(lab, "pool1")
    assert second != first
    with client(lab, "pool1", port=6433) as connection:
        assert connection.execute("SELECT current_user").fetchone() == ("worker",)
    with pytest.raises(psycopg.OperationalError, match="Connection refused"):
        client(lab, "pool1", port=6432)

    back = pyinfra("--limit", "pool1")
    assert back.returncode == 0, back.stderr
    assert "listen_port: 6433 → 6432" in back.stderr.split(FIRST_OPERATION)[0]
    assert "a restart, which cuts every client" in back.stderr.split(FIRST_OPERATION)[0]
    with client(lab, "pool1") as connection:
        assert connection.execute("SELECT current_user").fetchone() == ("worker",)
    with pytest.raises(psycopg.OperationalError, match="Connection refused"):
        client(lab, "pool1", port=6433)


@pytest.mark.usefixtures("put_back")
def test_more_clients_raise_the_limit_of_the_running_process(lab: Lab):
    pid, limit = main_pid(lab, "pool1"), soft_limit(lab, "pool1")
    run = pyinfra("--limit", "pool1", data=settings_with(max_client_conn=limit + 1000))
    assert run.returncode == 0, run.stderr
    assert main_pid(lab, "pool1") == pid
    assert soft_limit(lab, "pool1") > limit + 1000


@pytest.mark.parametrize("pooler", POOLERS)
def test_the_process_may_open_what_it_needs(lab: Lab, pooler: str):
    # 2000 clients, 25 + 8 + 6 server connections, as many cancel requests, and a quarter more.
    assert soft_limit(lab, pooler) >= 1.25 * (2000 + 2 * (25 + 8 + 6))
    own_estimate = on(lab, pooler, "journalctl -u pgbouncer -o cat | sed -n 's/.*max expected fd use: //p' | tail -n 1")
    assert soft_limit(lab, pooler) >= int(own_estimate)


def test_a_first_install_is_held_and_never_served_half_configured(lab: Lab):
    purge_pooler(lab, "pool1")
    # Only the mask keeps Debian's service down during the installation: no policy of the lab's does.
    assert on(lab, "pool1", "ls /usr/sbin/policy-rc.d 2>&1 || true").endswith("No such file or directory\n")
    began = int(time.time())
    run = pyinfra("--limit", "pool1")
    assert run.returncode == 0, run.stderr
    journal = on(lab, "pool1", f"journalctl -u pgbouncer.service -o cat --since @{began}")
    assert journal.count("process up:") == 1
    assert "listening on 0.0.0.0:6432" in journal
    assert "127.0.0.1" not in journal.split("process up:")[0]
    assert on(lab, "pool1", "apt-mark showhold").split() == ["pgbouncer"]
    assert on(lab, "pool1", "systemctl is-enabled pgbouncer.service pgbouncer.socket || true").split()[0] == "enabled"
