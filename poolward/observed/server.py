"""What is true now on a PostgreSQL server."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from poolward.observed._answer import Unreadable, sections


@dataclass(frozen=True)
class Role:
    """One role that may log in or that is ours."""

    login: bool
    superuser: bool
    createrole: bool
    createdb: bool
    replication: bool
    bypassrls: bool
    connection_limit: int
    expires: bool
    password: str | None
    """`scram-sha-256`, `md5`, `none` or `other`; None where only a superuser could tell."""
    member_of: tuple[str, ...]
    settings: tuple[str, ...]
    """What ALTER ROLE … SET left on it."""
    expired: bool
    """Whether its VALID UNTIL has passed."""


@dataclass(frozen=True)
class Function:
    """The lookup function as the catalog has it."""

    source: str
    result: str
    language: str
    volatility: str
    security_definer: bool
    strict: bool
    config: tuple[str, ...]
    owner: str
    owner_superuser: bool
    grantees: tuple[str, ...]
    """Who may execute it besides the owner; `PUBLIC` for everyone."""


@dataclass(frozen=True)
class Inside:
    """What the poolers need inside one database."""

    schema_owner_superuser: bool | None = None
    schema_grantees: tuple[str, ...] = ()
    """`role=privilege` of the schema pgbouncer, the owner's left out."""
    function: Function | None = None
    connect: Mapping[str, bool] | None = None
    """Per role of ours whether it was granted CONNECT by name; None when the role does not exist."""
    may_connect: Mapping[str, bool] | None = None
    """The same by whatever right, PUBLIC's too."""
    other_rights: tuple[str, ...] = ()
    """What else the auth role owns or was granted here."""


@dataclass(frozen=True)
class DatabaseState:
    """One database of a server, as far as the pooler is concerned."""

    connection_limit: int
    """ALTER DATABASE … CONNECTION LIMIT; -1 for none."""
    inside: Inside | None
    """None where nobody looked."""
    unread: str = ""
    """Why nobody could look inside, in PostgreSQL's words."""


@dataclass(frozen=True)
class HbaRule:
    """One parsed line of pg_hba.conf (pg_hba_file_rules)."""

    line: int
    type: str
    databases: tuple[str, ...]
    users: tuple[str, ...]
    address: str | None
    netmask: str | None
    method: str
    error: str | None


@dataclass(frozen=True)
class ServerState:
    """One PostgreSQL server, as far as whoever asked may see it: what is None was not seen."""

    read_as: str
    """The role that asked, quoted as SQL wants it: postgres on the host itself, or that of a connection string."""
    version: str
    version_num: int
    in_recovery: bool
    max_connections: int
    superuser_reserved_connections: int
    reserved_connections: int
    max_wal_senders: int
    ssl: bool
    client_connection_check_interval: str | None
    """As PostgreSQL shows it: "0" where it does not look after its clients, None before 14."""
    roles: Mapping[str, Role]
    databases: Mapping[str, DatabaseState]
    """Every database that accepts connections."""
    hba: tuple[HbaRule, ...] | None
    hba_loaded: bool | None
    """Whether the rules in the file are the ones in force."""
    hba_block: tuple[str, ...] | None
    """The lines between Poolward's marks in pg_hba.conf."""
    hba_closed: tuple[str, ...] | None
    """The lines there that close the direct path of what has moved."""
    backends: tuple[Mapping[str, Any], ...]
    """Client backends counted by database, role, application and address."""

    @classmethod
    def parse(cls, lines: Iterable[str]) -> ServerState:
        """Read the output of `observe_server.sh`, or of `session`; raises Unreadable when any part of it is missing.

        A part that says `null` was not allowed to be seen.
        """
        found = sections(lines)
        try:
            server, passwords, rules, loaded = (
                json.loads("".join(found[part])) for part in ("server", "passwords", "hba", "hba_loaded")
            )
            block, closed = found["hba_block"], found["hba_closed"]
            return cls(
                **{key: server[key] for key in _PLAIN},
                roles={
                    name: Role(**_tuples(role), password=None if passwords is None else passwords[name])
                    for name, role in (server["roles"] or {}).items()
                },
                databases={
                    name: _database(limit, json.loads("".join(found.get(f"database {name}", ["null"]))))
                    for name, limit in server["databases"].items()
                },
                hba=None if rules is None else tuple(HbaRule(**_tuples(rule)) for rule in rules),
                hba_loaded=loaded,
                hba_block=None if block == ["null"] else tuple(line.removeprefix("|") for line in block),
                hba_closed=None if closed == ["null"] else tuple(line.removeprefix("|") for line in closed),
                backends=tuple(server["backends"] or ()),
            )
        except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
            raise Unreadable(f"The server's state could not be read ({type(error).__name__}: {error}).") from error


_PLAIN = (
    "read_as",
    "version",
    "version_num",
    "in_recovery",
    "max_connections",
    "superuser_reserved_connections",
    "reserved_connections",
    "max_wal_senders",
    "ssl",
    "client_connection_check_interval",
)


def _database(limit: int, read: Mapping[str, Any] | None) -> DatabaseState:
    if read is None or "unread" in read:
        return DatabaseState(limit, None, read["unread"] if read else "")
    function = Function(**_tuples(read["function"])) if read["function"] else None
    return DatabaseState(limit, Inside(**_tuples({**read, "function": function})))


def _tuples(record: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in record.items()}
