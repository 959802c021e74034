"""What fails around a deploy: it ends with a sentence and a non-zero exit, nothing is half done, the next run works."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from lab import recorder
from lab.docker import docker
from lab.state import State
from lab.topology import REPOSITORY, Lab, host_named
from lab.wait import until
from tests.lab.support import client, command, deployed, main_pid, on, psql, pyinfra, running_config, settings_with

pytestmark = pytest.mark.usefixtures("as_declared")

FIRST_OPERATION = "Starting operation"
# Takes every free connection as the superuser, so the reserve too, and each that becomes free, until its input ends.
CROWD = """
import select, sys, psycopg
host, password = sys.stdin.readline().rstrip("\\n").split(" ", 1)
held, told = [], False
while not select.select([sys.stdin], [], [], 0.02)[0]:
    try:
        held.append(psycopg.connect(host=host, user="postgres", password=password, dbname="postgres"))
    except psycopg.OperationalError:
        if not told:
            print("full", flush=True)
        told = True
"""


@contextmanager
def crowd(lab: Lab) -> Iterator[subprocess.Popen[str]]:
    """db1 has no connection left, not even for a superuser, until the yielded process loses its input."""
    argv = ["docker", "exec", "-i", lab.container("app1"), "python3", "-c", CROWD]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        try:
            process.stdin.write(f"{lab.address(host_named('db1'))} {State(lab).role_passwords()['postgres']}\n")
            process.stdin.flush()
            assert process.stdout.readline() == "full\n"
            yield process
        finally:
            process.stdin.close()


def test_an_unreachable_pooler_stops_the_run_before_anything(lab: Lab):
    before = main_pid(lab, "pool1"), running_config(lab, "pool1")
    docker("pause", lab.container("pool2"))
    try:
        run = pyinfra(data=settings_with(query_wait_timeout=16))
    finally:
        docker("unpause", lab.container("pool2"))
    assert run.returncode == 1
    assert re.search(r"\[pool2\] (SSH error|Could not connect)", run.text)
    assert "Traceback" not in run.text
    assert FIRST_OPERATION not in run.text
    assert (main_pid(lab, "pool1"), running_config(lab, "pool1")) == before
    assert deployed().totals["success"] == 0


def test_a_database_host_outside_the_run_that_cannot_be_reached_is_named(lab: Lab):
    # Only new connections are turned away: what runs on the host does not notice.
    on(lab, "db1", "systemctl stop ssh.socket ssh.service 2>/dev/null; ! ss -Hltn 'sport = :22' | grep .")
    try:
        run = pyinfra("--limit", "pool1")
    finally:
        on(lab, "db1", "systemctl start ssh.service")
    assert run.returncode == 1
    assert "db1 cannot be reached" in run.text
    assert FIRST_OPERATION not in run.text


def test_a_wrong_sudo_password_is_said_in_one_sentence(lab: Lab):
    run = pyinfra(data={"_sudo_password": "canary-wrong", **settings_with(query_wait_timeout=16)})
    assert run.returncode == 1
    assert "pool2: sudo refuses the password" in run.text
    assert "canary-wrong" not in run.text
    assert FIRST_OPERATION not in run.text
    assert running_config(lab, "pool1")["query_wait_timeout"] == "15"


def test_postgresql_down_is_refused_and_the_next_run_works(lab: Lab):
    on(lab, "db1", "systemctl stop postgresql@17-main.service")
    try:
        run = pyinfra(data=settings_with(query_wait_timeout=16))
    finally:
        on(lab, "db1", "systemctl start postgresql@17-main.service")
    assert run.returncode == 1
    assert "db1: PostgreSQL could not be asked" in run.text
    assert "PostgreSQL does not run there" in run.text
    assert FIRST_OPERATION not in run.text
    assert running_config(lab, "pool1")["query_wait_timeout"] == "15"
    assert deployed().totals["success"] == 0


def test_a_full_server_ends_the_run_after_a_few_attempts(lab: Lab):
    recorder.reset("db1")
    with crowd(lab):
        address, password = lab.address(host_named("db1")), State(lab).role_passwords()["postgres"]
        ask = f"import psycopg, sys; psycopg.connect(host='{address}', user='postgres', password=sys.stdin.read())"
        refused = ["docker", "exec", "-i", lab.container("app1"), "python3", "-c", ask]
        done = subprocess.run(refused, input=password, capture_output=True, text=True, check=False)
        assert "too many clients already" in done.stderr
        run = pyinfra()
    assert run.returncode == 1
    assert "db1: all connections are taken, the superusers' reserve too (SQLSTATE 53300), in 5 attempts" in run.text
    assert "pg_terminate_backend" in run.text
    assert FIRST_OPERATION not in run.text
    assert len(recorder.commands("db1")) == 5


def test_a_server_that_frees_up_in_time_lets_the_run_go_on(lab: Lab):
    assert psql(lab, "SHOW max_connections") == "100"
    recorder.reset("db1")
    with crowd(lab) as process:
        run = subprocess.Popen(
            command("--json"), cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        until("the server has turned the run away", lambda: failed_commands("db1"), timeout=30)
        assert process.stdin
        process.stdin.close()
        results = json.loads(run.communicate(timeout=120)[0])["results"]
    assert run.returncode == 0
    assert results["totals"]["success"] == results["totals"]["error"] == 0


def failed_commands(host: str) -> int:
    return sum(1 for record in recorder.records(host) if record.status)


def test_a_killed_pooler_comes_back_by_itself_and_needs_no_deploy(lab: Lab):
    killed = main_pid(lab, "pool1")
    on(lab, "pool1", f"kill -KILL {killed}")

    def back() -> bool:
        try:
            client(lab, "pool1").close()
        except psycopg.OperationalError:
            return False
        return main_pid(lab, "pool1") not in ("0", killed)

    until("systemd has started it again", back, timeout=15)
    assert deployed().totals["success"] == 0


def test_without_a_journal_the_deploy_still_works(lab: Lab):
    units = "systemd-journald.socket systemd-journald-dev-log.socket systemd-journald-audit.socket"
    on(lab, "pool1", f"systemctl stop {units} systemd-journald.service 2>/dev/null || true")
    try:
        for timeout in (16, 15):
            run = pyinfra("--limit", "pool1", data=settings_with(query_wait_timeout=timeout))
            assert run.returncode == 0, run.text
            assert running_config(lab, "pool1")["query_wait_timeout"] == str(timeout)
    finally:
        on(lab, "pool1", "systemctl start systemd-journald.socket systemd-journald.service")
