"""Secrets as they are read: the poolers' own, verifiers as PostgreSQL has them, userlist.txt, and commands of yours."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Sequence
from contextlib import suppress
from weakref import WeakKeyDictionary

from gevent.lock import RLock
from pyinfra.api import Host, Inventory, State

from poolward import auth, auth_users, direct, remote, shell, userlist
from poolward.desired import PoolerConfig
from poolward.errors import PoolwardError, Problem
from poolward.fleet import PROBE_ROLE, AuthUser, Fleet, Server
from poolward.observed import sections, unindented
from poolward.userlist import Secrets

_COMMAND_TIMEOUT = 30
_kept: WeakKeyDictionary[State, dict[str, Secrets]] = WeakKeyDictionary()
_printed: WeakKeyDictionary[State, dict[AuthUser, str | PoolwardError]] = WeakKeyDictionary()
_printing = RLock()


def read(host: Host, server: Server, *, create: bool = False) -> Secrets:
    """Read a server's secrets (making the missing ones on the database host if `create`) and the stored verifiers.

    Raises PoolwardError when a secret cannot be used as it is, without repeating it.
    """
    names = server.own_roles
    command = shell.script("secrets", "read the pooler's own secrets", 30, server.place, names=names, create=create)
    found = sections(remote.must(host, command).splitlines())
    kept = {name: "\n".join(line.removeprefix("|") for line in found[f"secret {name}"]) or None for name in names}
    own = _usable({**kept, **_supplied(server)}, server)
    verifiers = {name: "".join(found[f"verifier {name}"]) for name in names}
    return Secrets(own, verifiers | verifiers_of_users(host, server))


def verifiers_of_users(host: Host, server: Server) -> dict[str, str]:
    """The server's own verifiers of those users of userlist.txt that may log in there, by role.

    None of them where a connection string is all there is: only a superuser on the host may read them.
    """
    if server.dsn or not server.auth_users:
        return {}
    command = shell.read_verifiers(server, server.auth_users)
    found: dict[str, str] = json.loads("".join(sections(remote.must(host, command).splitlines())["verifiers"]))
    return found


def keep(host: Host, server: Server, own: Secrets) -> None:
    """Keep, for the rest of this run, the secrets a server was seen to agree with: its poolers need not ask again."""
    if host.state.is_executing:
        _kept.setdefault(host.state, {})[server.name] = own


def of_servers(inventory: Inventory, servers: Iterable[Server]) -> dict[str, Secrets]:
    """The secrets by server name: kept in this run, else read on each server's own host.

    Raises PoolwardError when one is missing.
    """
    found: dict[str, Secrets] = {}
    for server in servers:
        found[server.name] = _of_server(inventory, server)
        if not found[server.name].complete:
            raise PoolwardError(f"The pooler's own secrets are missing on {server.name}.", "Run the whole deploy.")
    return found


def turned_away(server: Server, roles: Iterable[str]) -> list[str]:
    """Those of the server's own roles whose secret PostgreSQL says is wrong, by a login over its connection string.

    Only where the operator's commands give the secrets. A login that fails for another reason proves nothing, and the
    poolers' own logins will tell.
    """
    found: list[str] = []
    for role, secret in _usable(_supplied(server), server).items():
        if secret is not None and role in roles and direct.log_in(server, role, secret).stdout.strip() == "wrong":
            found.append(role)
    return found


def of_probe(secrets: dict[str, Secrets]) -> dict[str, str]:
    """The probe's secret by server."""
    return {name: secret for name, found in secrets.items() if (secret := found.own[PROBE_ROLE])}


def live_userlist(target: Host, config: PoolerConfig) -> str | None:
    """The text of a pooler's userlist.txt; None where there is none."""
    return _live(target, config, "userlist.txt")


def live_probe_file(target: Host, config: PoolerConfig) -> str | None:
    """The text of the health check's password file; None where there is none, or no health check."""
    return _live(target, config, "probe.pgpass") if config.runtime.probe_file else None


