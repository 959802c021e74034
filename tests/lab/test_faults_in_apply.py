"""What fails while a pooler's configuration is applied: all of it holds or none of it, and the next run works."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from lab import recorder
from lab.topology import REPOSITORY, Lab
from lab.wait import until
from tests.lab.support import client, command, console, deployed, main_pid, on, pyinfra, running_config, settings_with

pytestmark = pytest.mark.usefixtures("as_declared")

INI = "/etc/pgbouncer/pgbouncer.ini"
SWITCH = "# Put the staged files in place"


def written(lab: Lab) -> str:
    return on(lab, "pool1", f"cat {INI} /etc/pgbouncer/userlist.txt | sha256sum")


@contextmanager
def free_pages(lab: Lab, count: int) -> Iterator[None]:
    """/etc/pgbouncer of pool1 on a disk of its own with this many blocks of 4 KiB left."""
    script = f"""
        rm -rf /run/kept; cp -a /etc/pgbouncer /run/kept
        used=$(find /run/kept -type f -printf '%s\\n' | awk '{{ n += int(($1 + 4095) / 4096) }} END {{ print n }}')
        mount -t tmpfs -o size=$((4 * (used + {count})))k,mode=0755 tmpfs /etc/pgbouncer
        cp -a /run/kept/. /etc/pgbouncer/
        """
    on(lab, "pool1", script)
    try:
        yield
    finally:
        on(
            lab,
            "pool1",
            "cp -a /etc/pgbouncer/. /run/kept/; umount -l /etc/pgbouncer; cp -a /run/kept/. /etc/pgbouncer/",
        )


def test_a_full_disk_changes_all_or_nothing(lab: Lab):
    refused = 0
    for count in range(2, 10):  # from room for two of the three new files to enough for all
        timeout = 20 + count
        before, running, pid = written(lab), running_config(lab, "pool1"), main_pid(lab, "pool1")
        with free_pages(lab, count):
            run = pyinfra("--limit", "pool1", data=settings_with(query_wait_timeout=timeout))
            assert main_pid(lab, "pool1") == pid
            if run.returncode == 0:
                assert running_config(lab, "pool1") == {**running, "query_wait_timeout": str(timeout)}
                assert f"query_wait_timeout = {timeout}\n" in on(lab, "pool1", f"cat {INI}")
            else:
                assert "No space left on device" in run.text, count
                assert running_config(lab, "pool1") == running, count
                assert written(lab) == before, count
            client(lab, "pool1").close()
        if run.returncode == 0:
            break
        refused += 1
    assert 0 < refused < 8
    assert deployed().totals["success"] == 1
    assert on(lab, "pool1", "ls -A /etc/pgbouncer").split().count(".poolward") == 0


@pytest.fixture(scope="module")
def switch() -> int:
    """Which of the commands that a changing run gives pool1 is the switch."""
    recorder.reset("pool1")
    run = pyinfra("--limit", "pool1", data=settings_with(query_wait_timeout=31))
    assert run.returncode == 0, run.text
    return 1 + next(place for place, line in enumerate(recorder.commands("pool1")) if SWITCH in line)


@contextmanager
def held_after(number: int) -> Iterator[subprocess.Popen[str]]:
    """A run that has switched pool1 and waits for the answer."""
    recorder.reset("pool1")
    recorder.hold_after("pool1", number)
    argv = command("--limit", "pool1", data=settings_with(query_wait_timeout=32))
    with subprocess.Popen(
        argv, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True
    ) as run:
        try:
            recorder.wait_held("pool1", timeout=60)
            yield run
        finally:
            recorder.release("pool1")


def test_a_pooler_that_dies_before_the_proof_is_back_as_it_was(lab: Lab, switch: int):
    before = running_config(lab, "pool1")["query_wait_timeout"]
    with held_after(switch) as run:
        assert running_config(lab, "pool1")["query_wait_timeout"] == "32"
        on(lab, "pool1", "systemctl stop pgbouncer.service")
        recorder.release("pool1")
        said = run.communicate(timeout=120)[0]
    assert run.returncode == 1
    assert "After the switch this still differs: pgbouncer.service" in said
    assert "The previous configuration is back and running." in said
    assert running_config(lab, "pool1")["query_wait_timeout"] == before != "32"
    assert f"query_wait_timeout = {before}\n" in on(lab, "pool1", f"cat {INI}")
    client(lab, "pool1").close()


@pytest.mark.usefixtures("put_back")
def test_a_connection_lost_after_the_switch_leaves_one_whole_configuration(lab: Lab, switch: int):
    with held_after(switch) as run:
        sessions = on(lab, "pool1", "pgrep -u operator '^sshd'").split()
        assert sessions
        on(lab, "pool1", f"kill {' '.join(sessions)}")
        said = run.communicate(timeout=120)[0]
    assert run.returncode == 1
    assert "pool1: the connection broke while it was asked to switch to the new configuration" in said
    shown = running_config(lab, "pool1")["query_wait_timeout"]
    assert f"query_wait_timeout = {shown}\n" in on(lab, "pool1", f"cat {INI}")
    client(lab, "pool1").close()
    again = pyinfra("--limit", "pool1", data=settings_with(query_wait_timeout=32))
    assert again.returncode == 0, again.text
    assert running_config(lab, "pool1")["query_wait_timeout"] == "32"


def test_a_pooler_that_hangs_is_restarted_and_that_is_said_before(lab: Lab):
    pid = main_pid(lab, "pool1")
    on(lab, "pool1", f"kill -STOP {pid}")
    until("it is stopped", lambda: "T (stopped)" in on(lab, "pool1", f"cat /proc/{pid}/status"), timeout=5)
    run = pyinfra("--limit", "pool1")
    assert run.returncode == 0, run.text
    before = run.text.split("Starting operation")[0]
    assert "pgbouncer.service: silent on its console" in before
    assert "a restart, which cuts every client" in before
    assert main_pid(lab, "pool1") not in ("0", pid)
    assert console(lab, "pool1", "SHOW VERSION").startswith("PgBouncer 1.")
    client(lab, "pool1").close()
