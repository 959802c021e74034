"""The Ansible side: what Poolward decided for a deployed fleet, as the variables of ansible/site.yml, and its runs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.hosts import HERE, LAB
from lab.docker import shell
from lab.progress import step
from lab.state import write_secret
from lab.topology import REPOSITORY
from poolward import advice, apply, auth, declaration, hba
from poolward.desired import pooler_config
from poolward.fleet import PROBE_CONNECTION_LIMIT, PROBE_ROLE, Fleet, Server
from poolward.observed import PoolerState, sections
from poolward.shell import observe_server, script

VENV = HERE / ".venv"
# What was configured of a database entry, among what SHOW DATABASES also counts.
DATABASE_COLUMNS = ("name", "host", "port", "database", "force_user", "pool_size", "reserve_pool", "reserve_pool_size",
                    "pool_mode", "max_connections")  # fmt: skip


def install() -> None:
    """ansible-core, pinned, in a virtual environment of its own."""
    if not (VENV / "bin/ansible-playbook").exists():
        with step("installing ansible-core into benchmarks/.venv"):
            subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
            pip = [str(VENV / "bin/pip"), "install", "--quiet", "--disable-pip-version-check"]
            subprocess.run([*pip, "--requirement", str(HERE / "requirements.txt")], check=True)


def write_inventory(path: Path, hosts: Iterable[str]) -> None:
    """An Ansible inventory of these hosts, all of them deployed by Poolward and proved."""
    wanted, data = read_fleet()
    (server,) = wanted.servers.values()
    names = [name for name in wanted.poolers if name in set(hosts)]
    states = {name: _pooler_state(name) for name in names}
    variables = {"own_roles": [server.auth_role, PROBE_ROLE], "auth_role": server.auth_role, "probe_role": PROBE_ROLE}
    poolers = {name: _connection(data[name]) | _pooler(wanted, name, states[name]) for name in names}
    versions = {name: state.version for name, state in states.items() if state.version}
    lookups = auth.databases_with_lookup(wanted, server, versions)
    databases = {server.name: _connection(data[server.name]) | _server(wanted, server, lookups)}
    groups = {"databases": {"hosts": databases}, "poolers": {"hosts": poolers}}
    write_secret(path, json.dumps({"all": {"vars": variables, "children": groups}}, indent=1))


def run(inventory: Path) -> subprocess.CompletedProcess[str]:
    command = [str(VENV / "bin/ansible-playbook"), "--inventory", str(inventory), str(HERE / "ansible/site.yml")]
    environment = {"ANSIBLE_CONFIG": str(HERE / "ansible/ansible.cfg"), "ANSIBLE_HOME": str(inventory.parent)}
    return subprocess.run(
        command, env={**os.environ, **environment}, cwd=HERE, capture_output=True, text=True, check=False
    )


def changed(done: subprocess.CompletedProcess[str]) -> int:
    """How many tasks changed something, on all hosts."""
    return sum(map(int, re.findall(r"changed=(\d+)", done.stdout)))


def read_fleet() -> tuple[Fleet, dict[str, dict[str, Any]]]:
    """The fleet of benchmarks/fleet.py as pyinfra loads it, and every host's data."""
    command = [sys.executable, "-m", "poolward.dump_inventory", "benchmarks/fleet.py"]
    listing = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    found = json.loads(listing)
    return declaration.read(found["hosts"], found["groups"]), found["hosts"]


def _connection(data: dict[str, Any]) -> dict[str, Any]:
    return {
        "ansible_host": data["ssh_hostname"],
        "ansible_user": data["ssh_user"],
        "ansible_ssh_private_key_file": data["ssh_key"],
        "ansible_ssh_common_args": f"-o UserKnownHostsFile={data['ssh_known_hosts_file']} -o StrictHostKeyChecking=yes",
        **({"ansible_become_password": data["_sudo_password"]} if "_sudo_password" in data else {}),
    }


def _pooler(wanted: Fleet, name: str, state: PoolerState) -> dict[str, Any]:
    assert state.version
    assert state.console
    config = pooler_config(wanted, name, state.version)
    left = apply.differences(config, state)
    assert not left, f"{name} is not as declared: {left}"
    return {
        "sections": _ini_sections(config.ini),
        "listen_port": config.port,
        "open_files_need": config.open_files_need,
        "open_files": config.open_files,
        "open_files_hard": max(65536, config.open_files),
        "writable": re.findall(r"^ReadWritePaths=(.*)$", config.service_file, re.MULTILINE)[0].split(),
        "database_host": config.servers[0].name,
        "pooled_entries": [entry.name for entry in config.pooler.entries],
        "declared_settings": [{"key": key, "value": row.value} for key, row in state.console.config.items()],
        "database_columns": DATABASE_COLUMNS,
        "declared_databases": [
            {column: row[column] for column in DATABASE_COLUMNS if column in row} for row in state.console.databases
        ],
    }


def _server(wanted: Fleet, server: Server, lookups: tuple[str, ...]) -> dict[str, Any]:
    command = observe_server(lookups, server.port, server.auth_role)
    found = sections(shell(LAB.container(server.name), command.text).splitlines())
    roles = json.loads("".join(found["server"]))["roles"]
    addresses = {name: pooler.address for name, pooler in wanted.poolers.items() if pooler.address}
    find_hba = "cd /; runuser -u postgres -- psql -XqAt -c 'SHOW hba_file'"
    return {
        "pooled_databases": wanted.pooled_databases[server.name],
        "lookup_databases": {name: json.loads("".join(found[f"database {name}"])) for name in lookups},
        "lookup_source": auth.lookup_source(server),
        "probe_connection_limit": PROBE_CONNECTION_LIMIT,
        "declared_roles": {name: roles[name] for name in (server.auth_role, PROBE_ROLE)},
        "hba_file": shell(LAB.container(server.name), find_hba).strip(),
        "hba_block": hba.lines(advice.databases_by_pooler(wanted, server), addresses),
    }


def _pooler_state(name: str) -> PoolerState:
    command = script("observe_pooler", "read the pooler's state", 60, server_addresses=[], with_candidate=False)
    return PoolerState.parse(shell(LAB.container(name), command.text).splitlines())


def _ini_sections(ini: str) -> list[tuple[str, list[list[str]]]]:
    """The sections and lines of a pgbouncer.ini, for its template."""
    found: list[tuple[str, list[list[str]]]] = []
    for line in ini.splitlines():
        if line.startswith("["):
            found.append((line.strip("[]"), []))
        elif line and not line.startswith(";"):
            found[-1][1].append([part.strip() for part in line.split("=", 1)])
    return found