def _live(target: Host, config: PoolerConfig, name: str) -> str | None:
    command = shell.script("read_secret_file", f"read {name}", 10, config.runtime.place, name=name)
    return unindented(sections(remote.must(target, command).splitlines())["text"])


def wanted_userlist(
    target: Host, config: PoolerConfig, secrets: dict[str, Secrets], live: str | None
) -> dict[str, str]:
    """What has to stand in a pooler's userlist.txt, as far as it can be had; `user_problems` says why it cannot."""
    passwords: dict[str, str] = {}
    for user in config.pooler.auth_users:
        with suppress(PoolwardError):
            passwords |= {user.name: _password(target.state, user)} if user.password_command else {}
    return userlist.entries(config, secrets, passwords, live)


def user_problems(inventory: Inventory, fleet: Fleet, poolers: Iterable[str]) -> list[Problem]:
    """What speaks against the passwords and verifiers of these poolers' users, each by name; asks where it matters."""
    found: list[Problem] = []
    stored: dict[str, dict[str, str]] = {}
    for name in poolers:
        pooler, servers = fleet.poolers[name], fleet.servers_of([name])
        passwords: dict[str, str] = {}
        for user in pooler.auth_users:
            try:
                if user.password_command:
                    passwords[user.name] = _password(inventory.state, user)
            except PoolwardError as error:
                found.append(Problem(auth_users.place(name, user.name), error.message, error.hint))
        if passwords or len(servers) > 1:
            for server in servers:
                if server.name not in stored:
                    stored[server.name] = verifiers_of_users(inventory.get_host(server.name), server)
            found += auth_users.secret_problems(pooler, servers, stored, passwords)
    return found


def _password(state: State, user: AuthUser) -> str:
    """What a user's own command prints, run once in a run: it may have read its standard input, which is over then."""
    assert user.password_command
    with _printing:
        printed = _printed.setdefault(state, {})
        if user not in printed:
            try:
                printed[user] = _from_command(user.password_command, "password_command")
            except PoolwardError as error:
                printed[user] = error
        found = printed[user]
    if isinstance(found, PoolwardError):
        raise found
    if problem := auth_users.password_problem(found):
        raise PoolwardError(f"password_command ({user.password_command[0]}) {problem}.", "Run it by hand.")
    return found


def _of_server(inventory: Inventory, server: Server) -> Secrets:
    if server.dsn:
        supplied = _usable(_supplied(server), server)
        return Secrets({role: supplied.get(role) for role in server.own_roles}, {})
    return _kept.get(inventory.state, {}).get(server.name) or read(inventory.get_host(server.name), server)


def _supplied(server: Server) -> dict[str, str | None]:
    """What the operator's own commands print, by role; they run here, and no host is needed."""
    supplied: dict[str, str | None] = {}
    if server.auth_secret_command and server.auth_query:
        supplied[server.auth_role] = _from_command(server.auth_secret_command, "pgbouncer_auth_secret_command")
    if server.probe_secret_command:
        supplied[PROBE_ROLE] = _from_command(server.probe_secret_command, "pgbouncer_probe_secret_command")
    return supplied


def _usable(own: dict[str, str | None], server: Server) -> dict[str, str | None]:
    for name, secret in own.items():
        if secret is not None and (problem := auth.secret_problem(secret)):
            raise PoolwardError(f"The secret of {name} for {server.name} cannot be used: {problem}.", "Give another.")
    return own


def _from_command(command: Sequence[str], knob: str) -> str:
    """Run the operator's own command here; its output goes nowhere but into the secret."""
    hint = "Run it by hand to see what it says."
    try:
        done = subprocess.run(command, capture_output=True, timeout=_COMMAND_TIMEOUT, check=False, text=True)
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError) as error:
        # `from None`: the original exception carries the command's output
        raise PoolwardError(f"{knob} ({command[0]}) could not be run: {type(error).__name__}.", hint) from None
    if done.returncode != 0:
        raise PoolwardError(f"{knob} ({command[0]}) ended with exit code {done.returncode}.", hint)
    return done.stdout.removesuffix("\n")
