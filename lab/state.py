"""What one lab remembers between commands, in `.lab/<name>/`: keys, passwords, and which containers are complete."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from lab.topology import Lab

# Server → role → what its password ends with. The awkward ones are there to find every place that does not quote.
# `worker` and `dashboard` are on both servers, with another password on each; `postgres` has none on db2. The roles of
# dock1 are those of the services that run there.
ROLE_PASSWORDS = {
    "db1": {
        "postgres": " p%w$d\\'\"@:/?#&é",
        "ingest": "",
        "dashboard": "%24 percent",
        "worker": "$HOME`id`",
        "grafana_ro": "",
        "analytics_ro": " ünï\\code'",
        "scheduler": "+/=;",
        "etl-batch": "\"quoted\"",
        "o'brien-reports": "it's {a} b\\rand",
        "expired_role": "",
        "nologin_role": "",
        "replication_role": "",
        "other_superuser": "",
    },
    "db2": {"worker": "", "dashboard": " 2", "invoicing": "%s;"},
    "dock1": {
        "postgres": " p%w$d'\"@:/?#&é",
        "worker": "$HOME`id`",
        "grafana_ro": "$1 #",
        "analytics_ro": "",
        "scheduler": "+/=;",
    },
}  # fmt: skip


@dataclass(frozen=True)
class ReadyHost:
    """A host that is booted and configured; anything else is made anew."""

    container: str
    image: str
    address: str
    host_key: str


@dataclass(frozen=True)
class Secrets:
    public_key: str
    sudo_password: str
    roles: dict[str, dict[str, str]]
    """By server, by role."""


class State:
    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.directory = lab.directory
        self.ssh_key = self.directory / "ssh_key"
        self.known_hosts = self.directory / "known_hosts"
        self.sudo_password = self.directory / "sudo_password"
        self._hosts = self.directory / "hosts.json"

    def secrets(self) -> Secrets:
        """The lab's secrets, made on the first call."""
        self.directory.parent.mkdir(mode=0o700, exist_ok=True)
        self.directory.mkdir(mode=0o700, exist_ok=True)
        public_key = self.directory / "ssh_key.pub"
        if not public_key.exists():
            key = Ed25519PrivateKey.generate()
            openssh, plain = serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
            write_secret(self.ssh_key, key.private_bytes(serialization.Encoding.PEM, openssh, plain).decode())
            public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
            write_secret(public_key, public.decode())
        if not self.sudo_password.exists():
            write_secret(self.sudo_password, secrets.token_urlsafe(16))
        for server, endings in ROLE_PASSWORDS.items():
            if not self._roles(server).exists():
                roles = {role: secrets.token_urlsafe(9) + ending for role, ending in endings.items()}
                write_secret(self._roles(server), json.dumps(roles, indent=2, ensure_ascii=False))
        passwords = {server: self.role_passwords(server) for server in ROLE_PASSWORDS}
        return Secrets(public_key.read_text(), self.sudo_password.read_text(), passwords)

    def role_passwords(self, server: str = "db1") -> dict[str, str]:
        passwords: dict[str, str] = json.loads(self._roles(server).read_text())
        return passwords

    def _roles(self, server: str) -> Path:
        return self.directory / ("roles.json" if server == "db1" else f"roles-{server}.json")

    def hosts(self) -> dict[str, ReadyHost]:
        if not self._hosts.exists():
            return {}
        return {name: ReadyHost(**fields) for name, fields in json.loads(self._hosts.read_text()).items()}

    def record_hosts(self, hosts: dict[str, ReadyHost]) -> None:
        write_secret(self.directory / "subnet", self.lab.subnet)
        known = "".join(f"{host.address},{name} {host.host_key}\n" for name, host in sorted(hosts.items()))
        write_secret(self.known_hosts, known)
        write_secret(self._hosts, json.dumps({name: asdict(host) for name, host in hosts.items()}, indent=2))


def write_secret(path: Path, content: str) -> None:
    """Write a file that never was readable by anyone else, and never half-written."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(content)
    temporary.replace(path)
