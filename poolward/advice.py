"""What preflight says of a database server: what stops a deploy, and what an operator should know beforehand. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from poolward import auth, closing, hba
from poolward.errors import Problem
from poolward.fleet import AUTH_ENTRY_SINCE, PROBE_ROLE, Fleet, Server
from poolward.observed import HbaRule, ServerState


def problems(
    fleet: Fleet, server: Server, state: ServerState, addresses: Mapping[str, str], poolers: Sequence[str]
) -> list[Problem]:
    """What keeps these poolers from being put in front of this server."""
    found: list[Problem] = []
    if state.in_recovery:
        found.append(
            Problem(
                server.name,
                "is a standby (pg_is_in_recovery): roles and the lookup function cannot be created on it",
                "name the primary in `databases`; what is set up there is replicated",
            )
        )
    wanted = {entry.dbname for name in poolers for entry in fleet.poolers[name].entries if entry.server == server.name}
    found += [
        Problem(
            server.name, f"has no database {name!r} that accepts connections", "correct `dbname` in pgbouncer_databases"
        )
        for name in sorted(wanted - state.databases.keys())
    ]
    found += [
        Problem(
            server.name,
            f"pg_hba.conf line {rule.line} cannot be read by PostgreSQL: {rule.error}",
            "mend it first: at the next restart the server would not start",
        )
        for rule in state.hba or ()
        if rule.error
    ]
    if not server.manage_hba and state.hba is not None:
        found += _missing_rules(fleet, server, state.hba, addresses, poolers)
    return found


def notes(server: Server, state: ServerState, addresses: Mapping[str, str]) -> Iterable[str]:
    """What is no reason to stop, but must not be a surprise; `addresses` of the poolers, by pooler."""
    name = server.name
    known = {role: state.roles[role] for role in server.allow_superusers if role in state.roles}
    pooled = [role for role, found in known.items() if found.superuser and found.password != "none"]
    if pooled:
        yield (
            f"{name}: {', '.join(pooled)} may pass through the pooler as superuser (pgbouncer_allow_superusers): "
            f"whoever has that password has everything on {name}, and these sessions take the "
            f"{state.superuser_reserved_connections} connections kept for you. "
            "A role of its own per service is better."
        )
    for role in server.allow_superusers:
        if role not in known:
            yield f"{name}: pgbouncer_allow_superusers names {role!r}, which is no role that may log in there."
    md5 = sorted(role for role, found in state.roles.items() if found.login and found.password == "md5")
    if md5:
        yield (
            f"{name}: {', '.join(md5)} still have md5 hashes and cannot log in through a SCRAM pooler. "
            "Set password_encryption = 'scram-sha-256' and give each its password again (\\password in psql)."
        )
    if left := auth.left_behind(server, state):
        yield left
    poolers = set(addresses.values())
    by_address = [
        rule
        for rule in closing.others(hba.rules_by_address(state.hba or ()), state.hba_closed or ())
        if rule.address not in poolers
    ]
    if by_address:
        told = "; ".join(hba.shown(rule) for rule in by_address)
        yield (
            f"{name}: these pg_hba.conf rules tell clients apart by address; behind the pooler they all come from "
            f"the pooler's: {told}"
        )


def _missing_rules(
    fleet: Fleet, server: Server, rules: Sequence[HbaRule], addresses: Mapping[str, str], poolers: Sequence[str]
) -> Iterable[Problem]:
    missing: dict[str, list[str]] = {}
    for name in poolers:
        address = addresses.get(name)
        wanted = databases_of(fleet, server, name)
        if address is None:
            yield Problem(
                server.name, f"it cannot be told from which address {name} will come", f'give {name} an "address"'
            )
            continue
        for role in server.own_roles:
            missing.setdefault(name, [])
            missing[name] += hba.missing(rules, wanted, address, role)
        plain = [hba.first_match(rules, database, PROBE_ROLE, address, tls=False) for database in wanted]
        tls_only = any(rule is None or rule.method == "reject" for rule in plain)
        if tls_only and not missing[name] and str(fleet.poolers[name].effective("server_tls_sslmode")) == "disable":
            yield Problem(
                server.name,
                f"lets {name} in over TLS only, and server_tls_sslmode is disable",
                'set server_tls_sslmode = "require" in pgbouncer_settings',
            )
    lacking = {name: sorted(set(databases)) for name, databases in missing.items() if databases}
    if lacking:
        lines = hba.lines(lacking, addresses)[1:]
        yield Problem(
            server.name,
            "pg_hba.conf does not let the poolers in. Add these lines and reload PostgreSQL:\n" + "\n".join(lines),
            "its owner can" if server.hostless else "or set pgbouncer_manage_hba = True and the deploy adds them",
        )


def databases_of(fleet: Fleet, server: Server, pooler: str) -> list[str]:
    """The databases of the server a pooler connects to, the one it asks for verifiers included."""
    names = {entry.dbname for entry in fleet.poolers[pooler].entries if entry.server == server.name}
    declared = fleet.poolers[pooler].declared_version
    if server.auth_query and (declared is None or declared >= AUTH_ENTRY_SINCE):
        names.add(server.auth_database)
    return sorted(names)


def databases_by_pooler(fleet: Fleet, server: Server) -> dict[str, list[str]]:
    """Per pooler with an entry on this server the databases it connects to there."""
    return {name: databases_of(fleet, server, name) for name in fleet.poolers if serves(fleet, server, name)}


def serves(fleet: Fleet, server: Server, pooler: str) -> bool:
    """Whether a pooler has an entry on this server."""
    return any(entry.server == server.name for entry in fleet.poolers[pooler].entries)
