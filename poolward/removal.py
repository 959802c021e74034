"""What a removal takes away, and what it is refused for: anything that is still pooled, or not Poolward's own. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping

from poolward import hba
from poolward.errors import Problem
from poolward.fleet import PROBE_ROLE, Pooler, Server
from poolward.observed import Dependency, PooledClient, PoolerTraces, ServerTraces, ServiceState, Sessions, Traffic
from poolward.observed.sessions import Backend
from poolward.service import Service

_OWNS = "o"
_HOLDS = {_OWNS: "owns", "a": "has rights on", "r": "is named in", "i": "has initial rights on"}


def own_roles(server: Server) -> tuple[str, ...]:
    """The roles a deploy makes on a server, or made before it was declared to do without the lookup function."""
    return (server.auth_role, PROBE_ROLE)


def pooled(pooler: str, traffic: Traffic, owners: Mapping[PooledClient, str]) -> list[Problem]:
    """The clients of a pooler but for Poolward's own; `owners` gives the declared services that were recognized."""
    counted = Counter(
        (owners.get(client, ""), f"{client.role} on {client.database} from {_whereabouts(client)}")
        for client in traffic.clients
        if client.role != PROBE_ROLE
    )
    return [
        Problem(
            pooler,
            f"{count} client{'s' if count > 1 else ''}: {who}" + (f" ({owner})" if owner else ""),
            _take_back(owner)
            if owner
            else "none of the declared services: end it, or have it connect to the server itself",
        )
        for (owner, who), count in sorted(counted.items())
    ]


def moved(
    service: Service, state: ServiceState, reached: Collection[str] | None, poolers: Collection[str]
) -> list[Problem]:
    """Whether a service would look for one of these poolers, running or not; `reached` are those its settings name.

    None: they name something else, which may lead to a pooler all the same.
    """
    if state.unproved is not None:
        return [Problem(service.where, "a move of it was cut off", _take_back(service.name))]
    if reached is None:
        return [
            Problem(
                service.where,
                f"it cannot be told where its settings lead ({state.path}): to none of the hosts declared",
                "give the server's or the pooler's address as the service knows it, or take it out of `services`",
            )
        ]
    named = ", ".join(sorted(set(reached) & set(poolers)))
    return (
        [Problem(service.where, f"its settings lead to {named} ({state.path})", _take_back(service.name))]
        if named
        else []
    )


def obstacles(server: Server, traces: ServerTraces, poolers: Collection[str]) -> list[Problem]:
    """What keeps the database side from being removed; `poolers` are those of the inventory."""
    found: list[Problem] = []
    if traces.in_recovery and (traces.roles or traces.databases):
        found.append(
            Problem(server.name, "is a standby, where nothing can be dropped", "name the primary in `databases`")
        )
    found += [
        Problem(
            server.name,
            f"pg_hba.conf lets in {pooler}, which is not in this inventory and may still serve clients",
            f"add it to `poolers`, or take its line out of pg_hba.conf on {server.name}",
        )
        for pooler in hba.poolers_of(traces.hba_block)
        if pooler not in poolers
    ]
    return found + [_obstacle(server, dependency) for dependency in sorted(traces.dependencies)]


def strangers(server: Server, sessions: Sessions, traffic: Iterable[Traffic]) -> list[Backend]:
    """Sessions of Poolward's roles that none of these poolers knows: somebody else uses them.

    `sessions` have to be older than `traffic`, so that a pooler's own are in its list or gone.
    """
    known = {connection.pid for one in traffic for connection in one.servers}
    return [found for found in sessions.backends if found.role in own_roles(server) and found.pid not in known]


def used_by_others(server: Server, backends: Iterable[Backend]) -> list[Problem]:
    """The refusal for such sessions."""
    return [
        Problem(
            server.name,
            f"{found.role} is logged in from {found.peer or 'a Unix socket'} (pid {found.pid}), "
            "which is no pooler of this inventory",
            "another pooler needs these roles: remove that one first",
        )
        for found in backends
    ]


def gone_from_pooler(pooler: Pooler, traces: PoolerTraces) -> list[str]:
    """What goes from a pooler host, to be said before."""
    if not traces.any:
        return []
    service = [pooler.runtime.service] if traces.runs else []
    packages = [f"the {pooler.runtime.product} {package}" for package in traces.packages]
    return [f"{pooler.name}: this goes: {', '.join([*service, *packages, *traces.files])}"]


def gone_from_server(server: Server, traces: ServerTraces, poolers: Collection[str], *, whole: bool) -> list[str]:
    """What goes from a server, to be said before: all of it only with the last pooler."""
    lines = [line for line in traces.hba_block if line not in hba.without(traces.hba_block, poolers)]
    shut_out = ", ".join(hba.poolers_of(lines))
    what: list[str] = []
    if shut_out and server.manage_hba:
        what.append(f"in pg_hba.conf the lines of {shut_out}")
    if whole and traces.hba_closed:
        what.append("in pg_hba.conf what closes the direct path of services")
    if whole and traces.roles:
        what.append(f"the roles {', '.join(traces.roles)}")
    if whole and traces.databases:
        what.append(f"the lookup function in {', '.join(traces.databases)}")
    if whole:
        what += traces.files
    said = [f"{server.name}: this goes: {'; '.join(what)}"] if what else []
    if not whole and traces.roles:
        said.append(f"{server.name}: roles, lookup function and secrets stay for the poolers that are not in this run")
    if not server.manage_hba and (traces.roles or shut_out):
        said.append(
            f"{server.name}: pg_hba.conf is yours (pgbouncer_manage_hba = False): "
            f"what lets {', '.join(sorted(poolers))} in can go afterwards"
        )
    return said


def left_to_its_owner(server: Server) -> list[str]:
    """What a removal does not touch, to be said before."""
    if not server.hostless:
        return []
    return [
        f"{server.name}: its roles and what else its owner made for the poolers stay; afterwards "
        "`poolward handover INVENTORY --remove` prints the SQL that takes them back"
    ]


def _obstacle(server: Server, found: Dependency) -> Problem:
    where = f" in {found.database}" if found.database else ""
    if not found.role:
        message = f"{found.what}{where} needs pgbouncer.user_lookup(text)"
        return Problem(server.name, message, "drop it, or have it do without")
    message = f"{found.role} {_HOLDS.get(found.kind, 'is needed by')} {found.what}{where}"
    if found.kind == _OWNS:
        return Problem(server.name, message, "give it another owner (ALTER … OWNER TO), or drop it")
    return Problem(server.name, message, f"no deploy gave it that: take it back (REVOKE … FROM {found.role})")


def _whereabouts(client: PooledClient) -> str:
    return client.peer.address if client.peer else f"a process of its own host (pid {client.pid})"


def _take_back(service: str) -> str:
    return f"first: deploy/rollback.py --data only={service}"
