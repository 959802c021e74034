"""The bound against a brute-force simulation of PgBouncer's rules, and the sizes of the seeds worked out by hand."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolward.pools import EntryPools, process_bound

USERS = ("ana", "ben", "cid")


@dataclass
class Process:
    """One PgBouncer, as launch_new_connection() decides: pool, then entry, then user; idle ones of others make room."""

    entries: dict[str, EntryPools]
    user_limits: dict[str, int]
    busy: Counter[tuple[str, str]] = field(default_factory=Counter)
    idle: Counter[tuple[str, str]] = field(default_factory=Counter)
    outdated: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Of the busy ones, those to close when they are released."""
    welcomed: set[tuple[str, str]] = field(default_factory=set)
    """The pools that know their server's parameters."""

    @property
    def connections(self) -> int:
        return self.busy.total() + self.idle.total()

    def _count(self, *, entry: str | None = None, user: str | None = None) -> int:
        return sum(
            number
            for counter in (self.busy, self.idle)
            for (of_entry, of_user), number in counter.items()
            if entry in (None, of_entry) and user in (None, of_user)
        )

    def ask(self, entry: str, user: str, *, waited_long: bool) -> bool:
        """A client asks for a server connection; True when it gets one."""
        pool, pools = (entry, user), self.entries[entry]
        if self.idle[pool]:
            self.idle[pool] -= 1
            self.busy[pool] += 1
            return True
        size = pools.user_pool_size.get(user, pools.pool_size)
        reserve = pools.user_reserve_pool_size.get(user, pools.reserve_pool_size)
        limit = size + reserve if waited_long else size
        unlimited = not size or pool not in self.welcomed
        if self._count(entry=entry, user=user) >= limit and not unlimited:
            return False
        full = pools.max_db_connections and self._count(entry=entry) >= pools.max_db_connections
        if full and not self._evict(lambda other: other[0] == entry):
            return False
        full = self.user_limits.get(user) and self._count(user=user) >= self.user_limits[user]
        if full and not self._evict(lambda other: other[1] == user):
            return False
        self.busy[pool] += 1
        self.welcomed.add(pool)
        return True

    def reconnect(self) -> None:
        """Idle connections are closed at once, busy ones when they are released."""
        self.idle.clear()
        self.welcomed.clear()
        self.outdated = Counter(self.busy)

    def _evict(self, belongs) -> bool:
        for other, number in self.idle.items():
            if number and belongs(other):
                self.idle[other] -= 1
                return True
        return False

    def release(self, choose: random.Random) -> None:
        """Some client ends its transaction."""
        lent = [pool for pool, number in self.busy.items() if number]
        if lent:
            pool = choose.choice(lent)
            self.busy[pool] -= 1
            if self.outdated[pool]:
                self.outdated[pool] -= 1
            else:
                self.idle[pool] += 1


def entry_pools(name: str, forced: bool) -> st.SearchStrategy[EntryPools]:
    few = st.integers(0, 4)
    return st.builds(
        EntryPools,
        name=st.just(name),
        pool_size=st.integers(1, 5),
        reserve_pool_size=few,
        max_db_connections=st.integers(0, 9),
        users=st.just(USERS[:1]) if forced else st.just(USERS),
        user_pool_size=st.dictionaries(st.sampled_from(USERS), st.integers(1, 7), max_size=2),
        user_reserve_pool_size=st.dictionaries(st.sampled_from(USERS), few, max_size=2),
    )


FLEETS = st.tuples(
    st.tuples(entry_pools("shop", False), entry_pools("archive", False), entry_pools("forced", True)),
    st.dictionaries(st.sampled_from(USERS), st.integers(0, 8)),
)


@settings(max_examples=1500, deadline=None)
@given(FLEETS, st.integers(0, 2), st.integers(0, 2**32))
def test_the_bound_never_under_counts_the_simulation(fleet, reconnects: int, seed: int) -> None:
    entries, limits = fleet
    entries = tuple(replace(entry, reconnects=reconnects) for entry in entries)
    process, choose = Process({entry.name: entry for entry in entries}, limits), random.Random(seed)
    bound, peak = process_bound(entries, limits), 0
    reconnect_at = set(choose.sample(range(120), reconnects))
    for step in range(120):
        if step in reconnect_at:
            process.reconnect()
        entry = choose.choice(entries)
        if choose.random() < 0.8:
            process.ask(entry.name, choose.choice(entry.users or USERS), waited_long=choose.random() < 0.6)
        else:
            process.release(choose)
        peak = max(peak, process.connections)
    assert peak <= bound <= sum(entry.bound for entry in entries)  # the sum is what the bill adds up


def test_the_bound_is_reached_where_every_client_stays() -> None:
    entries = (EntryPools("shop", 4, 2, 0, USERS), EntryPools("archive", 3, 0, 5, USERS))
    process = Process({entry.name: entry for entry in entries}, {})
    for entry in entries:
        for user in USERS:
            while process.ask(entry.name, user, waited_long=True):
                pass
    assert process.connections == process_bound(entries) == 3 * 6 + 5


def test_every_reconnect_adds_one_to_a_pool_whose_connections_are_all_busy() -> None:
    entries = (EntryPools("shop", 3, 1, 0, ("ana",), reconnects=2),)
    process = Process({entry.name: entry for entry in entries}, {})
    for _ in range(3):
        while process.ask("shop", "ana", waited_long=True):
            pass
        process.reconnect()
    assert process.connections == process_bound(entries) == 3 + 1 + 2


def test_a_pool_without_a_size_is_bounded_by_its_entry_alone() -> None:
    assert EntryPools("shop", 0, 5, 40, ("ana",)).bound == 40
    assert EntryPools("shop", 5, 5, 40, ("ana",), {"ana": 0}).bound == 40
    with pytest.raises(ValueError, match="nothing bounds shop: the pool of ana has no size"):
        _ = EntryPools("shop", 0, 5, 0, ("ana",)).bound


def test_auth_query_admits_every_role_so_only_the_entry_limit_bounds_it() -> None:
    assert process_bound([EntryPools("shop", 20, 5, 40)]) == 40
    with pytest.raises(ValueError, match="nothing bounds shop"):
        process_bound([EntryPools("shop", 20, 5, 0)])


@pytest.mark.parametrize(
    ("what", "entries", "processes", "connections"),
    [
        ("one database, 20 + 5, one role", [EntryPools("db", 20, 5, 0, ("app",))], 1, 25),
        ("the same with four roles and no limit", [EntryPools("db", 20, 5, 0, ("a", "b", "c", "d"))], 1, 100),
        ("25 + 10 under max_db_connections = 50, two roles", [EntryPools("db", 25, 10, 50, ("a", "b"))], 1, 50),
        ("25 + 10 under max_db_connections = 50, one role", [EntryPools("db", 25, 10, 50, ("a",))], 1, 35),
        ("2 replicas of 25", [EntryPools("nova", 25, 0, 0, ("app",))], 2, 50),
        ("3 replicas of 25", [EntryPools("nova", 25, 0, 0, ("app",))], 3, 75),
        ("20 application hosts of 25: a plan of 500 is just full", [EntryPools("app", 25, 0, 0, ("app",))], 20, 500),
        ("the same, old and new side by side on every host", [EntryPools("app", 25, 0, 0, ("app",))], 40, 1000),
    ],
)
def test_the_sizes_of_well_known_setups(what: str, entries: list[EntryPools], processes: int, connections: int) -> None:
    assert processes * process_bound(entries) == connections, what
