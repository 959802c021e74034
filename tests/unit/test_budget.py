"""The bill of the lab, line by line, and what is said when it does not fit."""

from __future__ import annotations

import dataclasses

import pytest

from poolward import budget, declaration
from poolward.bill import Bill, Line
from tests.unit.samples import BOOKWORM, FORKY, GROUPS, TRIXIE, hosts, lab, server_state

VERSIONS = {"pool1": TRIXIE, "pool2": BOOKWORM}
ADDRESSES = {"pool1": "192.0.2.21", "pool2": "192.0.2.22"}


def made(state=None, **changes) -> Bill:
    return budget.bill(lab(**changes), "db1", state or server_state(), VERSIONS, ADDRESSES)


def entries(limit: int) -> dict[str, dict[str, object]]:
    return {"tracksolid_db": {"host": "db1", "max_db_connections": limit}}


def test_every_pooler_and_entry_is_a_line_and_1_18_has_no_entry_of_its_own_for_verifiers() -> None:
    lines = {line.what: line.connections for line in made().takes}
    assert lines == {
        "pool1  tracksolid_db": 25,
        "pool1  tracksolid_db_session": 8,
        "pool1  tracksolid-archive": 6,
        "pool1  lookup of verifiers": 2,
        "pool2  tracksolid_db": 25,
        "pool2  tracksolid_db_session": 8,
        "pool2  tracksolid-archive": 6,
        "pgbouncer_probe": 0,
    }


def test_without_auth_query_the_users_are_known_and_bound_each_entry() -> None:
    users = {"worker": {"verifier_from": "db1"}, "anna": {"password_command": ["vault"]}}  # anna is no role
    wide = {"shop": {"host": "db1", "max_db_connections": 60}, "narrow": {"host": "db1", "max_db_connections": 10}}
    by_file = {"pgbouncer_auth_query": False, "pgbouncer_auth_users": users, "pgbouncer_databases": wide}
    found = made(**by_file)
    lines = {line.what: (line.connections, line.source) for line in found.takes}
    each = "1 of userlist.txt × (20 + 5 + 1 at a RECONNECT) and the probe = 29"
    old = "1 of userlist.txt × (20 + 5 + 2 at a RELOAD and a RECONNECT) and the probe = 30"
    assert lines == {
        "pool1  shop": (29, each),
        "pool1  narrow": (10, f"max_db_connections; {each} without it"),
        "pool2  shop": (30, old),
        "pool2  narrow": (10, f"max_db_connections; {old} without it"),
        "pgbouncer_probe": (0, "at most 3, counted inside the entries"),
    }
    assert not any("looks up verifiers" in note for note in found.notes)
    # A limit per role counts over all entries.
    limited = made(**by_file, pgbouncer_users={"worker": {"max_user_connections": 4}})
    assert limited.worst_case < found.worst_case


def test_reserved_connections_and_old_walsenders_are_taken_off() -> None:
    state = dataclasses.replace(
        server_state(), reserved_connections=4, max_wal_senders=10, version_num=110022, backends=()
    )
    stays = 4  # analytics_mcp
    assert made(state).left == 100 - 3 - 4 - 10 - stays
    assert made(dataclasses.replace(state, version_num=120000)).left == 100 - 3 - 4 - stays


@pytest.mark.parametrize(("limit", "connections"), [({}, 7), ({"max_db_connections": 30}, 20 + 2 + 1)])
def test_a_forced_users_pool_is_as_wide_as_its_users_line_and_one_more_after_a_reconnect(limit, connections) -> None:
    forced = {"tracksolid_db": {"host": "db1", "user": "ana", "pool_size": 5, "reserve_pool_size": 2, **limit}}
    users = {"ana": {"pool_size": 20}}
    fleet = lab(pgbouncer_version="1.26.1", pgbouncer_databases=forced, pgbouncer_users=users)
    found = budget.bill(fleet, "db1", server_state(), {})
    # without a limit of its own the entry gets one full pool, by its own size, as its max_db_connections
    assert {line.connections for line in found.takes if line.entry} == {connections}


@pytest.mark.parametrize(("limit", "fits"), [(47, True), (48, False)])
def test_a_limit_counts_once_on_each_pooler(limit: int, fits: bool) -> None:
    state = dataclasses.replace(server_state(), backends=())
    found = made(state, pgbouncer_databases=entries(limit), services=[])
    assert found.worst_case == 2 * limit + 2
    assert found.fits is fits


def test_the_smallest_change_makes_it_fit_exactly() -> None:
    state = dataclasses.replace(server_state(), backends=())
    found = made(state, pgbouncer_databases=entries(60), services=[])
    assert found.smallest_change == (
        "Smallest change that fits: max_db_connections = 47 on tracksolid_db (it counts once on each of 2 poolers)."
    )
    assert made(state, pgbouncer_databases=entries(47), services=[]).fits


