"""What tests of faults in a move share: a run under way, the moment to strike, and what must be true afterwards."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psycopg

from lab.docker import docker
from lab.topology import REPOSITORY, Lab, host_named
from lab.wait import until
from tests.lab import cutover_support as support
from tests.lab.support import INVENTORY, client, command, on, psql

NAME, UNIT, HOST, POOLER = "worker", "worker.service", "app1", "pool1"
JOURNAL = "/var/lib/poolward/journal.jsonl"
Standing = Literal["direct", "pooled"]
PATIENCE = 150.0
"""Seconds after which a run has ended, whatever happens to it."""


@dataclass
class Run:
    """A run of pyinfra that goes on."""

    process: subprocess.Popen[str]
    began: float
    lines: int
    """How many the journal of the service's host had before."""

    def steps(self) -> list[str]:
        """The steps in the journal on this side, so far; a look that found everything in its place is a `good look`."""
        recent = [path for path in (REPOSITORY / "journal").glob("*.jsonl") if path.stat().st_mtime >= self.began]
        lines = [line for path in recent for line in path.read_text().splitlines()]
        events = [json.loads(line) for line in lines if line.endswith("}")]
        mine = [event for event in events if event["at"] >= self.began and event.get("service") == NAME]
        return ["good look" if event.get("problems") == [] else event["step"] for event in mine]

    def host_came_to(self, lab: Lab, step: str) -> bool:
        """Whether a step is in the journal of the service's host; looks for two seconds, on the host itself."""
        look = f'tail -n +{self.lines + 1} {JOURNAL} | grep -q \'"step": "{step}"\''
        return on(lab, HOST, f"for _ in $(seq 100); do if {look}; then echo yes; break; fi; sleep 0.02; done") != ""

    def wait(self) -> str:
        """Everything it said, once it has ended."""
        said = self.process.communicate(timeout=PATIENCE)[0]
        assert "Traceback" not in said, said
        return said

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@contextmanager
def moving(lab: Lab, deploy: str = support.CUTOVER, soak: float = 2) -> Iterator[Run]:
    """A run that moves the service, or takes it back."""
    began, lines = time.time(), int(on(lab, HOST, f"(cat {JOURNAL} 2>/dev/null || :) | wc -l"))
    arguments = command(data={"only": NAME, "soak": soak}, deploy=deploy)
    with subprocess.Popen(
        arguments,
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        run = Run(process, began, lines)
        try:
            yield run
        finally:
            if process.poll() is None:
                run.kill()


def reaches(lab: Lab, run: Run, place: str) -> None:
    """Wait until a run comes to a step: `host: switched` in the journal of the service's host, else in its own."""
    where, _, step = place.rpartition(": ")
    there: Callable[[], bool] = (lambda: run.host_came_to(lab, step)) if where else (lambda: step in run.steps())
    until(f"the run comes to {place}", lambda: there() or run.process.poll() is not None, 90, interval=0.02)
    assert run.process.poll() is None, f"the run ended before it came to {place}:\n{run.wait()}"


@dataclass(frozen=True)
class Original:
    """The service before any move."""

    metadata: str
    settings: str
    sessions: int

    @classmethod
    def of(cls, lab: Lab) -> Original:
        metadata, settings = support.settings_file(lab, NAME)
        assert "port=5432" in settings
        return cls(metadata, settings, len(support.sockets(lab, NAME, 5432)))

    def moved(self, lab: Lab) -> str:
        """What the settings have to be behind the pooler, to the byte."""
        pooler = lab.address(host_named(POOLER))
        return self.settings.replace("host=db1", f"host={pooler}").replace("port=5432", "port=6432")


def whole(lab: Lab, original: Original) -> Standing:
    """Where the service is; fails unless it is wholly there, by the kernel, the server, the pooler and `services`."""
    metadata, settings = support.settings_file(lab, NAME)
    assert metadata == original.metadata
    standing: Standing = "direct" if settings == original.settings else "pooled"
    kept = {"direct": ["env"], "pooled": ["env", "env.before-poolward"]}[standing]
    assert settings == (original.settings if standing == "direct" else original.moved(lab))
    assert support.beside(lab, NAME) == kept
    if standing == "pooled":
        assert on(lab, HOST, f"cat /etc/{NAME}/env.before-poolward") == original.settings
    count = original.sessions
    wanted = (count, 0) if standing == "direct" else (0, count)

    def seen() -> tuple[int, int]:
        return support.direct(lab, NAME), support.pooled(lab, NAME, POOLER)

    # Its pool waits twice as long after each attempt that fails, up to half a minute after an outage of some seconds.
    until(f"its {count} sessions are {standing}", lambda: seen() == wanted, timeout=60)
    shown = services()[NAME]
    assert (shown["standing"], shown["direct"], shown["pooled"]) == (standing, *wanted)
    return standing


def services() -> dict[str, dict[str, Any]]:
    """What `poolward services` says."""
    program = str(Path(sys.executable).with_name("poolward"))
    done = subprocess.run(
        [program, "services", INVENTORY, "--json"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, 2), done.stderr
    return {row["name"]: row for row in json.loads(done.stdout)["services"]}


def lease_is_free(lab: Lab) -> bool:
    return on(lab, "db1", "cat /var/lib/poolward/lease 2>/dev/null || true") == ""


def balanced(lab: Lab) -> None:
    """No transfer between accounts was lost by half, in either database."""
    for database in ("tracksolid_db", "tracksolid-archive"):
        assert psql(lab, "SELECT sum(balance) FROM accounts", database) == "100000"


class Ledger(threading.Thread):
    """A client through the pooler that writes numbered rows and remembers those whose commit was acknowledged."""

    def __init__(self, lab: Lab) -> None:
        super().__init__(daemon=True)
        self.lab = lab
        self.acknowledged: list[int] = []
        self.errors: list[float] = []
        self.done = threading.Event()

    def run(self) -> None:
        number = 0
        while not self.done.is_set():
            try:
                with client(self.lab, POOLER) as connection:
                    connection.autocommit = True
                    while not self.done.wait(0.02):
                        number += 1
                        connection.execute("INSERT INTO fault_ledger VALUES (%s)", (number,))
                        self.acknowledged.append(number)
            except psycopg.Error:
                self.errors.append(time.time())
                self.done.wait(0.2)


@contextmanager
def ledger(lab: Lab) -> Iterator[Ledger]:
    """Rows written all the while; at the end every acknowledged one is there."""
    psql(
        lab,
        "CREATE TABLE IF NOT EXISTS fault_ledger (number bigint); TRUNCATE fault_ledger; "
        "GRANT INSERT ON fault_ledger TO worker",
        "tracksolid_db",
    )
    book = Ledger(lab)
    book.start()
    try:
        until("rows are written", lambda: book.acknowledged, timeout=10)
        yield book
        behind = len(book.acknowledged)
        until("rows are written again", lambda: len(book.acknowledged) > behind, timeout=30)
        book.done.set()
        book.join()
        kept = set(map(int, psql(lab, "SELECT number FROM fault_ledger", "tracksolid_db").split()))
        assert set(book.acknowledged) <= kept
    finally:
        book.done.set()
        book.join()
        psql(lab, "DROP TABLE fault_ledger", "tracksolid_db")


# The faults themselves, each with means of the lab.


def host_loses_power(lab: Lab, host: str) -> None:
    """Killed as it stands, and started again."""
    docker("kill", lab.container(host))
    docker("start", lab.container(host))


@contextmanager
def powered_off(lab: Lab, host: str, unit: str = "pgbouncer.service") -> Iterator[None]:
    """A host that is gone for a while, and back when that unit runs."""
    docker("kill", lab.container(host))
    try:
        yield
    finally:
        docker("start", lab.container(host))
        runs = f"systemctl is-active {unit} 2>/dev/null | grep -x active || :"
        until(f"{unit} runs on {host} again", lambda: on(lab, host, runs), timeout=60)


@contextmanager
def slow_to_mark(lab: Lab) -> Iterator[None]:
    """A disk that takes its time for the mark of a move; what was kept before that is on it already."""
    path = "/usr/local/sbin/sync"
    body = 'case $* in unproved.part) sleep 20 ;; esac\nexec /usr/bin/sync "$@"'
    on(lab, HOST, f"install -m 755 /dev/stdin {path} <<'END'\n#!/bin/sh\n{body}\nEND")
    try:
        yield
    finally:
        on(lab, HOST, f"rm {path}")


def ssh_drops(lab: Lab, host: str) -> None:
    """Every ssh session ends; sshd itself takes new ones."""
    on(lab, host, "pgrep -u operator '^sshd' | xargs -r kill -KILL")


@contextmanager
def cut_off(lab: Lab, host: str) -> Iterator[None]:
    """What the host sends to the operator's machine gets lost: commands arrive, and their answers do not."""
    gateway = on(lab, host, "ip route show default").split()[2]
    on(lab, host, f"ip neigh replace {gateway} lladdr 02:00:00:00:00:01 dev eth0 nud permanent")
    try:
        yield
    finally:
        on(lab, host, f"ip neigh del {gateway} dev eth0")


@contextmanager
def full_disk(lab: Lab, pages: int) -> Iterator[None]:
    """The service's settings on a disk of their own with this many blocks of 4 KiB left.

    The copy is newer than the service's process, so the service starts anew with it.
    """
    folder = f"/etc/{NAME}"
    on(
        lab,
        HOST,
        f"""
        rm -rf /run/kept; cp -a {folder} /run/kept
        mount -t tmpfs -o size={4 * (pages + 1)}k,mode=0755 tmpfs {folder}
        cp -a /run/kept/. {folder}/
        systemctl restart {UNIT}
        """,
    )
    try:
        yield
    finally:
        on(lab, HOST, f"umount -l {folder}; rm -r /run/kept; systemctl restart {UNIT}")


@contextmanager
def drop_in(lab: Lab, text: str) -> Iterator[None]:
    """The service's unit with something more."""
    path = f"/etc/systemd/system/{UNIT}.d/fault.conf"
    on(lab, HOST, f"install -D /dev/stdin {path} <<'END'\n[Service]\n{text}\nEND\nsystemctl daemon-reload")
    try:
        yield
    finally:
        on(lab, HOST, f"rm -r {path.rpartition('/')[0]}; systemctl daemon-reload")
