"""What a deploy changes on a PostgreSQL server. `target` is its host, which `--limit` may have left out of the run."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence

from pyinfra.api import Host

from poolward import auth, hba, observe, remote, scram, secrets, shell, templates
from poolward.errors import PoolwardError
from poolward.fleet import PROBE_CONNECTION_LIMIT, PROBE_ROLE, Server
from poolward.observed import sections
from poolward.operations._step import Change, say, step
from poolward.shell.psql import with_variables


@step
def own_secrets(target: Host, server: Server) -> Generator[Change, None, None]:
    """The pooler's own secrets exist on the database host, or come from the operator's command."""
    if not secrets.read(target, server).complete:

        def make() -> None:
            secrets.read(target, server, create=True)
            say(f"made on {server.name} under umask 077, readable by root alone")

        yield make


@step
def host_based_access(
    target: Host, server: Server, databases: Mapping[str, Sequence[str]], addresses: Mapping[str, str]
) -> Generator[Change, None, None]:
    """pg_hba.conf has the poolers' lines; `databases` and `addresses` by pooler name."""
    state = observe.server(target, server, ())
    block = hba.block_of(databases, addresses, state.hba_block)
    if state.hba_block == block and state.hba_loaded:
        return

    def write() -> None:
        read = shell.script("read_hba", "read pg_hba.conf", 20, port=server.port)
        text = "\n".join(line.removeprefix("|") for line in sections(remote.must(target, read).splitlines())["hba"])
        command = shell.script("write_hba", "replace pg_hba.conf", 30, port=server.port)
        remote.must(target, command, stdin=hba.with_block(text, block))
        for line in block[1:]:
            say(f"pg_hba.conf: {line}")

    yield write


@step
def auth_setup(target: Host, server: Server, databases: Sequence[str]) -> Generator[Change, None, None]:
    """Roles, schema and lookup function are right in each of these databases, and the stored passwords agree."""
    own = secrets.read(target, server)
    state = observe.server(target, server, databases)
    differences = auth.differences(server, state, databases)
    if not own.auth_matches:
        differences.append(f"the password of {server.auth_role} is not the one the poolers have")
    if not own.probe_matches:
        differences.append(f"the password of {PROBE_ROLE} is not the one the poolers have")
    if not differences:
        return

    def set_up() -> None:
        for difference in differences:
            say(difference)
        if own.auth is None or own.probe is None:
            raise PoolwardError(f"The pooler's own secrets are missing on {server.name}.", "Run the deploy again.")
        variables: dict[str, str | int] = {
            "auth_role": server.auth_role,
            "probe_role": PROBE_ROLE,
            "probe_connection_limit": PROBE_CONNECTION_LIMIT,
            "lookup_source": auth.lookup_source(server),
        }
        if not own.auth_matches:
            variables["auth_verifier"] = scram.verifier(own.auth)
        if not own.probe_matches:
            variables["probe_verifier"] = scram.verifier(own.probe)
        for database in databases:
            more_rights = {"more_rights": 1} if state.databases[database].other_rights else {}
            sql = with_variables(templates.text("auth_setup.sql"), variables | more_rights)
            command = shell.script("run_sql", f"set up {database}", 45, port=server.port, database=database)
            remote.must(target, command, stdin=sql)
        left = auth.differences(server, observe.server(target, server, databases), databases)
        stored = secrets.read(target, server)
        if left or not (stored.auth_matches and stored.probe_matches):
            raise PoolwardError(
                f"auth_setup.sql ran on {server.name}, but this still differs: {'; '.join(left) or 'the password'}."
            )

    yield set_up
