"""What a removal changes: on a pooler host, and, when no pooler is left, on a PostgreSQL server."""

from __future__ import annotations

import json
from collections.abc import Generator, Sequence
from functools import partial

from pyinfra.api import Host

from poolward import direct_path, hba, observe, remote, removal, shell, templates, watch
from poolward.errors import PoolwardError, Refused
from poolward.fleet import Fleet, Pooler, Server
from poolward.lease import Lease
from poolward.observed import ServerTraces, sections
from poolward.operations import database
from poolward.operations._step import Change, say, step
from poolward.shell.psql import with_variables

_PATIENCE = 5
"""Seconds the sessions of Poolward's roles have to end by themselves, their poolers being gone."""


@step
def begun(lease: Lease) -> Generator[Change, None, None]:
    """No service may move while this goes on; refused where a cutover is under way."""
    yield partial(_take, lease)


@step
def ended(lease: Lease) -> Generator[Change, None, None]:
    """The fleet is free again. A run that does not come here leaves the lease to expire."""
    yield lease.release


@step
def pooler(target: Host, fleet: Fleet, lease: Lease) -> Generator[Change, None, None]:
    """PgBouncer, its service and its files are gone, as far as a deploy brought them; refused while it has clients."""
    declared = fleet.poolers[target.name]
    traces = observe.pooler_traces(target, declared)
    if not traces.any:
        return
    if traces.runs and (clients := removal.pooled(target.name, watch.traffic(target.state, fleet, target.name), {})):
        raise Refused(f"Somebody has come to {target.name} meanwhile; it was not stopped.", clients)
    yield partial(_as_holder, lease, partial(_remove_pooler, target, declared))


@step
def host_based_access(
    target: Host, server: Server, poolers: Sequence[str], lease: Lease
) -> Generator[Change, None, None]:
    """pg_hba.conf lets these poolers in no more; everything else on the server stays for the others."""
    for change in _shut_out(target, server, observe.server_traces(target, server), poolers):
        yield partial(_as_holder, lease, change)


@step
def server(target: Host, server: Server, poolers: Sequence[str], lease: Lease) -> Generator[Change, None, None]:
    """Roles, lookup function, secrets and lines in pg_hba.conf are gone.

    pg_hba.conf comes first: what is shut out opens no session any more, and the roles are dropped when none is left.
    """
    traces = observe.server_traces(target, server)
    if problems := removal.obstacles(server, traces, poolers):
        raise Refused(f"Not everything on {server.name} is Poolward's to remove; it was left as it is.", problems)
    if traces.hba_closed:
        yield partial(_as_holder, lease, partial(_open_direct_paths, target, server))
    shut_out = list(_shut_out(target, server, traces, poolers))
    for change in shut_out:
        yield partial(_as_holder, lease, change)
    if shut_out or traces.roles or traces.databases or traces.files:
        yield partial(_as_holder, lease, partial(_forget, target, server, traces))


def _take(lease: Lease) -> None:
    if took_over := lease.take():
        say(took_over)


def _as_holder(lease: Lease, change: Change) -> None:
    lease.renew()
    change()


def _shut_out(
    target: Host, server: Server, traces: ServerTraces, poolers: Sequence[str]
) -> Generator[Change, None, None]:
    block = hba.without(traces.hba_block, poolers)
    if server.manage_hba and block != traces.hba_block:
        yield partial(database.write_hba, target, server, block)


def _open_direct_paths(target: Host, server: Server) -> None:
    direct_path.write(target, server, ())
    say("pg_hba.conf: the direct paths that deploy/close.py closed are open again")


def _remove_pooler(target: Host, declared: Pooler) -> None:
    command = shell.script("remove_pooler", "take PgBouncer off the host", 300, declared.runtime.place)
    found = sections(remote.must(target, command).splitlines())
    for line in found["stays"]:
        say(f"stays: {line}")
    if found["restored"]:
        say(f"the configuration from before Poolward is back: {', '.join(found['restored'])}")
        say("PgBouncer does not run: systemctl enable --now pgbouncer starts it as it was then")
    others = [file for file in found["left"] if file not in found["restored"]]
    if others:
        say(f"not Poolward's, so it stays: {', '.join(others)}")
    if observe.pooler_traces(target, declared).any:
        raise PoolwardError(f"Not everything went from {target.name}.", "Run it again.")


def _forget(target: Host, server: Server, traces: ServerTraces) -> None:
    """Each database in a transaction of its own, then the roles in one, then the files: any of it may be run again."""
    roles = {"own_roles": json.dumps(removal.own_roles(server))}
    command = shell.script(
        "end_sessions", "end the sessions of its roles", 30, server.place, patience=_PATIENCE, **roles
    )
    remote.must(target, command)
    for name in traces.databases:
        _run(target, server, "auth_remove.sql", name, roles)
    if traces.roles:
        _run(target, server, "roles_remove.sql", "postgres", roles)
    files = observe.server_traces(target, server).files
    remote.must(target, shell.script("remove_files", "remove the secrets", 10, server.place, files=files))
    say(f"gone: {', '.join((*traces.roles, *(f'the lookup function in {name}' for name in traces.databases), *files))}")
    left = observe.server_traces(target, server)
    if left.roles or left.databases or left.files:
        raise PoolwardError(f"Not everything went from {server.name}.", "Run it again.")


def _run(target: Host, server: Server, template: str, name: str, variables: dict[str, str]) -> None:
    command = shell.script("run_sql", f"run {template} in {name}", 45, server.place, database=name)
    remote.must(target, command, stdin=with_variables(templates.text(template), variables))
