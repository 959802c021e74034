"""What is true now on a PostgreSQL server."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from poolward.observed._answer import Unreadable, sections


@dataclass(frozen=True)
class Role:
    """One role of pg_authid that may log in or that is ours."""

    login: bool
    superuser: bool
    createrole: bool
    createdb: bool
    replication: bool
    bypassrls: bool
    connection_limit: int
    expires: bool
    password: str
    """`scram-sha-256`, `md5`, `none` or `other`."""
    member_of: tuple[str, ...]
    settings: tuple[str, ...]
    """What ALTER ROLE … SET left on it."""


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
class DatabaseState:
    """One database of a server, as far as the pooler is concerned."""

    exists: bool
    connection_limit: int = -1
    """ALTER DATABASE … CONNECTION LIMIT; -1 for none."""
    schema_owner_superuser: bool | None = None
    schema_grantees: tuple[str, ...] = ()
    """`role=privilege` of the schema pgbouncer, the owner's left out."""
    function: Function | None = None
    connect: Mapping[str, bool] | None = None
    """Per role of ours whether it was granted CONNECT by name; None when the role does not exist."""
    other_rights: tuple[str, ...] = ()
    """What else the auth role owns or was granted here."""


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
    """One PostgreSQL server."""

    version: str
    version_num: int
    in_recovery: bool
    max_connections: int
    superuser_reserved_connections: int
    reserved_connections: int
    max_wal_senders: int
    ssl: bool
    roles: Mapping[str, Role]
    databases: Mapping[str, DatabaseState]
    hba: tuple[HbaRule, ...]
    hba_loaded: bool
    """Whether the rules in the file are the ones in force."""
    hba_block: tuple[str, ...]
    """The lines between Poolward's marks in pg_hba.conf."""
    backends: tuple[Mapping[str, Any], ...]
    """Client backends counted by database, role, application and address."""

    @classmethod
    def parse(cls, lines: Iterable[str]) -> ServerState:
        """Read the output of `observe_server.sh`; raises Unreadable when any part of it is missing."""
        found = sections(lines)
        try:
            server = json.loads("".join(found["server"]))
            return cls(
                **{key: server[key] for key in _PLAIN},
                roles={name: Role(**_tuples(role)) for name, role in (server["roles"] or {}).items()},
                databases={
                    name: _database(json.loads("".join(found[f"database {name}"])), limit)
                    if f"database {name}" in found
                    else DatabaseState(exists=True, connection_limit=limit)
                    for name, limit in server["databases"].items()
                },
                hba=tuple(HbaRule(**_tuples(rule)) for rule in server["hba"] or ()),
                hba_block=tuple(line.removeprefix("|") for line in found["hba_block"]),
                backends=tuple(server["backends"] or ()),
            )
        except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
            raise Unreadable(f"The server's state could not be read ({type(error).__name__}: {error}).") from error


_PLAIN = (
    "version",
    "version_num",
    "in_recovery",
    "max_connections",
    "superuser_reserved_connections",
    "reserved_connections",
    "max_wal_senders",
    "ssl",
    "hba_loaded",
)


def _database(read: Mapping[str, Any], limit: int) -> DatabaseState:
    function = Function(**_tuples(read["function"])) if read["function"] else None
    return DatabaseState(exists=True, connection_limit=limit, **_tuples({**read, "function": function}))


def _tuples(record: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in record.items()}
