"""Reading a host's state in the middle of a run, with an error that says why it could not be read.

pyinfra's `host.get_fact` hands out a default where a fact fails and only marks the host; a decision must not be built
on that. The facts' own commands and parsers serve both ways.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence

from pyinfra import logger
from pyinfra.api import Host

from poolward import conninfo, direct, remote, shell
from poolward.errors import CommandFailed
from poolward.fleet import Pooler, Server
from poolward.observed import PoolerState, PoolerTraces, ServerState, ServerTraces

FULL = ("too many clients already", "remaining connection slots are reserved")
_NOT_ITS_SUPERUSER = re.compile(
    r'role ".*" does not exist|authentication failed for user|no password supplied|permission denied for .* pg_'
)
_ATTEMPTS, _PAUSE = 5, 3.0


def pooler(
    host: Host, wanted: Pooler, server_addresses: Sequence[str] = (), *, with_candidate: bool = False
) -> PoolerState:
    """The pooler's state; raises CommandFailed or Unreadable."""
    command = shell.script(
        "observe_pooler",
        "read the pooler's state",
        60,
        wanted.runtime.place,
        server_addresses=list(server_addresses),
        with_candidate=with_candidate,
    )
    return PoolerState.parse(remote.must(host, command).splitlines())


def server(host: Host, wanted: Server, databases: Sequence[str]) -> ServerState:
    """The server's state, asked on its host or by its connection string; raises CommandFailed or Unreadable.

    A server at its limit refuses even a superuser while other superusers hold the reserved connections, so a refusal
    for that reason is tried again a few times: one that ends within seconds is the ordinary peak.
    """
    command = shell.observe_server(wanted, databases)
    for attempt in range(1, _ATTEMPTS + 1):
        output = direct.observe(wanted, databases) if wanted.dsn else remote.run(host, command)
        if output.succeeded:
            return ServerState.parse(output.stdout.splitlines())
        if not any(reason in output.stderr for reason in FULL):
            break
        if attempt < _ATTEMPTS:
            logger.info(f"{host.print_prefix}every connection is taken (SQLSTATE 53300); asking again in {_PAUSE:g} s")
            # No event tells when a connection is free, and each attempt is itself one more login on a full server.
            time.sleep(_PAUSE)
    hint = _who_may_ask(wanted, output.stderr) or what_helps(output.stderr)
    raise CommandFailed(_why_silent(wanted, output.stderr), hint)


def pooler_traces(host: Host, wanted: Pooler) -> PoolerTraces:
    """What Poolward left on a pooler host; raises CommandFailed or Unreadable."""
    command = shell.script("observe_traces", "read what of Poolward's is there", 30, wanted.runtime.place)
    return PoolerTraces.parse(remote.must(host, command).splitlines())


def server_traces(host: Host, wanted: Server) -> ServerTraces:
    """What Poolward left on a server and its host; raises CommandFailed or Unreadable."""
    command = shell.observe_server_traces(wanted)
    return ServerTraces.parse(remote.must(host, command).splitlines())


def _why_silent(wanted: Server, stderr: str) -> str:
    if any(reason in stderr for reason in FULL):
        return (
            f"{wanted.name}: all connections are taken, the superusers' reserve too (SQLSTATE 53300), "
            f"in {_ATTEMPTS} attempts over {_PAUSE * (_ATTEMPTS - 1):g} s."
        )
    return f"{wanted.name}: PostgreSQL could not be asked: {remote.last_lines(stderr)}"


def _who_may_ask(wanted: Server, stderr: str) -> str:
    """The next step where a server in a container does not let us in, or not as its superuser."""
    if wanted.dsn or not wanted.container or not _NOT_ITS_SUPERUSER.search(stderr):
        return ""
    return (
        f'postgresql_superuser = "…" names a superuser who may log in over the socket in {wanted.container} with no '
        "password; left out, it is the container's POSTGRES_USER, else postgres."
    )


def what_helps(stderr: str) -> str:
    """The next step after PostgreSQL said this; empty where it stands there already."""
    if any(reason in stderr for reason in FULL):
        return "Stop one service, or end idle sessions (pg_terminate_backend), then run again. Nothing was changed."
    if "  → " in stderr:
        return ""
    if "no password supplied" in stderr or "password authentication failed" in stderr:
        return f"{conninfo.ELSEWHERE}."
    if "session is read-only" in stderr:
        return "It is read-only on purpose: write target_session_attrs=primary, not read-write."
    if "No such file or directory" in stderr or "Connection refused" in stderr:
        return "PostgreSQL does not run there, or not on this port (postgresql_port)."
    return "Look at the server's log, then run again."
