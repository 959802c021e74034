"""Asking a PostgreSQL server by its connection string, where there is no host to log in to. It only reads."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence

from poolward.errors import CommandFailed
from poolward.fleet import Server
from poolward.remote import Output

_OBSERVE_TIMEOUT, _SESSIONS_TIMEOUT = 60, 15


def observe(server: Server, databases: Sequence[str]) -> Output:
    """What `observe_server.sh` prints on a host; raises CommandFailed when no answer comes in time."""
    return _asked(server, _OBSERVE_TIMEOUT, ask="observe", databases=list(databases), auth_role=server.auth_role)


def sample(server: Server, count: int, interval: float, timeout: int) -> Output:
    """What `sample_activity.sh` prints on a host; raises CommandFailed when it takes longer than `timeout` seconds."""
    return _asked(server, timeout, ask="sample", count=count, interval=interval)


def sessions(server: Server) -> Output:
    """What `observe_sessions.sh` prints on a host; raises CommandFailed when no answer comes in time."""
    return _asked(server, _SESSIONS_TIMEOUT, ask="sessions")


def log_in(server: Server, role: str, password: str) -> Output:
    """Whether a role may log in with this password: `ok`, `wrong`, or why that could not be told."""
    return _asked(server, _SESSIONS_TIMEOUT, ask="log_in", role=role, password=password)


def _asked(server: Server, timeout: int, **question: object) -> Output:
    """The answer of a process of its own, in which psycopg may wait as it likes."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "poolward.session"],
            input=json.dumps({"dsn": server.dsn, **question}),
            capture_output=True,
            timeout=timeout,
            check=False,
            text=True,
        )
    except subprocess.TimeoutExpired:
        message = f"{server.name}: PostgreSQL did not answer by its connection string within {timeout} s."
        raise CommandFailed(message, "Check the network between here and it, then run again.") from None
    return Output(done.stdout, done.stderr, done.returncode == 0)
