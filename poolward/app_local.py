"""Poolers on the application hosts themselves: how services there reach theirs, and what such a host needs. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from poolward import settings
from poolward.errors import Problem
from poolward.fleet import Pooler
from poolward.runtime import Package

_ANY = {"*": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1", "localhost": "127.0.0.1"}


def front(written: Mapping[str, Any]) -> str:
    """Where services on a pooler's own host find it: a loopback address, else its Unix socket's directory.

    `written` is what goes into `[pgbouncer]`. Empty where it listens on neither.
    """
    listens = settings.text(settings.known("pgbouncer", "listen_addr"), written.get("listen_addr", ""))
    addresses = [_ANY.get(address.strip(), address.strip()) for address in listens.split(",")]
    return next(filter(is_loopback, addresses), str(written.get("unix_socket_dir", "")))


def problems(poolers: Iterable[Pooler], apps: Collection[str]) -> Iterable[Problem]:
    """What is wrong with the app-local poolers; `apps` are the hosts that services run on."""
    for pooler in poolers:
        if not pooler.app_local:
            continue
        if pooler.name not in apps:
            yield Problem(
                pooler.name,
                'pgbouncer_topology = "app-local" is for a host that services run on, but it is not in `apps`',
                f'name it in both groups: poolers = [("{pooler.name}", {{}})], apps = [("{pooler.name}", {{}})]',
            )
        if not pooler.hostname:
            yield Problem(
                f"{pooler.name}: pgbouncer_settings",
                "services on its host find it neither by a loopback address nor by a Unix socket",
                'listen_addr = "127.0.0.1", or listen_addr = "" with unix_socket_dir = "/var/run/postgresql"',
            )
        if not isinstance(pooler.runtime, Package):
            yield Problem(
                pooler.name,
                "an app-local pooler runs as a package: in a container its clients' processes and loopback are others",
                f'leave out pgbouncer_runtime = "docker", or pgbouncer_topology = "app-local" of {pooler.name}',
            )
        if pooler.peers:
            yield Problem(
                f"{pooler.name}: pgbouncer_peers",
                "nothing stands in front of app-local poolers: each request to cancel reaches the right one",
                f"leave {pooler.name} out of it",
            )


def is_loopback(address: str) -> bool:
    """Whether this is an address of the machine itself, and of every other machine itself."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