def test_old_and_new_side_by_side_count_the_largest_hosts_twice() -> None:
    assert made().worst_case_while_rolling(1) == 80 + 41
    assert made().worst_case_while_rolling(2) == 80 + 41 + 39


def test_pooled_superusers_and_starving_lookups_are_said() -> None:
    notes = " ".join(made().notes)
    assert "postgres is pooled and superuser" in notes
    assert "pool2 has PgBouncer 1.18.0: it looks up verifiers inside each entry" in notes


def test_what_an_old_pgbouncer_does_is_said_of_those_alone() -> None:
    notes = made(pgbouncer_settings={"max_user_connections": 9}).notes
    assert [note[:33] for note in notes if "when a request to cancel" in note] == ["pool2 has PgBouncer 1.18.0, which"]
    assert [note[:33] for note in notes if "counts max_user_connections" in note] == [
        "pool2 has PgBouncer 1.18.0, which"
    ]


def test_a_single_pooler_is_named_as_the_single_point_of_failure() -> None:
    fleet = lab()
    alone = dataclasses.replace(fleet, poolers={"pool1": fleet.poolers["pool1"]})
    notes = budget.bill(alone, "db1", server_state(), {"pool1": TRIXIE}, ADDRESSES).notes
    assert any("pool1 is the only pooler" in note for note in notes)


def test_the_only_pooler_of_a_server_is_named_and_what_another_one_lacks_is_not() -> None:
    data = hosts(services=[])
    data["db2"] = {**data["db1"], "ssh_hostname": "192.0.2.12", "pgbouncer_auth_role": "pgbouncer_auth_db2"}
    data["pool1"]["pgbouncer_databases"], data["pool2"]["pgbouncer_databases"] = (
        {"a": {"host": "db1"}},
        {"b": {"host": "db2"}},
    )
    fleet = declaration.read(data, {**GROUPS, "databases": ["db1", "db2"]})
    notes = " ".join(budget.bill(fleet, "db1", server_state(), VERSIONS, ADDRESSES).notes)
    assert "pool1 is the only pooler of db1" in notes
    assert "pool2" not in notes


def test_the_smallest_change_is_the_smallest_where_poolers_differ() -> None:
    lines = [Line("", 25, "", "pool1", "shop"), Line("", 37, "", "pool2", "shop")]
    found = Bill("db1", "17", (Line("max_connections", 17),), tuple(lines))
    assert found.smallest_change.startswith("Smallest change that fits: max_db_connections = 8 on shop")


def test_limits_of_roles_and_databases_on_the_server_are_said_where_the_poolers_may_open_more() -> None:
    state = server_state()
    roles = {**state.roles, "worker": dataclasses.replace(state.roles["worker"], connection_limit=63)}
    databases = {
        **state.databases,
        "tracksolid_db": dataclasses.replace(state.databases["tracksolid_db"], connection_limit=65),
        "tracksolid-archive": dataclasses.replace(state.databases["tracksolid-archive"], connection_limit=12),
    }
    notes = " ".join(made(dataclasses.replace(state, roles=roles, databases=databases)).notes)
    # 25 + 8 + 6 on each of two poolers; tracksolid_db is served by two entries of 25 and 8.
    assert "worker has CONNECTION LIMIT 63, and its pools may open 78" in notes
    assert "tracksolid_db has CONNECTION LIMIT 65, and the poolers may open 66" in notes
    assert "tracksolid-archive has" not in notes


def test_limits_per_user_lower_the_bill_where_the_users_are_known() -> None:
    forced = {name: {"host": "db1", "user": "app", "pool_size": 20, "dbname": "tracksolid_db"} for name in ("a", "b")}
    users = {"app": {"max_user_connections": 30}}
    fleet = lab(pgbouncer_databases=forced, pgbouncer_users=users, pgbouncer_version="1.26.1", services=[])
    found = budget.bill(fleet, "db1", server_state(), dict.fromkeys(VERSIONS, FORKY), ADDRESSES)
    assert {line.what: line.connections for line in found.takes if line.pooler == "pool1"} == {
        "pool1  a": 25,
        "pool1  b": 25,
        "pool1  limits of roles": -20,
        "pool1  lookup of verifiers": 2,
    }


def test_what_the_services_may_open_directly_is_said_where_it_is_the_incident() -> None:
    # 20 + 20 + 18 + 15 + 6 + 16 + 12 + 6 + 4, against 100 - 3
    assert any("the 9 services that say so may open 117 connections, 20 more than the 97" in n for n in made().notes)
    assert not any("may open 117" in note for note in made(services=[]).notes)


@pytest.mark.parametrize(("interval", "said"), [("0", True), ("2s", False), (None, True)])
def test_a_statement_that_outlives_its_client_is_said_unless_the_server_ends_it(
    interval: str | None, said: bool
) -> None:
    state = dataclasses.replace(server_state(), client_connection_check_interval=interval)
    assert any("A statement whose client has gone runs on" in note for note in made(state).notes) is said
