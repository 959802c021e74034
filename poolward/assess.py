"""The scan before services move: who holds the connections, what would break, in which order to go; it only reads."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeVar

from poolward import inventory, survey  # isort: skip - inventory loads pyinfra, which must come before paramiko
from pyinfra.api import State

from poolward import env_file, hazards, observe, remote, settings, shell, sizing, watch
from poolward.assessment import Assessment, ServerLoad
from poolward.attribution import attribute
from poolward.errors import PoolwardError, Problem, Refused
from poolward.fleet import PROBE_ROLE, Fleet
from poolward.hazards import Declared, Pool
from poolward.holders import holders, identify, owners
from poolward.observed import ApplicationState, PoolerState
from poolward.observed.scan import Scan
from poolward.service import Service
from poolward.settings import Version
from poolward.shell.psql import with_variables
from poolward.watch import Asked

T = TypeVar("T")
_PATIENCE, _PAUSE = 15.0, 3.0
"""Seconds to ask a full server again, and between two times."""


def make(path: str, window: float, interval: float) -> Assessment:
    """Assess the fleet of an inventory over `window` seconds, with a sample every `interval` seconds."""
    samples = sizing.samples(window, interval)
    with inventory.opened(path) as state:
        return take(state, inventory.read_fleet(state.inventory), samples, interval)


def take(state: State, fleet: Fleet, samples: int, interval: float) -> Assessment:
    """Look at all sides, sample the servers, look again; raises Refused when anything of it cannot be read."""
    _by_their_hosts(fleet)
    poolers = survey.together(
        {
            name: partial(observe.pooler, inventory.host(state, name), pooler, with_candidate=True)
            for name, pooler in fleet.poolers.items()
        }
    )
    # A pooler that does not run yet has no clients.
    running = {name: pooler for name, pooler in fleet.poolers.items() if poolers[name].active}
    look = partial(watch.look, state, dataclasses.replace(fleet, poolers=running), _asked(state, fleet))
    before = _patiently(look)
    scans = survey.together({name: partial(_scan, state, fleet, name, samples, interval) for name in fleet.servers})
    after = _patiently(look)

    versions = {name: _version(fleet, name, found) for name, found in poolers.items()}
    declared = [_declared(service, fleet, versions, after.applications) for service in fleet.services]
    places = {service.name: (service.host, service.unit) for service in declared}
    identities = identify(fleet, [before.seen, after.seen], places)
    attributed = attribute(declared, identities, scans, tracked=hazards.tracked(versions.values()))
    owned = owners(after.seen, places)
    loads = [
        ServerLoad(
            name,
            now=len(sessions.backends),
            peak=max(scans[name].peak, len(sessions.backends), len(before.seen.sessions[name].backends)),
            limit=sessions.limit,
            holders=tuple(holders(name, sessions.backends, owned)),
        )
        for name, sessions in after.seen.sessions.items()
    ]
    return Assessment.of(attributed, loads, scans, versions, samples * interval, interval)


def _by_their_hosts(fleet: Fleet) -> None:
    problems = [
        Problem(name, "is known by a connection string alone", "the scan needs its host; a cutover goes on without it")
        for name, server in fleet.servers.items()
        if server.dsn
    ]
    if problems:
        raise Refused("Not every server can be scanned; no host was changed.", problems)


def _asked(state: State, fleet: Fleet) -> dict[str, list[Asked]]:
    """What to ask every application host: a process of a service that is not declared counts, too."""
    asked: dict[str, list[Asked]] = {host.name: [] for host in state.inventory.groups.get("apps", ())}
    for service in fleet.services:
        asked.setdefault(service.host, []).append(Asked(service))
    return asked


def _declared(
    service: Service,
    fleet: Fleet,
    versions: Mapping[str, Version | None],
    applications: Mapping[str, ApplicationState],
) -> Declared:
    behind = [fleet.poolers[service.pooler]] if service.pooler in fleet.poolers else list(fleet.poolers.values())
    known = [(versions[p.name] or settings.OLDEST, {**p.defaults, **p.settings}) for p in behind]
    file = applications[service.host].services[service.name].text
    try:
        lost = hazards.lost_options(service, env_file.variables(file.content), known) if file else None
    except PoolwardError:
        lost = None  # nobody knows: the assessment says so
    return Declared(service.name, service.host, service.owner, _pool(service, fleet), lost)


def _pool(service: Service, fleet: Fleet) -> Pool:
    """The kind of pool a service is declared for, by the mode of the entry where it names one."""
    if not service.moves:
        return "direct"
    modes = {
        str(entry.keys.get("pool_mode", pooler.effective("pool_mode")))
        for pooler in fleet.poolers.values()
        for entry in pooler.entries
        if entry.name == service.pool
    }
    return "session" if (modes or {service.pool}) == {"session"} else "transaction"


def _version(fleet: Fleet, name: str, found: PoolerState) -> Version | None:
    return found.version or fleet.poolers[name].declared_version or found.candidate_version


def _scan(state: State, fleet: Fleet, name: str, samples: int, interval: float) -> Scan:
    server = fleet.servers[name]
    features = {"features": shell.sql("session_features")}
    command = shell.script(
        "scan_server",
        "scan the server's sessions",
        math.ceil(samples * interval) + 90,
        server.place,
        samples=samples,
        interval=f"{interval:g}",
        sample_sql=with_variables(shell.sql("sample_signs"), features),
        temporary_sql=shell.sql("observe_temporary"),
        login_settings_sql=shell.sql("observe_login_settings"),
        statements_sql=with_variables(shell.sql("observe_statements"), features),
    )
    host = inventory.host(state, name)
    scan = _patiently(lambda: Scan.parse(remote.must(host, command).splitlines(), samples, name))
    return scan.without({server.auth_role, PROBE_ROLE})


def _patiently(ask: Callable[[], T]) -> T:
    """Ask a server that is full again, for a while: a scan is wanted most when every connection is taken."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            return ask()
        except PoolwardError as error:
            if not any(reason in str(error) for reason in observe.FULL):
                raise
            if time.monotonic() > deadline:
                raise PoolwardError(error.message, observe.what_helps(str(error))) from error
        # No event tells when a connection is free, and each attempt is itself one more login on a full server.
        time.sleep(_PAUSE)
