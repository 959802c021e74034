"""Every inventory we ship loads in pyinfra itself and is a fleet that could be deployed. No host is needed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from poolward import declaration
from poolward.fleet import Fleet

REPOSITORY = Path(__file__).parents[2]
INVENTORIES = sorted(path.stem for path in (REPOSITORY / "inventories").glob("*.py"))


@pytest.fixture(scope="module")
def hosts(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    """Every host with its groups and data, as `pyinfra INVENTORY debug-inventory` prints them."""
    pyinfra = str(Path(sys.executable).with_name("pyinfra"))
    run = subprocess.run(
        [pyinfra, f"inventories/{request.param}.py", "debug-inventory", "--json"],
        cwd=REPOSITORY,
        env={**os.environ, "LAB_NAME": "a-lab-that-is-not-up"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    found: list[dict[str, Any]] = json.loads(run.stdout)
    return found


def fleet(hosts: list[dict[str, Any]]) -> Fleet:
    data = {host["name"]: host["data"] for host in hosts}
    groups = {group for host in hosts for group in host["groups"]}
    return declaration.read(data, {group: [h["name"] for h in hosts if group in h["groups"]] for group in groups})


def test_the_examples_of_the_manual_are_there() -> None:
    assert {"prod", "staging", "vagrant", "lab"} <= set(INVENTORIES)


@pytest.mark.parametrize("hosts", INVENTORIES, indirect=True)
def test_it_is_a_fleet(hosts: list[dict[str, Any]]) -> None:
    found = fleet(hosts)  # raises with every problem in it
    assert found.servers
    assert found.poolers
    assert all(pooler.entries for pooler in found.poolers.values())


@pytest.mark.parametrize("hosts", INVENTORIES, indirect=True)
def test_a_helper_did_not_become_a_group(hosts: list[dict[str, Any]]) -> None:
    """pyinfra takes every list in an inventory for a group of hosts."""
    environments = set(INVENTORIES)
    assert {group for host in hosts for group in host["groups"]} - environments == {"databases", "poolers", "apps"}


@pytest.mark.parametrize("hosts", INVENTORIES, indirect=True)
def test_every_service_names_what_exists(hosts: list[dict[str, Any]]) -> None:
    found = fleet(hosts)
    apps = {host["name"] for host in hosts if "apps" in host["groups"]}
    assert found.services
    for service in found.services:
        assert service.host in apps
        assert service.direct or service.pooler in found.poolers


@pytest.mark.parametrize("hosts", INVENTORIES, indirect=True)
def test_only_data_travels_to_the_hosts(hosts: list[dict[str, Any]]) -> None:
    """Every name in a group data file is data to pyinfra, a helper function too."""
    names = {name for host in hosts for name in host["data"]}
    ours = ("pgbouncer_", "postgresql_", "ssh_", "_sudo")
    assert {name for name in names if not name.startswith(ours)} <= {"services", "address"}
