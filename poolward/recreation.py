"""Whether a service of Docker Compose's can be made anew with another address for its database, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterable

from pyinfra.api import Host

from poolward import remote
from poolward.errors import Problem
from poolward.observed import ServiceState, sections
from poolward.service import Service
from poolward.shell import services

_MADE_ANEW = re.compile(r"recreat|creating|pull|build|stopping|removing", re.IGNORECASE)
_RUNS = re.compile(r"running|start", re.IGNORECASE)
STOP_SECONDS = 60
"""What a container may take to end by itself; a restart waits for little more."""


def problems(host: Host, declared: Service, state: ServiceState) -> list[Problem]:
    """What a new container would bring that is none of the move's; for a service that no move has begun with."""
    if not declared.compose_service:
        return []
    answer = remote.must(
        host, services.script("observe_recreation", "ask Docker Compose what it would do", 45, declared)
    )
    found = sections(answer.splitlines())
    reasons = [*_differences(state), *_would_do(found["dry run"], declared)]
    up = f"{next((one.compose for one in state.containers), 'docker compose')} up -d {declared.compose_service}"
    hint = f"{up}, at a time of your own choice; then run again"
    result = [Problem(declared.where, reason, hint) for reason in reasons[:1]]
    if others := sorted(set(found["dependents"])):
        result.append(
            Problem(
                declared.where,
                f"{', '.join(others)} live{'s' if len(others) == 1 else ''} in the network of its container, and would "
                "lose that with a new one",
                "move it with its own commands (restart_command), or have it stay direct",
            )
        )
    slow = [one for one in state.containers if one.stop_timeout > STOP_SECONDS]
    for one in slow:
        what = f"the container {one.name} may take {one.stop_timeout} s to stop (stop_grace_period)"
        result.append(Problem(declared.where, what, f"a move waits {STOP_SECONDS} s: give it less, or leave it direct"))
    return result


def _differences(state: ServiceState) -> Iterable[str]:
    written = state.written
    for container in state.containers if written else ():
        assert written
        names = sorted(n for n, value in written.environment.items() if container.environment.get(n) != value)
        if names:
            yield f"its files say another {', '.join(names)} than the container {container.name} was made with"
        if extra := sorted(container.networks - written.networks if written.networks is not None else ()):
            yield f"the container {container.name} is on {', '.join(extra)} by hand, and a new one would not be"


def _would_do(said: list[str], declared: Service) -> Iterable[str]:
    """Read what `docker compose --dry-run up` says (Compose 2.20)."""
    lines = [line.replace("DRY-RUN MODE -", "").strip() for line in said if line.strip()]
    events = [line.split()[-1] for line in lines if not line.startswith(("time=", "level="))]
    if any("unknown flag" in line for line in lines):
        yield "Docker Compose is too old to tell what it would do (--dry-run came with 2.20)"
    elif not any(map(_RUNS.match, events)):
        yield f"Docker Compose cannot tell what it would do with {declared.compose_service}"
    elif any(map(_MADE_ANEW.match, events)):
        yield "its Compose file, image or scale changed since its container was made, and a new one would have that"
