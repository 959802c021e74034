"""What the lab consists of, as data: its hosts, their addresses, the services on them."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

Group = Literal["databases", "poolers", "apps", "docker"]
Shape = Literal["url", "dsn", "jdbc", "variables", "libpq"]

REPOSITORY = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Host:
    name: str
    group: Group
    suite: str
    number: int
    """Its place in the lab's subnet: the fourth part of the address."""
    sudo_password: bool = False
    optional: bool = False

    @property
    def image(self) -> str:
        return {"databases": "database", "poolers": "pooler", "apps": "app", "docker": "dock"}[self.group]


@dataclass(frozen=True)
class Service:
    name: str
    host: str
    port: int
    role: str
    database: str
    shape: Shape
    pool: int
    peak: int
    workload: Literal["write", "transfer", "read"]
    prepared: bool = False
    session_sql: str = ""
    options: str = ""

    @property
    def unit(self) -> str:
        return f"{self.name.replace('_', '-')}.service"


HOSTS = (
    Host("db1", "databases", "trixie", 11),
    Host("db2", "databases", "trixie", 12, optional=True),
    Host("pool1", "poolers", "trixie", 21),
    Host("pool2", "poolers", "bookworm", 22, sudo_password=True),
    Host("pool3", "poolers", "forky", 23, optional=True),
    Host("app1", "apps", "trixie", 31),
    Host("app2", "apps", "trixie", 32),
    Host("dock1", "docker", "trixie", 41, optional=True),
)

# The nine services of the incident: 47 connections on a quiet day, 117 asked for at the peak, of 100.
MAIN = "tracksolid_db"
ARCHIVE = "tracksolid-archive"
# On db2, beside another database of the name ARCHIVE.
BILLING = "billing"
SERVICES = (
    Service("webhook_receiver", "app1", 8001, "postgres", MAIN, "url", 8, 20, "write"),
    Service("ingest_worker", "app1", 8002, "postgres", MAIN, "variables", 8, 20, "write", prepared=True),
    Service("dashboard_api", "app1", 8003, "postgres", MAIN, "url", 6, 18, "read"),
    Service("worker", "app1", 8004, "postgres", MAIN, "dsn", 6, 15, "transfer"),
    Service("cron", "app2", 8005, "postgres", ARCHIVE, "libpq", 3, 6, "transfer"),
    Service("gateway", "app2", 8006, "postgres", MAIN, "jdbc", 6, 16, "write"),
    Service("grafana", "app2", 8007, "grafana_ro", MAIN, "variables", 5, 12, "read"),
    Service(
        "analytics_mcp", "app2", 8008, "analytics_ro", MAIN, "url", 2, 4, "read",
        session_sql="SET default_transaction_read_only TO on",
        options="-c default_transaction_read_only=on -c statement_timeout=30000",
    ),
    Service("scheduler", "app2", 8009, "scheduler", MAIN, "url", 3, 6, "transfer", prepared=True),
)  # fmt: skip


@dataclass(frozen=True)
class Lab:
    """One lab on this machine. Several live side by side under different names and subnets."""

    name: str = "poolward"
    subnet: str = "10.77.0.0/24"

    @classmethod
    def from_environment(cls) -> Lab:
        """The lab that LAB_NAME names, in LAB_SUBNET."""
        return cls.named(os.environ.get("LAB_NAME", cls.name), os.environ.get("LAB_SUBNET", cls.subnet))

    @classmethod
    def named(cls, name: str, subnet: str) -> Lab:
        """A lab in this subnet; one that is up keeps the subnet it has."""
        kept = cls(name).directory / "subnet"
        return cls(name, kept.read_text() if kept.exists() else subnet)

    @property
    def label(self) -> str:
        return f"org.poolward.lab={self.name}"

    @property
    def network(self) -> str:
        return self.name

    @property
    def directory(self) -> Path:
        return REPOSITORY / ".lab" / self.name

    @cached_property
    def _network(self) -> ipaddress.IPv4Network:
        return ipaddress.IPv4Network(self.subnet)

    def container(self, host: str) -> str:
        return f"{self.name}-{host}"

    def address(self, host: Host) -> str:
        return str(self._network[host.number])


def host_named(name: str) -> Host:
    return next(host for host in HOSTS if host.name == name)
