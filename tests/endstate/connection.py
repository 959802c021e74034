"""testinfra's paramiko backend, taught what a pyinfra inventory says: known hosts, sudo that asks for a password."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import paramiko
from testinfra.backend.paramiko import IgnorePolicy, ParamikoBackend
from testinfra.host import Host

TIMEOUT = 60


class InventoryBackend(ParamikoBackend):
    """Connects as pyinfra's ssh connector would; the sudo password goes in by standard input and nowhere else."""

    def __init__(self, name: str, data: Mapping[str, Any]) -> None:
        address = str(data.get("ssh_hostname") or name)
        bracketed = f"[{address}]" if ":" in address else address
        login = f"{data['ssh_user']}@{bracketed}" if data.get("ssh_user") else bracketed
        super().__init__(f"{login}:{data.get('ssh_port') or 22}", sudo=bool(data.get("_sudo")))
        self._data = data

    @functools.cached_property
    def client(self) -> paramiko.SSHClient:
        """An ssh connection that takes no unknown host for the right one: the deploy has met them all."""
        data, client = self._data, paramiko.SSHClient()
        client.load_system_host_keys()
        if known_hosts := data.get("ssh_known_hosts_file"):
            client.load_host_keys(str(Path(known_hosts).expanduser()))
        lenient = data.get("ssh_strict_host_key_checking") in ("no", "off")
        client.set_missing_host_key_policy(IgnorePolicy() if lenient else paramiko.RejectPolicy())
        options: dict[str, Any] = {"hostname": self.host.name, "port": int(self.host.port), "timeout": 10}
        options |= {"username": self.host.user, "password": data.get("ssh_password")}
        if key := data.get("ssh_key"):
            options |= {"key_filename": str(Path(key).expanduser()), "passphrase": data.get("ssh_key_password")}
            options |= {"allow_agent": False, "look_for_keys": False}
        config = Path(data.get("ssh_config_file") or "~/.ssh/config").expanduser()
        if config.exists():
            self._load_ssh_config(client, options, paramiko.SSHConfig.from_path(str(config)), str(config.parent))
        client.connect(**options | (data.get("ssh_paramiko_connect_kwargs") or {}))
        return client

    def get_sudo_command(self, command: str, sudo_user: str | None) -> str:
        # -k: with a remembered password sudo would not read ours, and the command would
        asking = "sudo -k -S -p ''" if self._data.get("_sudo_password") else "sudo -n"
        return self.quote(f"{asking} -u %s /bin/sh -c %s", sudo_user or "root", command)

    def private(self, command: str, *args: str, stdin: str = "") -> str:
        """What a command that has to succeed prints, logged nowhere: testinfra's own `run` does log it under -vv."""
        status, stdout, stderr = self._exec_command(self.encode(self.get_command(command, *args)), stdin)
        assert status == 0, f"{self.hostname}: {stderr.decode(errors='replace').strip()}"
        return stdout.decode()

    def _exec_command(self, command: bytes, stdin: str = "") -> tuple[int, bytes, bytes]:
        transport = self.client.get_transport()
        assert transport is not None
        channel = transport.open_session(timeout=TIMEOUT)
        channel.settimeout(TIMEOUT)
        channel.exec_command(command)
        if self.sudo and (password := self._data.get("_sudo_password")):
            stdin = f"{password}\n{stdin}"
        channel.sendall(stdin.encode())
        channel.shutdown_write()
        stdout, stderr = channel.makefile("rb").read(), channel.makefile_stderr("rb").read()
        return channel.recv_exit_status(), stdout, stderr


def connected(name: str, data: Mapping[str, Any]) -> Host:
    """The testinfra host of an inventory's host."""
    backend = InventoryBackend(name, data)
    host = Host(backend)
    backend.set_host(host)
    return host
