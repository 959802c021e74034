"""PgBouncer and PostgreSQL as containers of one host: the same deploy, and no container is made anew without a word."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from lab import recorder
from lab.process_sampler import ProcessSampler
from lab.state import State
from lab.topology import REPOSITORY, Lab
from lab.wait import until
from tests.lab import support
from tests.lab.support import Run, on, settings_with

pytestmark = [pytest.mark.dock1, pytest.mark.usefixtures("deployed_on_dock1")]

INVENTORY = "inventories/docker.py"
FILES = ("pgbouncer.ini", "userlist.txt", "probe.pgpass")
FIRST_OPERATION = "Starting operation:"
A_NEW_CONTAINER = "a new container, which cuts every client of this pooler once"
# Whatever on the host has a name of PgBouncer's or Poolward's, and what they have in the database.
LEFT = r"""
docker ps --all --format '{{.Names}}' | grep -i -e pgbouncer -e poolward || true
docker images --format '{{.Repository}}' | grep '^poolward/' || true
find / -xdev \( -path /proc -o -path /sys -o -path /usr -o -path /var/lib/docker -o -path /var/log \) -prune \
    -o \( -iname '*pgbouncer*' -o -iname '*poolward*' \) -print
docker exec timescale_db psql -XqAt -c "SELECT rolname FROM pg_roles WHERE rolname LIKE 'pgbouncer%'"
docker exec timescale_db psql -XqAt -d tracksolid_db -c "SELECT nspname FROM pg_namespace WHERE nspname = 'pgbouncer'"
docker exec timescale_db sh -c 'grep -i poolward $PGDATA/pg_hba.conf; ls $PGDATA | grep -i poolward' || true
"""


@pytest.fixture(scope="module")
def deployed_on_dock1(dock1: str) -> Run:  # noqa: ARG001 - a fixture asks for another by a parameter alone
    return deployed()


def deployed() -> Run:
    return support.deployed(inventory=INVENTORY)


def pyinfra(**data: object) -> Run:
    return support.pyinfra(data=data, inventory=INVENTORY)


def poolward(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("poolward")), *arguments, INVENTORY]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=False)


def container(lab: Lab) -> str:
    """Which container it is, and since when it runs."""
    return on(lab, "dock1", "docker inspect -f '{{.Id}} {{.State.StartedAt}}' pgbouncer").strip()


def standing(lab: Lab) -> str:
    """The container, its files with their inodes, and the values it runs with."""
    files = " ".join(f"/etc/pgbouncer/{name}" for name in FILES)
    script = f"sha256sum {files} /etc/poolward/docker-compose.yml; stat -c %i {files}; ls -A /etc/pgbouncer"
    return container(lab) + on(lab, "dock1", script) + console(lab, "SHOW CONFIG")


def console(lab: Lab, sql: str) -> str:
    asked = f"psql -XqAt -h /var/run/postgresql -p 6432 -U pgbouncer -d pgbouncer -c '{sql}'"
    return on(lab, "dock1", f"docker exec pgbouncer {asked}").strip()


def psql(lab: Lab, sql: str) -> str:
    return on(lab, "dock1", f"docker exec -i timescale_db psql -XqAt -d tracksolid_db <<'EOF'\n{sql}\nEOF").strip()


def client(lab: Lab) -> psycopg.Connection[tuple[object, ...]]:
    """A client from another machine, through the published port."""
    return support.client(lab, "dock1", password=State(lab).role_passwords("dock1")["worker"])


def images(lab: Lab) -> set[str]:
    """Those a deploy built."""
    return set(
        on(lab, "dock1", "docker images --format '{{.Repository}}:{{.Tag}}' | grep '^poolward/' || true").split()
    )


def databases_with_lookup(lab: Lab) -> list[str]:
    there = "SELECT 1 FROM pg_namespace WHERE nspname = 'pgbouncer'"
    names = on(
        lab, "dock1", "docker exec timescale_db psql -XqAtc 'SELECT datname FROM pg_database WHERE datallowconn'"
    )
    return [
        name
        for name in names.split()
        if on(lab, "dock1", f'docker exec timescale_db psql -XqAt -d {name} -c "{there}"').strip()
    ]


def one_line(run: Run) -> str:
    return " ".join(run.text.split())


def test_a_second_run_changes_nothing(lab: Lab):
    before = standing(lab), on(lab, "dock1", "docker ps -q | sort")
    run = deployed()
    assert run.totals["success"] == run.totals["error"] == 0
    assert (standing(lab), on(lab, "dock1", "docker ps -q | sort")) == before


@dataclass(frozen=True)
class Reload:
    """A deploy that changed one setting while a client held a transaction."""

    run: Run
    containers: tuple[str, str]
    """Before and after."""
    held: tuple[object, object]
    """The backend and the transaction, before and after."""
    committed: str
    running: str
    trial: int
    """Which of the commands given to dock1 tried the candidate."""


@pytest.fixture(scope="module")
def reload(lab: Lab, deployed_on_dock1: Run) -> Reload:  # noqa: ARG001 - a fixture asks for another by a parameter alone
    asked = "SELECT pg_backend_pid(), pg_current_xact_id()::text"
    before = container(lab)
    recorder.reset("dock1")
    with client(lab) as connection:
        connection.execute("UPDATE accounts SET balance = balance WHERE id = 7")
        held = connection.execute(asked).fetchone()
        run = pyinfra(**settings_with(query_wait_timeout=17))
        still = connection.execute(asked).fetchone()
        connection.commit()
    assert held is not None
    committed = psql(lab, f"SELECT pg_xact_status('{held[1]}'::xid8)")
    commands = recorder.commands("dock1")
    trial = 1 + next(place for place, line in enumerate(commands) if "no candidate is staged" in line)
    return Reload(run, (before, container(lab)), (held, still), committed, console(lab, "SHOW CONFIG"), trial)


def test_a_reload_keeps_the_container_and_the_transaction_a_client_has_open(reload: Reload):
    assert reload.run.returncode == 0, reload.run.text
    assert reload.held[0] == reload.held[1]
    assert reload.committed == "committed"
    assert reload.containers[0] == reload.containers[1]
    assert "query_wait_timeout|17|" in reload.running
    said_before = reload.run.stderr.split(FIRST_OPERATION)[0]
    assert "query_wait_timeout: 15 → 17" in said_before
    assert "a reload; clients stay" in said_before


def test_its_secrets_are_nowhere_but_in_their_files(lab: Lab):
    secrets = on(lab, "dock1", "cat /var/lib/poolward/secrets/*").split()
    assert len(secrets) == 2
    recorder.reset("dock1")
    with ProcessSampler() as sampler:
        run = support.pyinfra("-vv", data=settings_with(query_wait_timeout=16), inventory=INVENTORY)
    assert run.returncode == 0
    told = on(lab, "dock1", "docker inspect pgbouncer; docker logs pgbouncer 2>&1; cat /etc/poolward/*")
    commands = recorder.commands("dock1")
    assert any("passfile" in line or "docker exec" in line for line in commands)
    for secret in secrets:
        assert not sampler.having(secret)
        assert secret not in "\0".join((*commands, run.text, told))


def test_what_the_binary_refuses_leaves_the_live_container_alone(lab: Lab):
    before = standing(lab)
    tls = {"client_tls_cert_file": "/etc/pgbouncer/none.crt", "client_tls_key_file": "/etc/pgbouncer/none.key"}
    run = pyinfra(**settings_with(client_tls_sslmode="require", **tls))
    assert run.returncode == 1
    assert "dock1: its own PgBouncer refuses the new configuration: TLS setup failed" in one_line(run)
    assert standing(lab) == before
    assert "pgbouncer-trial" not in on(lab, "dock1", "docker ps --all")


def test_a_new_container_is_said_before_and_serves(lab: Lab):
    before = container(lab)
    run = pyinfra(pgbouncer_publish=["6432:6432", "127.0.0.1:6433:6432"])
    assert run.returncode == 0, run.text
    assert A_NEW_CONTAINER in run.stderr.split(FIRST_OPERATION)[0]
    assert container(lab).split()[0] != before.split()[0]
    assert on(lab, "dock1", "docker port pgbouncer").count("127.0.0.1:6433") == 1
    with client(lab) as connection:
        assert connection.execute("SELECT current_user").fetchone() == ("worker",)


def test_drift_and_a_stopped_container_are_named_and_mended(lab: Lab):
    console(lab, "SET query_wait_timeout = 99")
    seen = poolward("verify")
    assert seen.returncode == 2
    said = " ".join(seen.stdout.split())
    assert "query_wait_timeout: 99 → 15" in said
    assert "127.0.0.1:6433:6432" in said
    on(lab, "dock1", "docker stop -t 1 pgbouncer")
    planned = poolward("plan")
    assert planned.returncode == 2
    assert "exited" in planned.stdout
    run = deployed()
    assert run.totals["success"] == 1
    assert on(lab, "dock1", "docker port pgbouncer").count("6433") == 0


def test_end_state():
    command = [sys.executable, "-m", "pytest", "-q", "tests/endstate", "--inventory", INVENTORY]
    run = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stdout


@contextmanager
def run_held_after(number: int, **data: object) -> Iterator[subprocess.Popen[str]]:
    """A deploy that is held after this command, which tried its candidate: nothing of it is live yet."""
    recorder.reset("dock1")
    recorder.hold_after("dock1", number)
    process = subprocess.Popen(
        support.command(data=data, inventory=INVENTORY), cwd=REPOSITORY, start_new_session=True, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        recorder.wait_held("dock1", 60)
        yield process
    finally:
        recorder.release("dock1")
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def test_a_container_killed_while_it_is_changed_runs_as_before(lab: Lab, reload: Reload):
    before = container(lab).split()[0]
    with run_held_after(reload.trial, **settings_with(query_wait_timeout=18)) as run:
        on(lab, "dock1", "docker kill pgbouncer")
        recorder.release("dock1")
        said, _ = run.communicate(timeout=60)
    assert run.returncode == 1
    assert "is not running" in said
    assert container(lab).split()[0] == before
    assert "query_wait_timeout|15|" in console(lab, "SHOW CONFIG")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"pgbouncer_network": "nowhere"}, "the network nowhere does not exist"),
        ({"pgbouncer_image": "nowhere.invalid/pgbouncer:1"}, "is not on this host and cannot be pulled"),
        ({"pgbouncer_publish": ["6432:6432", "8001:6432"]}, "port 8001 of this host is taken"),
        ({"postgresql_container": "nowhere"}, "there is no running container nowhere"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_is_missing_or_taken_is_said_and_nothing_changes(lab: Lab, data: dict[str, object], said: str):
    before = standing(lab)
    run = pyinfra(**data)
    assert run.returncode == 1
    assert said in one_line(run)
    assert "Traceback" not in run.text
    assert standing(lab) == before


def test_without_an_engine_nothing_is_tried_and_afterwards_all_is_as_it_was(lab: Lab):
    before = container(lab).split()[0]
    on(lab, "dock1", "systemctl stop docker.socket docker.service")
    try:
        run = pyinfra()
        assert run.returncode == 1
        assert one_line(run).count("the Docker engine does not answer") == 2  # of the pooler, and of PostgreSQL
        assert FIRST_OPERATION not in run.text
    finally:
        on(lab, "dock1", "systemctl start docker.socket docker.service")
    asked = "docker exec timescale_db psql -XqAtc 'SELECT 1' || true"
    until("PostgreSQL is back", lambda: on(lab, "dock1", asked).strip() == "1", 60)
    assert container(lab).split()[0] == before
    assert deployed().totals["success"] == 0


def test_a_removal_leaves_nothing_and_a_start_that_fails_leaves_nothing_that_runs(lab: Lab):
    with client(lab):
        refused = support.pyinfra(deploy="deploy/remove.py", inventory=INVENTORY)
        assert refused.returncode == 1
        assert "1 client: worker on tracksolid_db" in one_line(refused)
        assert FIRST_OPERATION not in refused.text
    removed = support.pyinfra(deploy="deploy/remove.py", inventory=INVENTORY)
    assert removed.returncode == 0, removed.text
    # What moved, and when, is for the operator to keep.
    kept = set(on(lab, "dock1", "ls -A /var/lib/poolward 2>/dev/null || true").split())
    assert kept <= {"journal.jsonl", "services.lock"}
    assert on(lab, "dock1", LEFT).split() == ["/var/lib/poolward"] * bool(kept)

    # An image that cannot be built: its base is in no registry here, and goes by another name for a moment.
    on(lab, "dock1", "docker tag debian:trixie-slim kept:base && docker rmi debian:trixie-slim")
    try:
        unbuilt = pyinfra()
        assert unbuilt.returncode == 1
        assert "the image cannot be built" in one_line(unbuilt)
    finally:
        on(lab, "dock1", "docker tag kept:base debian:trixie-slim && docker rmi kept:base")

    taken = pyinfra(pgbouncer_publish=["8001:6432"], pgbouncer_version=None)
    assert taken.returncode == 1
    assert "port 8001 of this host is taken" in one_line(taken)
    assert "pgbouncer" not in on(lab, "dock1", "docker ps --all --format '{{.Names}}'").split()
    assert on(lab, "dock1", "ls -A /etc/pgbouncer").split() == []
    # Which version nobody had declared; the image told it before the database side was made.
    assert databases_with_lookup(lab) == ["postgres"]
    assert len(images(lab)) == 1


def test_an_image_stays_for_the_way_back_and_no_longer(lab: Lab):
    """Follows the removal: the image of no declared version is built, and no container runs."""
    first = images(lab)
    assert pyinfra(pgbouncer_version=None).returncode == 0
    assert images(lab) == first
    assert deployed().totals["error"] == 0
    both = images(lab)
    assert first < both
    assert len(both) == 2
    changed = pyinfra(**settings_with(query_wait_timeout=17))
    assert changed.returncode == 0
    assert images(lab) == both - first
    assert f"the image {''.join(first)} is gone" in changed.text
    assert deployed().totals["error"] == 0
    assert databases_with_lookup(lab) == ["postgres"]
    assert poolward("verify").returncode == 0
