"""What the operator writes into the sections of pgbouncer.ini, checked section by section: settings, entries, users."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from poolward import client_hba, combinations, render, settings
from poolward.declared_knobs import Knobs
from poolward.errors import Problem
from poolward.fleet import USER_LINES_SINCE, Entry, Server
from poolward.settings import Version

# What `desired` writes itself, whatever else is written.
_POOLWARDS_OWN = ("auth_file", "auth_user", "auth_query", "auth_dbname")


def settings_problems(pooler: str, knobs: Knobs, version: Version | None) -> Iterable[Problem]:
    """What is wrong in [pgbouncer], and in the rules of who may log in that stand beside it."""
    where = f"{pooler}: pgbouncer_settings"
    for key, value in knobs.written.items():
        # A default of ours that this version does not know is left out later; what the operator wrote is not.
        checked = version if key in knobs.settings else None
        yield from settings.check("pgbouncer", key, value, checked, where)
    yield from combinations.problems(knobs.written, where, own_hba=bool(knobs.hba))
    if knobs.hba:
        yield from client_hba.problems(knobs.hba, version, f"{pooler}: pgbouncer_hba")
    yield from _not_the_operators(where, knobs)


def _not_the_operators(where: str, knobs: Knobs) -> Iterable[Problem]:
    for key in _POOLWARDS_OWN:
        if key in knobs.settings:
            yield Problem(where, f"{key} is Poolward's own to write, and yours would be lost", "leave it out")
    if "auth_ldap_options" in knobs.settings:
        message = (
            "auth_ldap_options may hold a password, and would stand in plans and logs; auth_type = ldap is refused"
        )
        yield Problem(where, message, "leave it out")
    if "peer_id" in knobs.settings:
        yield Problem(where, "peer_id alone finds no peer", 'pgbouncer_peers = {"pool1": 1, "pool2": 2} says both')
    if str(knobs.settings.get("unix_socket_dir", "")).startswith("@"):
        yield Problem(where, "unix_socket_dir is an abstract socket, which Poolward cannot ask", "name a directory")


def entry(
    pooler: str,
    name: str,
    keys: Mapping[str, Any],
    servers: Mapping[str, Server],
    version: Version | None,
    problems: list[Problem],
) -> Entry | None:
    """One line of [databases]; what is wrong with it goes to `problems`, and without its server there is none."""
    where = f'{pooler}: pgbouncer_databases["{name}"]'
    if reason := render.entry_name_problem(name):
        problems.append(Problem(where, reason, "choose another entry name and give the database's in `dbname`"))
    host = keys.get("host")
    if not isinstance(host, str) or host not in servers:
        known = ", ".join(servers) or "none"
        problems.append(
            Problem(where, f"`host` is {host!r}, but must name a host of the group `databases`", f"known: {known}")
        )
        return None
    if name in {server.auth_role for server in servers.values()}:
        problems.append(Problem(where, "this name is kept for the entry auth_query goes through", "choose another"))
    if "port" in keys:
        problems.append(Problem(where, "`port` belongs to the server", f"postgresql_port in the data of {host}"))
    own = {key: value for key, value in keys.items() if key not in ("host", "port", "dbname")}
    for key, value in own.items():
        problems += settings.check("databases", key, value, version, where)
        if key in _POOLWARDS_OWN:
            problems.append(
                Problem(where, f"{key} is Poolward's own to write, and yours would be lost", "leave it out")
            )
    if "user" in own and (version is None or version < Version(1, 26)):
        problems.append(
            Problem(
                where,
                "a forced `user` does not work with clients that log in by SCRAM verifier before PgBouncer 1.26 "
                "(pgbouncer#944): their logins fail after the first",
                "leave `user` out: each client is then logged in as the role it named",
            )
        )
    return Entry(name, str(host), str(keys.get("dbname", name)), own)


def user_problems(
    pooler: str, user: str, keys: Mapping[str, Any], version: Version | None, *, looked_up: bool
) -> Iterable[Problem]:
    """What is wrong with one line of [users]; `looked_up`: the user's secret comes by auth_query."""
    where = f'{pooler}: pgbouncer_users["{user}"]'
    if looked_up and version and version < USER_LINES_SINCE:
        yield Problem(
            where,
            f"PgBouncer {version} stops asking auth_query for a role that has a [users] line: {user} could not log in",
            f"that works from {USER_LINES_SINCE}; until then use max_db_connections or pool_size of the entry",
        )
    for key, value in keys.items():
        yield from settings.check("users", key, value, version, where)
