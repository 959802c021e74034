"""A live look at one host for `verify`: gathers what the pure comparison needs, and changes nothing."""

from __future__ import annotations

from pyinfra.api import Host

from poolward import apply, auth_users, proof, secrets, verify
from poolward.desired import pooler_config
from poolward.errors import PoolwardError, Refused
from poolward.survey import Survey
from poolward.verify import Finding


def host(target: Host, seen: Survey) -> list[Finding]:
    """The findings of a host that is a pooler, a database server, or both."""
    found: list[Finding] = []
    if target.name in seen.servers:
        found += _server(target, seen)
    if target.name in seen.released:
        server, state = seen.fleet.servers[target.name], seen.released[target.name]
        found += verify.released_findings(seen.fleet, server, state, seen.networks(target.name), seen.poolers)
    if target.name in seen.poolers:
        found += _pooler(target, seen)
    return found


def _pooler(target: Host, seen: Survey) -> list[Finding]:
    state = seen.poolers[target.name]
    if state.version is None:
        product = seen.fleet.poolers[target.name].runtime.product
        return [Finding(target.name, product, ("PgBouncer is not installed",))]
    try:
        config = pooler_config(seen.fleet, target.name, state.version)
    except Refused as refused:
        return [Finding(target.name, "settings", tuple(f"{one.where}: {one.message}" for one in refused.problems))]
    against = auth_users.problems(seen.fleet, target.name, seen.servers)
    against += secrets.user_problems(target.inventory, seen.fleet, [target.name])
    found = [verify.user_finding(config.pooler, against)] if against or config.pooler.auth_users else []
    if not all(server.secrets_in_reach for server in config.servers):
        return [*found, *verify.pooler_findings(config, state, userlist=())]
    try:
        known = secrets.of_servers(target.inventory, config.servers)
    except PoolwardError as error:
        return [*found, Finding(target.name, "secrets", (error.message,))]
    live = secrets.live_userlist(target, config)
    wanted = secrets.wanted_userlist(target, config, known, live)
    differing = [
        *apply.userlist_differences(config, wanted, live),
        *apply.probe_file_differences(config, secrets.of_probe(known), secrets.live_probe_file(target, config)),
    ]
    return [
        *found,
        *verify.pooler_findings(config, state, userlist=differing),
        verify.login_finding(target.name, proof.login_problem(target, config, secrets.of_probe(known))),
    ]


def _server(target: Host, seen: Survey) -> list[Finding]:
    server = seen.fleet.servers[target.name]
    try:
        match = None if server.dsn else not secrets.read(target, server).differing
    except PoolwardError as error:
        return [Finding(server.name, "secrets", (error.message,))]
    return verify.server_findings(
        seen.fleet,
        server,
        seen.servers[server.name],
        seen.versions(),
        seen.networks(server.name),
        secrets_match=match,
    )
