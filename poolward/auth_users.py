"""Users that stand in userlist.txt: what was declared of them, and what keeps them, or the console's, from logging in.

A verifier in userlist.txt is enough to log in to PgBouncer and its console. To log in to a SCRAM server as that client
PgBouncer needs the very bytes the server has: with another salt the client gets in and then reads `password
authentication failed`, and its password is right (seen on PgBouncer 1.18, 1.24 and 1.26). Pure.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from poolward import render, scram, vulnerabilities
from poolward.errors import PoolwardError, Problem
from poolward.fleet import AUTH_ENTRY_SINCE, PROBE_ROLE, AuthUser, Fleet, Pooler, Server
from poolward.observed import Role, ServerState
from poolward.settings import Version

_SOURCES = '{"verifier_from": "db1"} or {"password_command": ["vault", …]}'
_CONSOLE = ("admin_users", "stats_users")
# Let into the console over the Unix socket without a password: PgBouncer's own operating system user.
_BY_PEER = "pgbouncer"
_OPENS_EVERY_DOOR = "CVE-2026-107350"


def declared(
    pooler: str,
    given: Mapping[str, Mapping[str, object]],
    servers: Mapping[str, Server],
    served: Iterable[str],
    problems: list[Problem],
) -> tuple[AuthUser, ...]:
    """The users as the operator wrote them; `served` are the servers the pooler has entries on."""
    users: list[AuthUser] = []
    known = sorted(set(served) & servers.keys())
    for name, source in given.items():
        where = place(pooler, name)
        found = list(_word_problems(where, name, source, known))
        if source.get("verifier_from") in [server.name for server in servers.values() if server.hostless]:
            message = f"nobody can read the verifiers of {source['verifier_from']} by its connection string"
            hint = '{"password_command": ["vault", …]}; the password then stands in userlist.txt as it is'
            found.append(Problem(where, message, hint))
        if name == PROBE_ROLE or name in {server.auth_role for server in servers.values()}:
            found.append(Problem(where, "is a role of Poolward's own, and its secret too", "leave it out"))
        problems += found
        if not found:
            command = source.get("password_command")
            users.append(
                AuthUser(
                    name,
                    verifier_from=str(source["verifier_from"]) if "verifier_from" in source else None,
                    password_command=tuple(command) if isinstance(command, list) else None,
                )
            )
    return tuple(users)


def _word_problems(where: str, name: str, source: Mapping[str, object], servers: list[str]) -> Iterable[Problem]:
    try:
        render.userlist_txt({name: ""})
    except PoolwardError as error:
        yield Problem(where, error.message, "choose another name")
    if set(source) not in ({"verifier_from"}, {"password_command"}):
        yield Problem(where, "needs exactly one source of its verifier", _SOURCES)
        return
    command = source.get("password_command")
    if "verifier_from" in source and source["verifier_from"] not in servers:
        has = f"this pooler has entries on: {', '.join(servers) or 'none'}"
        yield Problem(where, f"verifier_from = {source['verifier_from']!r} is no server of this pooler", has)
    if "password_command" in source and not (
        isinstance(command, list) and command and all(isinstance(word, str) and word for word in command)
    ):
        yield Problem(where, "password_command is no list of words", '["vault", "kv", "get", "-field=password", …]')


def one_way_problems(pooler: Pooler, auth_query: bool, servers: tuple[Server, ...]) -> Iterable[Problem]:
    """What a pooler and its servers cannot mean at once; `auth_query` is what was declared for the pooler's host."""
    if others := sorted(server.name for server in servers if server.auth_query != auth_query):
        yield Problem(
            pooler.name,
            f"pgbouncer_auth_query is {auth_query} here and {not auth_query} for {', '.join(others)}",
            "declare it once for all hosts, in group_data/<environment>.py",
        )
    elif not auth_query and len(servers) > 1:
        yield Problem(
            pooler.name,
            f"pgbouncer_auth_query is False and there are entries on {', '.join(server.name for server in servers)}: "
            "userlist.txt holds one verifier per name, and each server has its own",
            "give each server poolers of its own",
        )
    if not auth_query and not pooler.auth_users:
        hostless = any(server.hostless for server in servers)
        source = '{"password_command": ["vault", …]}' if hostless else '{"verifier_from": "db1"}'
        yield Problem(
            pooler.name,
            "pgbouncer_auth_query is False and pgbouncer_auth_users is empty: no application could log in",
            f'pgbouncer_auth_users = {{"shop": {source}}}',
        )


def console_problems(pooler: Pooler, version: Version | None, servers: tuple[Server, ...]) -> Iterable[Problem]:
    """Users of the console that PgBouncer of that version (None: not known yet) could not find out about."""
    by_query = all(server.auth_query for server in servers)
    for setting, name in _console_users(pooler, servers):
        where, hint = f"{pooler.name}: pgbouncer_settings", f'pgbouncer_auth_users = {{"{name}": …}}, with {_SOURCES}'
        if not by_query:
            yield Problem(where, f"{setting} names {name}, who is not in userlist.txt and cannot log in", hint)
        elif version and version < AUTH_ENTRY_SINCE:
            yield Problem(
                where,
                f"{setting} names {name}, who is not in userlist.txt: PgBouncer {version} looks nobody up for its "
                "console, and such a login hangs",
                hint,
            )


