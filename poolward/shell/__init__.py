"""The only builder of command lines, and the only place that quotes.

Each remote command is one POSIX shell script from this folder with its variables in front. Gathering a host's state in
one script is what keeps a run short: the price of a remote command is the round trip, not the work.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from poolward.fleet import PROBE_ROLE, Server
from poolward.runtime import Place

SCRIPTS = Path(__file__).parent
SQL = SCRIPTS.parent / "sql"
KILL_AFTER = 60
"""Seconds a script that ran out of time has to put back what it changed before it is killed."""
READ_ONLY = (
    "-c default_transaction_read_only=on -c search_path=pg_catalog -c statement_timeout=15000 -c lock_timeout=3000"
)
"""libpq's `options` of a session that cannot write by the server's word; nor does a search_path that somebody set on a
role or a database lend it a function of theirs."""
PRELUDE = f"""set -eu
given_umask=$(umask)
umask 077
cd /
export LC_ALL=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
read_only='{READ_ONLY}'"""

_OUT_OF_BOUND = (
    "{{ ended=$?; case $ended in "
    "124) echo 'it took longer than {0} s' >&2 ;; "
    "137) echo 'it was killed: it took longer than {0} s, or the host ran out of memory' >&2 ;; "
    "esac; exit $ended; }}"
)

Variable = str | int | bool | Iterable[str]


@dataclass(frozen=True)
class Command:
    """A command line, what it is for (it completes "could not …") and its bound in seconds."""

    text: str
    purpose: str
    timeout: int


def script(
    name: str,
    purpose: str,
    timeout: int,
    place: Place | None = None,
    /,
    parts: Iterable[str] = (),
    **variables: Variable,
) -> Command:
    """A script of this folder as one bounded command; iterables become one line per item, booleans `yes` or nothing.

    `place` brings the libraries that say how things are done where it runs, and their variables; `parts` are other
    scripts that only define functions, for those scripts that need them.
    """
    known: dict[str, Variable] = {**place.variables, **variables} if place else variables
    assignments = "\n".join(f"{key}={shlex.quote(_text(value))}" for key, value in known.items())
    libraries = place.libraries if place else ()
    texts = [(SCRIPTS / f"{one}.sh").read_text() for one in ("common", *libraries, *parts, name)]
    body = "\n".join((PRELUDE, assignments, *texts))
    bounded = f"timeout -k {KILL_AFTER} {timeout} sh -c {shlex.quote(body)}"
    return Command(f"{bounded} || {_OUT_OF_BOUND.format(timeout)}", purpose, timeout)


def _text(value: Variable) -> str:
    if isinstance(value, bool):
        return "yes" if value else ""
    if isinstance(value, (str, int)):
        return str(value)
    items = list(value)
    if any("\n" in item for item in items):
        raise ValueError("a list item with a line break cannot be passed to a script")
    return "\n".join(items)


def sql(name: str) -> str:
    """The text of a file of poolward/sql."""
    return (SQL / f"{name}.sql").read_text()


def own_roles(auth_role: str) -> str:
    """The poolers' own roles as the SQL files take them."""
    return json.dumps([auth_role, PROBE_ROLE])


def observe_server(server: Server, databases: Iterable[str]) -> Command:
    """The command that reads a PostgreSQL server's state, as the operating system's postgres."""
    return script(
        "observe_server",
        "read PostgreSQL's state",
        60,
        server.place,
        databases=databases,
        auth_role=server.auth_role,
        own_roles=own_roles(server.auth_role),
        server_sql=sql("observe_server"),
        passwords_sql=sql("observe_passwords"),
        hba_sql=sql("observe_hba"),
        database_sql=sql("observe_database"),
    )


def read_verifiers(server: Server, roles: Iterable[str]) -> Command:
    """The command that reads the stored verifiers of roles; what it prints is secret."""
    wanted = json.dumps(list(roles))
    return script("read_verifiers", "read verifiers", 20, server.place, roles=wanted, sql=sql("read_verifiers"))


def observe_server_traces(server: Server) -> Command:
    """The command that reads what a removal has to know of a PostgreSQL server, as the operating system's postgres."""
    return script(
        "observe_server_traces",
        "read what of Poolward's is on PostgreSQL",
        120,
        server.place,
        own_roles=own_roles(server.auth_role),
        secrets=(server.auth_role, PROBE_ROLE),
        server_sql=sql("observe_server_traces"),
        database_sql=sql("observe_database_traces"),
    )
