"""What could not be looked at, and what would allow it: a server known by a connection string shows less. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from poolward import auth
from poolward.budget import Seen
from poolward.fleet import PROBE_ROLE, Pooler, Server
from poolward.observed import ServerState

_COMMANDS = "pgbouncer_auth_secret_command and pgbouncer_probe_secret_command"


@dataclass(frozen=True, order=True)
class Unseen:
    """One thing nobody looked at: where, what, and what would allow it."""

    where: str
    what: str
    needs: str


def of(seen: Seen) -> list[Unseen]:
    """Everything that was to be looked at and could not be."""
    found: list[Unseen] = []
    for name, state in seen.servers.items():
        server = seen.fleet.servers[name]
        found += _of_server(server, state, auth.databases_with_lookup(seen.fleet, server, seen.versions()))
    for pooler in seen.versions():
        for server in seen.fleet.servers_of([pooler]):
            if names := _verifiers_of(seen.fleet.poolers[pooler], server):
                what = f"userlist.txt, whether it holds the verifiers {server.name} has of {', '.join(names)}"
                found.append(Unseen(pooler, what, f"root on {server.name}"))
            if not server.secrets_in_reach:
                own = f"userlist.txt, whether it holds the secret of {server.auth_role}; " if server.auth_query else ""
                what = f"{own}a login through every entry"
                kept = "" if server.hostless else f"the secrets kept on {server.name}, or "
                found.append(Unseen(pooler, what, f"{kept}{_COMMANDS}"))
    return found


def _verifiers_of(pooler: Pooler, server: Server) -> list[str]:
    """The roles whose verifiers stand in userlist.txt and can only be read on the server's host."""
    if not server.dsn or server.hostless:
        return []
    own = [] if server.auth_query else [PROBE_ROLE]
    return [*own, *(user.name for user in pooler.auth_users if user.verifier_from == server.name)]


def _of_server(server: Server, state: ServerState, lookups: Iterable[str]) -> Iterable[Unseen]:
    if any(role.password is None for role in state.roles.values()):
        yield Unseen(server.name, "what kind of password each role has (SCRAM, md5, none)", "a superuser (pg_authid)")
    if server.dsn and not server.hostless:  # else the poolers' own logins tell
        yield Unseen(server.name, "whether the stored passwords are the poolers' own", f"root on {server.name}")
    if state.hba is None:
        yield Unseen(
            server.name,
            "the rules of pg_hba.conf, whether they let the poolers in",
            f"GRANT SELECT ON pg_hba_file_rules TO {state.read_as}; "
            f"GRANT EXECUTE ON FUNCTION pg_hba_file_rules() TO {state.read_as}",
        )
    if (state.hba_loaded is None or state.hba_block is None) and not server.hostless:
        what = "pg_hba.conf itself: Poolward's own lines, and whether it was changed after PostgreSQL last read it"
        yield Unseen(server.name, what, f"root on {server.name}")
    for name in lookups:
        if name in state.databases and state.databases[name].inside is None:
            why = state.databases[name].unread
            needs = f"CONNECT for {state.read_as}, and a line in pg_hba.conf. PostgreSQL said: {why}"
            yield Unseen(server.name, f"schema, lookup function and grants in {name}", needs)
