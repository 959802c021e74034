"""How PgBouncer is to run on a host, by the operator's words: what they mean to a package, and to a container."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from poolward.declared_knobs import Knobs
from poolward.errors import Problem
from poolward.runtime import Docker, Package, Runtime

# A port as Compose publishes it, with the address to publish it on or without.
_PUBLISHED = re.compile(r"(?:(?:[0-9.]+|\[[0-9a-fA-F:.]+\]):)?[1-9][0-9]{0,4}:[1-9][0-9]{0,4}")


def read(name: str, knobs: Knobs, problems: list[Problem]) -> Runtime:
    """How PgBouncer runs there; what is wrong with it goes to `problems`."""
    if knobs.runtime == "package":
        for knob in ("network", "image", "publish"):
            if getattr(knobs, knob):
                hint = 'pgbouncer_runtime = "docker" is what it is for'
                problems.append(Problem(name, f"pgbouncer_{knob} means nothing to a package", hint))
        return Package(knobs.version if knobs.version and "-" in knobs.version else None)
    if not knobs.network:
        problems.append(
            Problem(
                name,
                'pgbouncer_runtime = "docker" needs the network the container joins',
                'pgbouncer_network = "the one PostgreSQL and the services are on"; docker network ls shows them',
            )
        )
    problems += _container_problems(f"{name}: pgbouncer_settings", knobs.written)
    port = str(knobs.written.get("listen_port", 6432))
    for line in knobs.publish:
        if not _PUBLISHED.fullmatch(line) or line.rpartition(":")[2] != port:
            hint = f'pgbouncer_publish = ["127.0.0.1:{port}:{port}"], the last being listen_port'
            problems.append(Problem(name, f"pgbouncer_publish: {line!r} is no ADDRESS:PORT:{port}", hint))
    return Docker(knobs.network or "", knobs.image, tuple(knobs.publish), knobs.version)


def _container_problems(where: str, written: Mapping[str, Any]) -> Iterable[Problem]:
    """What only a host has."""
    addresses = written.get("listen_addr", "*")
    named = addresses if isinstance(addresses, list) else str(addresses).split(",")
    if strangers := [one for one in map(str.strip, named) if one not in ("*", "0.0.0.0", "::", "127.0.0.1", "::1")]:
        message = f"listen_addr = {', '.join(strangers)}: a container has no address of its host"
        yield Problem(where, message, 'listen_addr = "*", and pgbouncer_publish says where the host listens')
    for key in ("logfile", "pidfile", "syslog"):
        if str(written.get(key, "")) not in ("", "0"):
            yield Problem(where, f"{key}: a container has neither a place for it nor a need", "docker logs has the log")
