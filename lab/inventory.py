"""The lab as pyinfra hosts, for an inventory to import: pyinfra takes every name defined in that file for a group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lab.state import State
from lab.topology import HOSTS, Group, Host, Lab


def lab_hosts(group: Group, known: Sequence[Host] = HOSTS) -> list[tuple[str, dict[str, Any]]]:
    """The hosts of one group. With no lab up the same hosts at the same addresses, so that the inventory loads."""
    lab = Lab.from_environment()
    state = State(lab)
    ready = state.hosts()
    connection = {
        "ssh_user": "operator",
        "ssh_key": str(state.ssh_key),
        "ssh_known_hosts_file": str(state.known_hosts),
        "ssh_strict_host_key_checking": "yes",
    }
    hosts: list[tuple[str, dict[str, Any]]] = []
    for host in known:
        # The Docker host is a fleet of its own, and named whether it is up or not.
        if host.group == group and (not host.optional or host.group == "docker" or host.name in ready):
            data: dict[str, Any] = {"ssh_hostname": lab.address(host), **connection}
            if host.sudo_password and state.sudo_password.exists():
                data["_sudo_password"] = state.sudo_password.read_text()
            if host.name == "pool3":
                # Three poolers may open more than db1 has; the third is there for its version, not for the load.
                data["pgbouncer_allow_overcommit"] = True
            if host.name == "db2":
                # One userlist.txt holds the secrets of both servers, so each has a name of its own.
                data["pgbouncer_auth_role"] = "pgbouncer_auth_db2"
            hosts.append((host.name, data))
    return hosts
