"""Fleets nobody would think of: poolers, entries, limits and modes by chance, within what the product admits."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from lab.topology import Lab, host_named
from poolward import declaration
from poolward.fleet import USER_LINES_SINCE, Fleet
from poolward.settings import Version
from tests.lab.scratch import folder
from tests.unit.samples import group_data

ROLES = ("ana", "ben", "cid", "dan")
FORCED_USERS_SINCE = Version(1, 26)
MODES = ("transaction", "transaction", "transaction", "session", "statement")


def random_fleet(
    lab: Lab, choose: random.Random, versions: Mapping[str, Version], name: str, *, server_port: int, port: int
) -> Fleet:
    """A fleet of one to three of these poolers, which listen on `port`; all its databases begin with `name`."""
    poolers = choose.sample(sorted(versions), choose.randint(1, len(versions)))
    database = {"postgresql_port": server_port, "pgbouncer_auth_database": auth_database(name)}
    users = {role: {"verifier_from": "db1"} for role in choose.sample(ROLES, choose.randint(1, len(ROLES)))}
    everywhere = maybe(choose, 0.3, pgbouncer_auth_query=False, pgbouncer_auth_users=users)
    hosts = {"db1": host(lab, "db1", **database, **everywhere)}
    for pooler in poolers:
        data = random_pooler(choose, versions[pooler], name, port)
        hosts[pooler] = host(lab, pooler, pgbouncer_version=str(versions[pooler]), **data, **everywhere)
    return declaration.read(hosts, {"databases": ["db1"], "poolers": poolers})


def random_pooler(choose: random.Random, version: Version, name: str, port: int) -> dict[str, Any]:
    """The data of one pooler host."""
    settings: dict[str, Any] = {
        "pool_mode": choose.choice(MODES),
        "default_pool_size": choose.randint(1, 6),
        "reserve_pool_size": choose.randint(0, 3),
        "reserve_pool_timeout": choose.choice([0, 0.1, 0.1, 0.5]),
        "min_pool_size": choose.choice([0, 0, 1, 3]),
        "query_wait_timeout": choose.choice([5, 15]),
        "server_login_retry": 0.5,
        "server_idle_timeout": choose.choice([600, 600, 1]),
        "server_lifetime": choose.choice([3600, 3600, 2]),
    }
    settings |= maybe(choose, 0.3, max_db_connections=choose.randint(4, 16))
    settings |= maybe(choose, 0.3, max_user_connections=choose.randint(4, 16))
    entries = {f"{name}_{letter}": random_entry(choose, version, name) for letter in "abcd"[: choose.randint(2, 4)]}
    settings |= {"listen_port": port, "unix_socket_dir": folder(port)}
    users = {role: random_user(choose) for role in ROLES if version >= USER_LINES_SINCE and choose.random() < 0.4}
    return {"pgbouncer_settings": settings, "pgbouncer_databases": entries, "pgbouncer_users": users}


def random_entry(choose: random.Random, version: Version, name: str) -> dict[str, Any]:
    entry: dict[str, Any] = {"host": "db1", "dbname": choose.choice(databases(name))}
    entry |= maybe(choose, 0.5, pool_size=choose.randint(1, 6))
    entry |= maybe(choose, 0.5, reserve_pool_size=choose.randint(0, 3))
    entry |= maybe(choose, 0.7, max_db_connections=choose.randint(2, 16))
    entry |= maybe(choose, 0.3, pool_mode=choose.choice(MODES))
    entry |= maybe(choose, 0.3, min_pool_size=choose.randint(0, 4))
    if version >= FORCED_USERS_SINCE:
        entry |= maybe(choose, 0.3, user=choose.choice(ROLES))
    return entry


def random_user(choose: random.Random) -> dict[str, Any]:
    line = {"pool_mode": choose.choice(MODES)}
    line |= maybe(choose, 0.6, pool_size=choose.randint(1, 9))
    line |= maybe(choose, 0.5, reserve_pool_size=choose.randint(0, 4))
    return line | maybe(choose, 0.4, max_user_connections=choose.randint(2, 12))


def maybe(choose: random.Random, chance: float, **keys: Any) -> dict[str, Any]:
    return keys if choose.random() < chance else {}


def host(lab: Lab, name: str, **data: Any) -> dict[str, Any]:
    """A host of the inventory as pyinfra would hand it over: Poolward's defaults, its address, and its own data."""
    return {**group_data("all"), "ssh_hostname": lab.address(host_named(name)), **data}


def databases(name: str) -> list[str]:
    """What a fleet's entries lead to."""
    return [f"{name}_{letter}" for letter in "xy"]


def auth_database(name: str) -> str:
    """Where the poolers of a fleet look up their clients, from 1.19 on."""
    return f"{name}_auth"
