"""The lab under Vagrant: `python -m lab.vagrant prepare PROVIDER` writes down what the Vagrantfile builds from.

In `.lab/vagrant/`: machines.json, and per host `<host>.account` (its sudo user) and `<host>.setup` (everything else),
both shell scripts for root. They hold passwords and are made from what the lab itself uses.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from functools import cache
from typing import Any

from lab import apps, database, engine, hosts, images
from lab.docker import file_script
from lab.state import Secrets, State, write_secret
from lab.topology import HOSTS, REPOSITORY, Group, Host, Lab
from poolward.errors import PoolwardError

LAB = Lab.named("vagrant", os.environ.get("LAB_SUBNET", "10.79.0.0/24"))
STATE = State(LAB)
MACHINES = STATE.directory / "machines.json"
VAGRANT_HOSTS = tuple(host for host in HOSTS if not host.optional)
# What the Dockerfiles of images/ put on a host; a virtual machine gets it at its first `vagrant up`.
PACKAGES = {
    "database": "install -y --no-install-recommends postgresql-17 postgresql-17-timescaledb",
    "pooler": "install -y --download-only pgbouncer postgresql-client iproute2 ca-certificates",
    "app": "install -y --no-install-recommends python3 python3-psycopg python3-psycopg-pool",
}


def prepare(provider: str) -> None:
    """Make keys, passwords and scripts, and for Docker the images and the network."""
    secrets = STATE.secrets()
    tags: dict[str, str] = {}
    if provider == "docker":
        engine.ensure()
        engine.room_for_many_hosts()
        tags = images.ensure(VAGRANT_HOSTS)
        hosts.ensure_network(LAB)
    write_secret(STATE.directory / "subnet", LAB.subnet)
    for host in VAGRANT_HOSTS:
        setup = _service_script(host, secrets)
        if provider != "docker":
            setup = _machine_script(host) + _account(host, secrets) + setup
        write_secret(STATE.directory / f"{host.name}.account", _account(host, secrets))
        write_secret(STATE.directory / f"{host.name}.setup", "set -euo pipefail\n" + setup)
    write_secret(MACHINES, json.dumps([_machine(host, tags) for host in VAGRANT_HOSTS], indent=2))


def forget() -> None:
    """Remove network, keys and passwords once the last machine is destroyed."""
    if not list((REPOSITORY / ".vagrant").glob("machines/*/*/id")):
        hosts.down(LAB) if engine.answers() else hosts.forget(LAB)


def vagrant_hosts(group: Group) -> list[tuple[str, dict[str, Any]]]:
    """The hosts of one group, reached as `vagrant ssh-config` says; with no machine up, at their own addresses."""
    endpoints = _endpoints()
    found: list[tuple[str, dict[str, Any]]] = []
    for host in VAGRANT_HOSTS:
        if host.group == group:
            address = LAB.address(host)
            hostname, port = endpoints.get(host.name, (address, 22))
            data: dict[str, Any] = {
                "ssh_hostname": hostname,
                "ssh_port": port,
                "ssh_user": "operator",
                "ssh_key": str(STATE.ssh_key),
                # as Vagrant itself does: a machine made anew has new host keys behind the same forwarded port
                "ssh_strict_host_key_checking": "off",
                "ssh_known_hosts_file": os.devnull,
                # ssh goes through a forwarded port; the machines know each other by these
                "postgresql_address": address,
                "address": address,
            }
            if host.sudo_password and STATE.sudo_password.exists():
                data["_sudo_password"] = STATE.sudo_password.read_text()
            found.append((host.name, data))
    return found


@cache
def _endpoints() -> dict[str, tuple[str, int]]:
    if not MACHINES.exists() or not shutil.which("vagrant"):
        return {}
    done = subprocess.run(
        ["vagrant", "ssh-config"],
        cwd=REPOSITORY,
        env={**os.environ, "VAGRANT_CHECKPOINT_DISABLE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    pattern = r"^Host (\S+)\n\s+HostName (\S+)\n(?:\s+.*\n)*?\s+Port (\d+)"
    return {name: (address, int(port)) for name, address, port in re.findall(pattern, done.stdout, re.MULTILINE)}


def _machine(host: Host, tags: dict[str, str]) -> dict[str, Any]:
    machine: dict[str, Any] = {"name": host.name, "suite": host.suite, "address": LAB.address(host)}
    if tags:
        # The account exists before sshd starts: Vagrant logs in with it.
        boot = f"--volume={STATE.directory / host.name}.account:/run-once/account:ro"
        options = [*hosts.run_options(LAB, host), boot, "--entrypoint=/bin/bash"]
        machine |= {"image": tags[host.name], "container": LAB.container(host.name), "create_args": options}
        machine["command"] = ["-c", ". /run-once/account && exec /usr/local/lib/lab/init"]
    return machine


def _account(host: Host, secrets: Secrets) -> str:
    return hosts.account_script(host, secrets)


def _service_script(host: Host, secrets: Secrets) -> str:
    """What a host does, once: Vagrant runs this at the first `vagrant up`."""
    if host.group == "databases":
        return database.seed_script(LAB, host.name, secrets.roles[host.name])
    return apps.install_script(host.name, secrets.roles["db1"]) if host.group == "apps" else ""


def _machine_script(host: Host) -> str:
    """A Debian box as the images of the lab are: packages, the operator, names, the recorder of commands."""
    script = "export DEBIAN_FRONTEND=noninteractive\napt-get -qq update\n"
    script += f"apt-get -qq {PACKAGES[host.image]} >/dev/null\n"
    script += "id operator >/dev/null 2>&1 || useradd --create-home --shell /bin/bash --gid operator operator\n"
    script += "install -d -m 0750 -o operator -g operator /var/log/lab\n"
    files = images.CONTEXT / "images/host/files"
    for path in ("etc/tmpfiles.d/lab.conf", "etc/ssh/sshd_config.d/lab.conf", "usr/local/lib/lab/record-command"):
        script += file_script(f"/{path}", (files / path).read_text(), "0755" if "lib" in path else "0644")
    if host.group == "databases":
        conf = (images.CONTEXT / "images/database/lab.conf").read_text()
        script += file_script("/etc/postgresql/17/main/conf.d/lab.conf", conf)
    if host.group == "apps":
        script += "id app >/dev/null 2>&1 || useradd --system --no-create-home --shell /usr/sbin/nologin app\n"
        for name in ("service.py", "errors.py"):
            script += file_script(f"/usr/local/lib/lab/{name}", (images.CONTEXT / "services" / name).read_text())
    # A box maps its own name to 127.0.1.1, and PostgreSQL shall listen where the others reach it.
    script += f"sed -i '/^127.0.1.1/d; /# lab$/d' /etc/hosts\nhostnamectl hostname {host.name}\n"
    script += "".join(f"echo '{LAB.address(other)} {other.name} # lab' >>/etc/hosts\n" for other in VAGRANT_HOSTS)
    return script + "systemd-tmpfiles --create /etc/tmpfiles.d/lab.conf\nsystemctl reload ssh\n"


def main(arguments: list[str]) -> None:
    match arguments:
        case ["prepare", provider]:
            prepare(provider)
        case ["forget"]:
            forget()
        case _:
            raise PoolwardError("python -m lab.vagrant prepare PROVIDER | forget", "The Vagrantfile calls it.")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except PoolwardError as error:
        sys.exit(str(error))
