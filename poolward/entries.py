"""Which entry of a pooler's [databases] a service's connection takes. Pure."""

from __future__ import annotations

from poolward.errors import PoolwardError
from poolward.fleet import Entry, Pooler, Server
from poolward.service import Service

_MODES = ("session", "transaction", "statement")


def entry_taken(service: Service, pooler: Pooler, server: Server, dbname: str, role: str) -> Entry:
    """The entry of a pooler that serves this database in the wanted pool; raises PoolwardError unless one does."""
    serving = [
        entry
        for entry in pooler.entries
        if (entry.server, entry.dbname) == (server.name, dbname) and entry.keys.get("user", role) == role
    ]
    if service.pool in _MODES:
        fitting = [entry for entry in serving if pool_mode(pooler, entry) == service.pool]
    else:
        fitting = [entry for entry in serving if entry.name == service.pool]
    named_so = [entry for entry in fitting if entry.name == dbname]
    if len(fitting) == 1 or named_so:
        return named_so[0] if named_so else fitting[0]
    if fitting:
        names = ", ".join(entry.name for entry in fitting)
        raise PoolwardError(f"{pooler.name} has several entries for {dbname}: {names}.", 'Name one in "pool".')
    has = ", ".join(f"{entry.name} (pool_mode {pool_mode(pooler, entry)})" for entry in serving) or "none at all"
    what = f"in pool_mode {service.pool}" if service.pool in _MODES else f"called {service.pool}"
    raise PoolwardError(
        f"{pooler.name} has no entry {what} for the database {dbname} of {server.name}; it has {has}.",
        "Add one to pgbouncer_databases and deploy it first.",
    )


def pool_mode(pooler: Pooler, entry: Entry) -> str:
    """The pool_mode it runs in: its own, or that of the whole pooler."""
    return str(entry.keys.get("pool_mode", pooler.effective("pool_mode"))).lower()
