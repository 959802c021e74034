"""What a deploy changes on a PostgreSQL server. `target` is its host, which `--limit` may have left out of the run."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from pyinfra.api import Host

from poolward import auth, hba, observe, remote, scram, secrets, shell, templates
from poolward.errors import PoolwardError, Refused
from poolward.fleet import PROBE_CONNECTION_LIMIT, PROBE_ROLE, Fleet, Server
from poolward.handover import Handover
from poolward.observed import ServerState, sections
from poolward.operations._step import Change, say, step
from poolward.settings import Version
from poolward.shell.psql import with_variables
from poolward.userlist import Secrets


@dataclass(frozen=True)
class Access:
    """What pg_hba.conf has to let in."""

    databases: Mapping[str, Sequence[str]]
    """By pooler."""
    addresses: Mapping[str, str]
    """By pooler the address its connections come from."""
    seen: frozenset[str]
    """The poolers this run has looked at."""


@step
def poolers_side(
    target: Host,
    server: Server,
    fleet: Fleet,
    versions: Mapping[str, Version | None],
    coming: Mapping[str, Version],
    access: Access,
) -> Generator[Change, None, None]:
    """The server knows its poolers: their secrets, their lines in pg_hba.conf, their roles and the lookup function.

    `versions` are the poolers'; None where the stage before this one brought it, which says in which databases the
    function belongs. `coming` are those that running poolers get later in the run: they need it for both. What follows
    a `yield` runs when that change is made.
    """
    now = _by_now(target, fleet, versions)
    lookups = sorted({name for which in (now, {**now, **coming}) for name in _lookups(fleet, server, which)})
    own = secrets.read(target, server)
    if not own.complete:
        yield partial(_make_secrets, target, server)
        own = secrets.read(target, server)

    state = observe.server(target, server, lookups)
    yield from _host_based_access(target, server, state, access)

    differences = [*auth.differences(server, state, lookups), *_password_differences(own)]
    if differences:
        yield partial(_set_up, target, server, lookups, state, own, differences)
        own = secrets.read(target, server)
    secrets.keep(target, server, own)


_lookups = auth.databases_with_lookup


def _by_now(target: Host, fleet: Fleet, versions: Mapping[str, Version | None]) -> dict[str, Version | None]:
    """The versions, where none was known as they were brought; None where a pooler still has none."""
    return {
        name: version or observe.pooler(target.inventory.get_host(name), fleet.poolers[name]).version
        for name, version in versions.items()
    }


@step
def handed_over(
    target: Host,
    server: Server,
    fleet: Fleet,
    versions: Mapping[str, Version | None],
    coming: Mapping[str, Version],
) -> Generator[Change, None, None]:
    """A server that only its owner changes has what the poolers need; it is looked at again, and nothing is written."""
    lookups = _lookups(fleet, server, {**_by_now(target, fleet, versions), **coming})
    seen = observe.server(target, server, lookups)
    if found := Handover(fleet, server, seen, lookups).problems():
        raise Refused(f"{server.name} has changed since the run began.", found)
    yield from ()


@step
def host_based_access(target: Host, server: Server, access: Access) -> Generator[Change, None, None]:
    """pg_hba.conf lets in exactly this; for when the poolers have let go of what they no longer serve."""
    yield from _host_based_access(target, server, observe.server(target, server, ()), access)


def _host_based_access(
    target: Host, server: Server, state: ServerState, access: Access
) -> Generator[Change, None, None]:
    if not server.manage_hba:
        return
    if state.hba_block is None:
        raise PoolwardError(f"pg_hba.conf of {server.name} was not read.", "A deploy needs root on its host.")
    block = hba.block_of(access.databases, access.addresses, state.hba_block, access.seen)
    if state.hba_block != block or not state.hba_loaded:
        yield partial(write_hba, target, server, block)


def _make_secrets(target: Host, server: Server) -> None:
    secrets.read(target, server, create=True)
    say(f"secrets made on {server.name} under umask 077, readable by root alone")


def write_hba(target: Host, server: Server, block: Sequence[str]) -> None:
    """Put this block into pg_hba.conf, or take it out where it is empty, and reload; raises CommandFailed."""
    read = shell.script("read_hba", "read pg_hba.conf", 20, server.place)
    text = "\n".join(line.removeprefix("|") for line in sections(remote.must(target, read).splitlines())["hba"]) + "\n"
    command = shell.script("write_hba", "replace pg_hba.conf", 30, server.place)
    remote.must(target, command, stdin=hba.with_block(text, block))
    for line in block[1:]:
        say(f"pg_hba.conf: {line}")
    if not block:
        say("pg_hba.conf: Poolward's lines are out, and PostgreSQL has read it again")


def _password_differences(own: Secrets) -> list[str]:
    return [f"the password of {role} is not the one the poolers have" for role in own.differing]


def _set_up(
    target: Host, server: Server, lookups: Sequence[str], state: ServerState, own: Secrets, differences: Sequence[str]
) -> None:
    """Run the set-up in each database, one transaction each, and see that nothing differs any more."""
    for difference in differences:
        say(difference)
    if not own.complete:
        raise PoolwardError(f"The pooler's own secrets are missing on {server.name}.", "Run the deploy again.")
    variables: dict[str, str | int] = {"probe_role": PROBE_ROLE, "probe_connection_limit": PROBE_CONNECTION_LIMIT}
    scripts = ["probe_setup.sql"]
    if server.auth_query:
        variables |= {"auth_role": server.auth_role, "lookup_source": auth.lookup_source(server)}
        scripts.append("auth_setup.sql")
    for role in own.differing:
        name = "probe_verifier" if role == PROBE_ROLE else "auth_verifier"
        variables[name] = scram.verifier(own.own[role] or "")
    sql = "\n".join(templates.text(name) for name in scripts)
    databases = lookups or [server.auth_database]
    for database in databases:
        inside = state.databases[database].inside if lookups else None
        more_rights = {"more_rights": 1} if inside and inside.other_rights else {}
        command = shell.script("run_sql", f"set up {database}", 45, server.place, database=database)
        remote.must(target, command, stdin=with_variables(sql, variables | more_rights))
    left = [
        *auth.differences(server, observe.server(target, server, lookups), lookups),
        *_password_differences(secrets.read(target, server)),
    ]
    if left:
        raise PoolwardError(f"The set-up ran on {server.name}, but this still differs: {'; '.join(left)}.")
    say(f"{' and '.join(scripts)} ran in {', '.join(databases)}")
