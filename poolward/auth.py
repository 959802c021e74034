"""The database side of the pooler: what the roles, the schema and the lookup function should be, and what differs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from poolward import templates
from poolward.errors import PoolwardError
from poolward.fleet import AUTH_ENTRY_SINCE, PROBE_CONNECTION_LIMIT, PROBE_ROLE, Fleet, Server
from poolward.observed import Function, Inside, Role, ServerState
from poolward.settings import Version

QUERY = "SELECT rolname, rolpassword FROM pgbouncer.user_lookup($1::pg_catalog.text)"
_RESULT = "TABLE(rolname text, rolpassword text)"
# What is answered for whoever may not log in: a name PostgreSQL lets no role have (pg_ is its own), and a verifier that
# no password opens, because nothing is known whose hash is all zeros.
NOBODY, NOBODYS_SECRET = "pg_nobody", f"SCRAM-SHA-256$4096:{'A' * 22}==${'A' * 43}=:{'A' * 43}="
_CONFIG = ("search_path=pg_catalog, pg_temp",)
# The probe ends its own server connection, which PostgreSQL would log as FATAL at every proof and health check.
PROBE_SETTINGS = ("log_min_messages=panic",)
# libpq reads at most 1022 bytes of a service file's line (fe-connect.c, parseServiceFile); PgBouncer's userlist 2047.
_LONGEST_SECRET = 1000


def lookup_source(server: Server) -> str:
    """The body of pgbouncer.user_lookup(text) for this server."""
    return templates.rendered(
        "user_lookup.sql.j2",
        auth_role=server.auth_role,
        allow_superusers=list(server.allow_superusers),
        nobody=NOBODY,
        nobodys_secret=NOBODYS_SECRET,
    )


def databases_with_lookup(fleet: Fleet, server: Server, versions: Mapping[str, Version | None]) -> tuple[str, ...]:
    """Where the function has to be, given each pooler's version.

    From 1.19 a pooler asks in one database of its own (`auth_dbname`); before, in the very database a client wants.
    A pooler whose version is not known yet (None) may turn out to be either. Nowhere without auth_query.
    """
    wanted: set[str] = set()
    if not server.auth_query:
        return ()
    for name, version in versions.items():
        entries = [entry for entry in fleet.poolers[name].entries if entry.server == server.name]
        if entries and (version is None or version >= AUTH_ENTRY_SINCE):
            wanted.add(server.auth_database)
        if version is None or version < AUTH_ENTRY_SINCE:
            wanted |= {entry.dbname for entry in entries}
    return tuple(sorted(wanted))


def left_behind(server: Server, state: ServerState) -> str:
    """What an earlier deploy made on a server that is not asked any more, as a sentence; a deploy leaves it alone."""
    databases = [name for name, found in state.databases.items() if found.inside and found.inside.function]
    role = [f"the role {server.auth_role}"] if server.auth_role in state.roles else []
    if server.auth_query or not (databases or role):
        return ""
    functions = [f"pgbouncer.user_lookup(text) in {', '.join(databases)}"] if databases else []
    return (
        f"{server.name}: {' and '.join([*functions, *role])} are left as they are, and no pooler uses them any more: "
        "DROP SCHEMA pgbouncer CASCADE, DROP OWNED BY and DROP ROLE are yours to say."
    )


def secret_problem(secret: str) -> str | None:
    """Why a secret cannot be used, or None; the answer never repeats the secret."""
    if not secret:
        return "it is empty"
    if "\n" in secret or "\r" in secret or "\0" in secret:
        return "it has a line break or a NUL in it, which no file on its way can hold"
    if secret != secret.strip():
        return "it begins or ends with a blank, which libpq's service file would drop"
    if len(secret.encode()) > _LONGEST_SECRET:
        return f"it is longer than {_LONGEST_SECRET} bytes, more than a service file of libpq holds"
    if secret.startswith("SCRAM-SHA-256$") or (secret.startswith("md5") and len(secret) == 35):
        return "it looks like a hash, and PgBouncer cannot log in to a SCRAM server with a hash"
    return None


def differences(server: Server, state: ServerState, databases: Iterable[str]) -> list[str]:
    """What the set-up would change on this server, one phrase each, as far as it was seen (`unseen` has the rest).

    Raises PoolwardError for a missing database.
    """
    found: list[str] = []
    if server.auth_query:
        found += _role_differences(server.auth_role, state.roles.get(server.auth_role), -1, ())
    probe = state.roles.get(PROBE_ROLE)
    # Only a superuser may quieten the server's log, and the owner of a managed server is none.
    quiet = () if server.hostless and probe and not probe.settings else PROBE_SETTINGS
    found += _role_differences(PROBE_ROLE, probe, PROBE_CONNECTION_LIMIT, quiet)
    for name in databases:
        if name not in state.databases:
            raise PoolwardError(
                f"{server.name} has no database {name!r} that accepts connections.",
                "Correct `dbname` (or the entry's name) in pgbouncer_databases, or create the database.",
            )
        if inside := state.databases[name].inside:
            found += [f"{name}: {difference}" for difference in _database_differences(server, inside)]
    return found


def _role_differences(
    name: str, role: Role | None, connection_limit: int, wanted_settings: tuple[str, ...]
) -> Iterable[str]:
    if role is None:
        yield f"role {name} is missing"
        return
    if not role.login:
        yield f"role {name} may not log in"
    for right in ("superuser", "createrole", "createdb", "replication", "bypassrls"):
        if getattr(role, right):
            yield f"role {name} has {right.upper()}"
    if role.connection_limit != connection_limit:
        yield f"role {name} has CONNECTION LIMIT {role.connection_limit} instead of {connection_limit}"
    if role.expires:
        yield f"role {name} has a VALID UNTIL"
    if role.member_of:
        yield f"role {name} is a member of {', '.join(role.member_of)}"
    if role.settings != wanted_settings:
        wanted, found = ", ".join(wanted_settings) or "nothing", ", ".join(role.settings) or "nothing"
        yield f"role {name} is set to {found} instead of {wanted} (ALTER ROLE … SET)"
    if role.password not in ("scram-sha-256", None):
        yield f"role {name} has no SCRAM password"


def _database_differences(server: Server, database: Inside) -> Iterable[str]:
    for role, granted in (database.connect or {}).items():
        if not granted:
            yield f"{role} was not granted CONNECT"
    if database.other_rights:
        yield f"{server.auth_role} has more rights than it needs: {', '.join(database.other_rights)}"
    if database.schema_owner_superuser is None:
        yield "schema pgbouncer is missing, and the function pgbouncer.user_lookup(text) in it"
        return
    if not database.schema_owner_superuser:
        yield "schema pgbouncer belongs to a role that is not a superuser"
    mine = [grant for grant in database.schema_grantees if grant.split("=")[0] in (server.auth_role, "PUBLIC")]
    if mine != [f"{server.auth_role}=USAGE"]:
        yield f"schema pgbouncer is granted as {', '.join(mine) or 'nothing'} instead of USAGE to {server.auth_role}"
    if database.function is None:
        yield "function pgbouncer.user_lookup(text) is missing"
    else:
        yield from _function_differences(server, database.function)


def _function_differences(server: Server, function: Function) -> Iterable[str]:
    name = "function pgbouncer.user_lookup(text)"
    if function.source.strip() != lookup_source(server).strip():
        yield f"{name} has another body"
    wanted = {"result": _RESULT, "language": "sql", "volatility": "s", "security_definer": True, "strict": False}
    for attribute, value in wanted.items():
        if getattr(function, attribute) != value:
            yield f"{name}: {attribute} is {getattr(function, attribute)!r} instead of {value!r}"
    if function.config != _CONFIG:
        yield f"{name} runs with {', '.join(function.config) or 'the caller’s search_path'} instead of {_CONFIG[0]}"
    if not function.owner_superuser:
        yield f"{name} belongs to {function.owner}, who is not a superuser"
    if function.grantees != (server.auth_role,):
        who = ", ".join(function.grantees) or "nobody"
        yield f"{name} may be executed by {who} instead of {server.auth_role} alone"