def problems(fleet: Fleet, name: str, states: Mapping[str, ServerState]) -> list[Problem]:
    """What the servers say against the users of a pooler: all of it, by name; `states` by server."""
    pooler, servers = fleet.poolers[name], fleet.servers_of([name])
    found: list[Problem] = []
    for user in pooler.auth_users:
        roles = {server: states[server.name].roles.get(user.name) for server in servers}
        found += [
            Problem(place(name, user.name), f"{reason} on {server.name}", hint)
            for server, role in roles.items()
            if (role is not None and role.login) or user.verifier_from == server.name
            for reason, hint in _obstacles(server, user.name, role)
        ]
        if not any(role and role.login for role in roles.values()) and user.password_command:
            found += _without_use(pooler, user, servers)
    asked = servers[0]
    for setting, user_name in _console_users(pooler, servers) if asked.auth_query else ():
        for reason, _ in _obstacles(asked, user_name, states[asked.name].roles.get(user_name)):
            found.append(
                Problem(
                    f"{name}: pgbouncer_settings",
                    f"{setting} names {user_name}, who is not in userlist.txt and {reason} on {asked.name}",
                    f'pgbouncer_auth_users = {{"{user_name}": …}}, with {_SOURCES}',
                )
            )
    return found


def secret_problems(
    pooler: Pooler,
    servers: Iterable[Server],
    stored: Mapping[str, Mapping[str, str]],
    passwords: Mapping[str, str],
) -> list[Problem]:
    """Verifiers that fit one place and not another; `stored` by server and role, of roles that may log in."""
    found: list[Problem] = []
    for user in pooler.auth_users:
        where = place(pooler.name, user.name)
        known = {server.name: stored[server.name][user.name] for server in servers if user.name in stored[server.name]}
        password = passwords.get(user.name)
        others = [name for name, verifier in known.items() if password and not scram.matches(verifier, password)]
        found += [
            Problem(
                where,
                f"{name} has a role of this name with another password: PgBouncer would let {user.name} in, and {name} "
                "would not",
                f'{{"verifier_from": "{name}"}} for the role, or another name for the console',
            )
            for name in others
        ]
        if not others and len(set(known.values())) > 1:
            names = ", ".join(known)
            found.append(
                Problem(
                    where,
                    f"{names} have different verifiers of it, and userlist.txt holds one: on the others it could not "
                    "log in",
                    "copy one server's rolpassword of it to the others: ALTER ROLE … PASSWORD 'SCRAM-SHA-256$…'",
                )
            )
    return found


def password_problem(password: str) -> str | None:
    """Why what a command printed is no password, or None; the answer never repeats it."""
    if not password:
        return "printed nothing"
    if any(sign in password for sign in "\n\r\0"):
        return "printed more than one line"
    if password.startswith("SCRAM-SHA-256$") or (password.startswith("md5") and len(password) == 35):
        return "printed a hash and no password"
    return None


def place(pooler: str, user: str) -> str:
    """Which of the operator's words a problem is about."""
    return f"{pooler}: pgbouncer_auth_users[{json.dumps(user, ensure_ascii=False)}]"


def notes(pooler: Pooler, package: str | None) -> Iterable[str]:
    """What must not be a surprise to who puts users into userlist.txt."""
    affected = package and any(found.cve == _OPENS_EVERY_DOOR for found in vulnerabilities.of(package))
    if pooler.auth_users and affected:
        names = ", ".join(user.name for user in pooler.auth_users)
        yield (
            f"{pooler.name}: in PgBouncer {package} whoever knows the password of one user in userlist.txt may become "
            f"any SCRAM user ({_OPENS_EVERY_DOOR}), and {names} stand there."
        )


def _console_users(pooler: Pooler, servers: Iterable[Server]) -> list[tuple[str, str]]:
    """Those of admin_users and stats_users that are not in userlist.txt, each with the setting that names them."""
    there = {_BY_PEER, *(user.name for user in pooler.auth_users), *(server.own_roles[0] for server in servers)}
    return [(setting, name) for setting in _CONSOLE for name in pooler.names_in(setting) if name not in there]


def _obstacles(server: Server, name: str, role: Role | None) -> Iterable[tuple[str, str]]:
    """Why a role must not pass, and what to do; what the lookup function keeps back is kept out of the file too."""
    if role is None or not role.login:
        yield "is no role that may log in", "create it, or ALTER ROLE … LOGIN"
        return
    if role.password not in ("scram-sha-256", None):
        what = "has no password" if role.password == "none" else "has an md5 password and no SCRAM verifier"
        yield what, "password_encryption = 'scram-sha-256', then \\password in psql"
    if role.expired:
        yield "has expired (VALID UNTIL)", "ALTER ROLE … VALID UNTIL 'infinity', or leave it out"
    if (role.superuser or role.replication) and name not in server.allow_superusers:
        kind = "a superuser" if role.superuser else "a replication role"
        yield f"is {kind} that pgbouncer_allow_superusers does not name", "a role of its own is better"


def _without_use(pooler: Pooler, user: AuthUser, servers: tuple[Server, ...]) -> Iterable[Problem]:
    console = {name for setting in _CONSOLE for name in pooler.names_in(setting)}
    if user.name not in console and not any("user" in entry.keys for entry in pooler.entries):
        yield Problem(
            place(pooler.name, user.name),
            f"is no role that may log in on {', '.join(server.name for server in servers)}, and neither in admin_users "
            "nor in stats_users: it could log in to nothing",
            "name it there, or create the role",
        )
