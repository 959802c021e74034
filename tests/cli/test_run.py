"""`poolward run` and `poolward verify`: what pyinfra lets pass as a success is an error here. No host is needed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


def call(program: str, *arguments: str, folder: Path = REPOSITORY) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name(program)), *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def empty(tmp_path: Path) -> str:
    inventory = tmp_path / "empty.py"
    inventory.write_text("poolers = []\ndatabases = []\n")
    return str(inventory)


@pytest.fixture
def local(tmp_path: Path) -> str:
    """An inventory whose one host is reachable but plays no part."""
    inventory = tmp_path / "local.py"
    inventory.write_text('apps = ["@local"]\n')
    return str(inventory)


def test_plain_pyinfra_calls_an_empty_inventory_a_success(empty: str) -> None:
    """Why the guard exists; should pyinfra change, the README's warning can go."""
    assert call("pyinfra", "-y", empty, "deploy/pgbouncer.py").returncode == 0


def test_an_empty_inventory_is_an_error(empty: str) -> None:
    run = call("poolward", "run", "pgbouncer", empty)
    assert run.returncode == 1
    assert "No host came to the end of the run" in run.stderr


def test_a_limit_that_matches_nothing_is_an_error(local: str) -> None:
    assert call("pyinfra", "-y", "--limit", "typo", local, "deploy/pgbouncer.py").returncode == 0
    run = call("poolward", "run", "pgbouncer", local, "--limit", "typo")
    assert run.returncode == 1
    assert "No host came to the end of the run" in run.stderr


def test_no_wait_is_refused(local: str) -> None:
    run = call("poolward", "run", "pgbouncer", local, "--no-wait")
    assert run.returncode == 1
    assert "--no-wait" in run.stderr


def test_an_inventory_without_poolers_is_refused_with_both_missing_groups(local: str) -> None:
    run = call("poolward", "run", "pgbouncer", local)
    assert run.returncode == 1
    assert "no host in the group `poolers`" in run.stderr
    assert "no host in the group `databases`" in run.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["run", "pgbouncer"], "Missing argument 'INVENTORY'"),
        (["run", "pgbuoncer", "inventories/lab.py"], "There is no deploy/pgbuoncer.py."),
        (["run", "pgbouncer", "inventories/typo.py"], "There is no inventory inventories/typo.py."),
        (["verify", "inventories/typo.py"], "There is no inventory inventories/typo.py."),
        (["verify"], "Missing argument 'INVENTORY'"),
        (["verify", "inventories/lab.py", "--limit", "typo"], "--limit typo matches no host"),
        (["assess", "inventories/typo.py"], "There is no inventory inventories/typo.py."),
        (["assess", "inventories/lab.py", "--window", "0"], "The window is at most 3600 seconds"),
        (["typo"], "No such command 'typo'"),
        (["plan", "inventories/lab.py", "--dsn", "db2=host=x"], "--dsn begins with the name of a host"),
        (["handover", "inventories/lab.py"], "No server of this inventory is known by its connection string alone"),
        (["verify", "inventories/lab.py", "--dsn", "postgresql://me:canary@db1/x?a=b"], "--dsn begins with the name"),
        (["size", "inventories/lab.py", "--dsn", "db1=host=x password=canary"], "has a password in it"),
    ],
)
def test_usage_errors_exit_1_with_a_sentence(arguments: list[str], sentence: str) -> None:
    run = call("poolward", *arguments)
    assert run.returncode == 1
    assert sentence in run.stderr
    assert "canary" not in run.stdout + run.stderr


def test_a_folder_without_config_py_is_refused(tmp_path: Path) -> None:
    run = call("poolward", "run", "pgbouncer", "inventory.py", folder=tmp_path)
    assert run.returncode == 1
    assert "There is no config.py here" in run.stderr


def test_a_failed_host_stops_the_run() -> None:
    """config.py carries FAIL_PERCENT = 0; pyinfra alone would go on with the other hosts."""
    inventory = "@local,unreachable.invalid"
    run = call("pyinfra", "-y", inventory, "exec", "--", "true")
    assert run.returncode == 1
    assert "Over 0% of hosts failed" in run.stderr


@pytest.mark.parametrize(
    ("deploy", "gone", "goes_on"),
    [
        ("rollback", "pool.invalid", True),
        ("rollback", "app.invalid", False),
        ("rollback", "db.invalid", False),
        ("cutover", "pool.invalid", False),
    ],
)
def test_a_rollback_alone_begins_without_a_host_and_only_without_a_pooler(
    tmp_path: Path, deploy: str, gone: str, goes_on: bool
) -> None:
    """@local plays every part but the one that is gone."""
    parts = {"poolers": "pool.invalid", "databases": "db.invalid", "apps": "app.invalid"}
    hosts = {group: name if name == gone else "@local" for group, name in parts.items()}
    inventory = tmp_path / "fleet.py"
    inventory.write_text("".join(f"{group} = [{host!r}]\n" for group, host in hosts.items()))
    service = {
        "name": "worker",
        "host": hosts["apps"],
        "unit": "worker.service",
        "pooler": hosts["poolers"],
        "env_file": str(tmp_path / "env"),
        "url_variables": ["DATABASE_URL"],
    }
    data = {"pgbouncer_databases": {"shop": {"host": hosts["databases"]}}, "services": [service]}
    overrides = [part for key, value in data.items() for part in ("--data", f"{key}={json.dumps(value)}")]
    run = call("pyinfra", "-y", *overrides, str(inventory), f"deploy/{deploy}.py")
    assert run.returncode == 1
    assert ("Over 0% of hosts failed" in run.stderr) == (not goes_on), run.stderr
    assert ("pool.invalid cannot be reached: the way back leads past it." in run.stderr) == goes_on, run.stderr
    assert ("Preparing operation files" in run.stderr) == goes_on


def test_help_and_version_exit_0() -> None:
    assert call("poolward", "--help").returncode == 0
    assert call("poolward", "--version").returncode == 0
