"""What only the owner of a server can do for its poolers, as SQL to hand over, where there is no host to do it on.

The SQL is a deploy's own (`templates/`), framed so that somebody else can run it with psql, and read it before.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from psycopg.conninfo import make_conninfo

from poolward import advice, auth, hba, removal, templates
from poolward.errors import Problem
from poolward.fleet import PROBE_CONNECTION_LIMIT, PROBE_ROLE, Fleet, Server
from poolward.observed import Inside, ServerState
from poolward.shell import psql

_WITHOUT_SUPERUSER = "pgbouncer_auth_query = False, and each user in pgbouncer_auth_users with a password_command"
_CREATEROLE = "it takes CREATEROLE"


@dataclass(frozen=True)
class Part:
    """One transaction of a script."""

    setup: str
    connect: str = ""
    """The database it belongs in, as psql's \\connect takes it; empty: where the script was begun."""
    more_rights: bool = False
    """Whether the auth role holds more there than it needs."""
    may_connect: tuple[tuple[str, str], ...] = ()
    """Databases and who may connect to them, quoted."""


@dataclass(frozen=True)
class Handover:
    """One server without a host: what it should have, and what it lacks of that."""

    fleet: Fleet
    server: Server
    state: ServerState
    lookups: tuple[str, ...]
    """The databases the lookup function belongs in, none without auth_query."""
    networks: Mapping[str, str] = field(default_factory=dict)
    """By pooler the address, or the network, its connections come from."""
    wrong_passwords: tuple[str, ...] = ()
    """The roles PostgreSQL turns away with the secret that the operator's command prints."""

    @property
    def lacking(self) -> list[str]:
        """What its owner has to do, one phrase each; raises PoolwardError for a missing database."""
        found = auth.differences(self.server, self.state, self.lookups)
        for name in self.fleet.pooled_databases[self.server.name]:
            inside = self.state.databases[name].inside if name in self.state.databases else None
            if inside and not (inside.may_connect or {}).get(PROBE_ROLE, True):
                found.append(f"{name}: {PROBE_ROLE} may not connect")
        for name in self.lookups:
            if self.state.databases[name].inside is None:
                found.append(f"{name}: {self.state.read_as} cannot look into it ({self.state.databases[name].unread})")
        return found + [f"{role} has another password than {_command(role)} prints" for role in self.wrong_passwords]

    @property
    def pending(self) -> bool:
        """Whether there is anything to hand over; raises PoolwardError for a missing database."""
        return bool(self.lacking or (self.state.hba is not None and self._access()))

    def problems(self) -> list[Problem]:
        """Why nothing can be deployed in front of it yet; raises PoolwardError for a missing database."""
        found: list[Problem] = []
        if commands := self.server.secret_commands_lacking:
            what = f"has no host that keeps the poolers' own secrets, and {' and '.join(commands)} "
            hint = 'a command on your machine that prints it: ["vault", "kv", "get", "-field=password", …]'
            found.append(Problem(self.server.name, f"{what}{'are' if len(commands) > 1 else 'is'} not given", hint))
        if lacking := self.lacking:
            what = "lacks what its poolers need, and by a connection string (postgresql_dsn) nothing is written:"
            hint = "have its owner run the SQL of `poolward handover INVENTORY`, then run this again"
            found.append(Problem(self.server.name, "\n  ".join([what, *lacking]), hint))
        return found

    @property
    def script(self) -> str:
        """All of it for psql, whatever is there already; raises PoolwardError for a missing database."""
        access = self._access()
        variables: dict[str, str | int] = {"probe_role": PROBE_ROLE, "probe_connection_limit": PROBE_CONNECTION_LIMIT}
        if self.server.auth_query:
            variables |= {"auth_role": self.server.auth_role}
        return templates.rendered(
            "handover.sql.j2",
            server=self.server,
            lacking=self.lacking,
            superusers=[name for name, role in self.state.roles.items() if role.login and role.superuser],
            without_superuser=_WITHOUT_SUPERUSER,
            access=access,
            access_seen=self.state.hba is not None,
            refusal=f"auth_query takes a superuser; else {_WITHOUT_SUPERUSER}"
            if self.server.auth_query
            else _CREATEROLE,
            variables=psql.with_variables("", variables).rstrip(),
            parts=self._parts(),
            passwords=[psql.quoted(_password_of(role)) for role in self.server.own_roles],
        )

    @property
    def removable(self) -> bool:
        """Whether anything is there that a handover made."""
        return bool(set(removal.own_roles(self.server)) & self.state.roles.keys()) or bool(self._with_lookup())

    @property
    def way_back(self) -> str:
        """The way back from `script`, for psql."""
        return templates.rendered(
            "handover_removal.sql.j2",
            server=self.server,
            variables=psql.with_variables("", {"own_roles": json.dumps(removal.own_roles(self.server))}).rstrip(),
            parts=[Part(templates.text("auth_remove.sql"), _connection(name)) for name in self._with_lookup()],
            roles_remove=templates.text("roles_remove.sql"),
        )

    def _parts(self) -> list[Part]:
        probe = templates.text("probe_setup.sql")
        pooled = [name for name in self.fleet.pooled_databases[self.server.name] if name in self.state.databases]
        may_connect = tuple((templates.sql_name(name), templates.sql_name(PROBE_ROLE)) for name in pooled)
        parts = [Part(probe, may_connect=may_connect)]
        # As a variable of psql's it would be one line with \n in it, which nobody could read.
        source = templates.sql_literal(auth.lookup_source(self.server))
        setup = templates.text("auth_setup.sql").replace(":'lookup_source'", source)
        for name in self.lookups:
            inside = self.state.databases[name].inside
            looks = ((templates.sql_name(name), self.state.read_as),) if inside is None else ()
            parts.append(Part(setup, _connection(name), bool(inside and inside.other_rights), looks))
        return parts

    def _with_lookup(self) -> list[str]:
        def has(inside: Inside) -> bool:
            return inside.function is not None or f"{self.server.auth_role}=USAGE" in inside.schema_grantees

        return [name for name, one in self.state.databases.items() if one.inside and has(one.inside)]

    def _access(self) -> tuple[str, ...]:
        """The lines of pg_hba.conf that are missing; all of them where it cannot be read."""
        rules, wanted = self.state.hba, advice.databases_by_pooler(self.fleet, self.server)
        if rules is not None:
            roles = self.server.own_roles
            lacking = {
                pooler: {name for role in roles for name in hba.missing(rules, databases, self.networks[pooler], role)}
                for pooler, databases in wanted.items()
                if pooler in self.networks
            }
            wanted = {pooler: sorted(databases) for pooler, databases in lacking.items() if databases}
        return hba.lines(wanted, self.networks)[1:]


def _command(role: str) -> str:
    return "pgbouncer_probe_secret_command" if role == PROBE_ROLE else "pgbouncer_auth_secret_command"


def _password_of(role: str) -> str:
    return f"  \\password {templates.sql_name(role)}    (what {_command(role)} prints)"


def _connection(database: str) -> str:
    """As a connection string, because \\connect takes a name with = in it for one; and it unquotes as of a name."""
    return templates.sql_name(make_conninfo(dbname=database))
