"""What userlist.txt holds: secrets in clear for PgBouncer's own logins, SCRAM verifiers for those of clients. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from poolward import scram
from poolward.desired import PoolerConfig
from poolward.errors import PoolwardError
from poolward.reparse import parse_userlist


@dataclass(frozen=True)
class Secrets:
    """What is secret of one server; none of it is ever printed."""

    own: Mapping[str, str | None] = field(repr=False)
    """The secrets of the server's own roles, None where one is still to be made."""
    verifiers: Mapping[str, str] = field(repr=False)
    """PostgreSQL's verifiers by role: of the own ones, and of those users of userlist.txt that may log in."""

    @property
    def complete(self) -> bool:
        return None not in self.own.values()

    @property
    def differing(self) -> list[str]:
        """The own roles whose stored verifier was not made from the secret."""
        return [
            role
            for role, secret in self.own.items()
            if secret is None or not scram.matches(self.verifiers.get(role, ""), secret)
        ]


def entries(
    config: PoolerConfig, secrets: Mapping[str, Secrets], passwords: Mapping[str, str], live: str | None
) -> dict[str, str]:
    """The secret of every name in userlist.txt that is known; `secrets` by server, `passwords` by user.

    A verifier that is made from a password is the server's own, so that PgBouncer can log in there with it. Of a user
    that is no role there, it stays the one in the file as long as it fits the password, because each new one has a salt
    of its own: `live` is the file's text today. Of a server whose verifiers nobody can read, secrets and passwords
    stand there in clear.
    """
    found: dict[str, str | None] = {}
    for server in config.servers:
        own, role = secrets[server.name], server.own_roles[0]
        in_clear = server.auth_query or server.hostless
        found[role] = own.own[role] if in_clear else own.verifiers.get(role)
    today = _today(live)
    for user in config.pooler.auth_users:
        if user.verifier_from:
            found[user.name] = secrets[user.verifier_from].verifiers.get(user.name)
        elif user.name in passwords and config.passwords_in_clear:
            found[user.name] = passwords[user.name]
        elif user.name in passwords:
            stored = [secrets[server.name].verifiers.get(user.name, "") for server in config.servers]
            found[user.name] = _of_password(passwords[user.name], *stored, today.get(user.name, ""))
    return {name: secret for name, secret in found.items() if secret}


def outdated(config: PoolerConfig, wanted: Mapping[str, str], live: str | None) -> list[str]:
    """The roles the pooler itself logs in with whose secret in the file is one that PostgreSQL no longer takes."""
    today = _today(live)
    own = [server.own_roles[0] for server in config.servers if server.auth_query or server.hostless]
    return [role for role in own if role in today and today[role] != wanted.get(role)]


def _of_password(password: str, *candidates: str) -> str:
    fitting = (verifier for verifier in candidates if scram.matches(verifier, password))
    return next(fitting, None) or scram.verifier(password)


def _today(live: str | None) -> dict[str, str]:
    try:
        return parse_userlist(live or "")
    except PoolwardError:
        return {}
