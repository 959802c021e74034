"""How many server connections one PgBouncer process can open: PgBouncer's own rules as an upper bound. Pure.

Source of fact: launch_new_connection(), pool_pool_size() and pool_res_pool_size() of PgBouncer's objects.c; the rules
have been the same from 1.18 to 1.26 but for the per-user sizes, which older versions do not have. Seen to hold, and to
be reached, on the binaries in PostgreSQL's own log: tests/lab/test_budget_under_load.py.

What it leaves out: cancel requests pass every limit, but take no connection of PostgreSQL's unless the one who asks
leaves before PgBouncer has reached the server. 1.18 then logs in on what it has just opened, and closes it when idle.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class EntryPools:
    """One line of `[databases]` as far as its pools go; all numbers are connections.

    A pool belongs to one entry and one server-side user. `users` are those who may have one: a forced user alone, or
    the roles that may log in, the auth role among them where it asks in this very entry. None: whoever auth_query
    admits, so that only `max_db_connections` bounds the entry.
    """

    name: str
    pool_size: int
    reserve_pool_size: int
    max_db_connections: int
    """0: no limit."""
    users: tuple[str, ...] | None = None
    user_pool_size: Mapping[str, int] = field(default_factory=dict)
    """`pool_size` of a [users] line, which goes before the entry's (from 1.23)."""
    user_reserve_pool_size: Mapping[str, int] = field(default_factory=dict)
    reconnects: int = 0
    """How often RECONNECT is said, or the connection string changes, while a pool's connections are all busy: until a
    new one is there PgBouncer does not know the server's parameters, and opens it whatever the pool's size is."""

    def pool(self, user: str) -> int:
        """The most one user's pool can hold: its size and its reserve, which is per pool, too.

        A size of 0 is no limit (from 1.24): then the entry's is. Raises ValueError where there is none either.
        """
        size = self.user_pool_size.get(user, self.pool_size)
        if not size:
            return self._limit(f"the pool of {user} has no size")
        return size + self.user_reserve_pool_size.get(user, self.reserve_pool_size) + self.reconnects

    @property
    def bound(self) -> int:
        """The most all pools of the entry can hold together; raises ValueError where nothing bounds it."""
        if self.users is None:
            return self._limit("any role may log in")
        pools = sum(self.pool(user) for user in self.users)
        return min(pools, self.max_db_connections) if self.max_db_connections else pools

    def _limit(self, why: str) -> int:
        if not self.max_db_connections:
            raise ValueError(f"nothing bounds {self.name}: {why} and there is no max_db_connections")
        return self.max_db_connections


def process_bound(entries: Sequence[EntryPools], max_user_connections: Mapping[str, int] | None = None) -> int:
    """The most connections one process can open over all its entries.

    `max_user_connections` by user (0 or missing: no limit) counts over all entries; it can only be reckoned with where
    every entry's users are known. Leave out those whom auth_query admits before 1.23, where each entry counts anew.
    """
    by_entry = sum(entry.bound for entry in entries)
    if any(entry.users is None for entry in entries):
        return by_entry
    limits = max_user_connections or {}
    by_user = 0
    for user in {user for entry in entries for user in entry.users or ()}:
        pools = sum(min(entry.pool(user), entry.bound) for entry in entries if user in (entry.users or ()))
        by_user += min(pools, limits[user]) if limits.get(user) else pools
    return min(by_entry, by_user)
