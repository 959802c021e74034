"""The facts are there to look around with: plain JSON on standard output."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lab.topology import REPOSITORY, Lab
from tests.lab.support import INVENTORY, on, psql

pytestmark = pytest.mark.usefixtures("as_declared")


def fact(host: str, name: str) -> dict[str, Any]:
    pyinfra = str(Path(sys.executable).with_name("pyinfra"))
    command = [pyinfra, INVENTORY, "fact", f"poolward.facts.{name}", "--json", "--limit", host]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=True)
    read: dict[str, Any] = json.loads(done.stdout)
    (answer,) = read.values()
    found: dict[str, Any] = answer[host]
    return found


def test_pooler(lab: Lab) -> None:
    found = fact("pool1", "pgbouncer.Pooler")
    assert found["packages"]["pgbouncer"][2] == on(lab, "pool1", "dpkg-query -W -f '${Version}' pgbouncer")
    assert found["console"]["config"]["pool_mode"]["value"] == "transaction"


def test_server(lab: Lab) -> None:
    found = fact("db1", "postgresql.Server")
    assert found["max_connections"] == int(psql(lab, "SHOW max_connections"))
    assert found["roles"]["pgbouncer_probe"]["connection_limit"] == 3
