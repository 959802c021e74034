"""Users of userlist.txt against what PostgreSQL says of their roles: each reason to refuse one, by name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from poolward import auth, auth_users, declaration, scram
from poolward.fleet import Fleet
from poolward.observed import ServerState
from tests.unit.samples import ADDRESSES, GROUPS, TRIXIE, hosts, lab, server_state

FROM_DB1: dict[str, Any] = {"verifier_from": "db1"}
BY_PASSWORD: dict[str, Any] = {"password_command": ["vault"]}
BOTH = {**GROUPS, "databases": ["db1", "db2"]}


def with_role(name: str, **attributes: Any) -> ServerState:
    state = server_state()
    return replace(state, roles={**state.roles, name: replace(state.roles["worker"], **attributes)})


def told(users: dict[str, Any], state: ServerState | None = None, **changes: Any) -> list[str]:
    fleet = lab(pgbouncer_auth_users=users, **changes)
    return [str(problem) for problem in auth_users.problems(fleet, "pool1", {"db1": state or server_state()})]


def test_role_that_may_log_in_and_a_user_of_the_console_are_fine():
    settings = {"admin_users": "anna", "stats_users": ["ben", "worker"]}
    users = {"worker": FROM_DB1, "postgres": FROM_DB1, "anna": BY_PASSWORD, "ben": BY_PASSWORD}
    assert told(users, pgbouncer_settings=settings) == []


OBSTACLES = {
    "nobody-here": "is no role that may log in on db1",
    "nologin_role": "is no role that may log in on db1",
    "nopassword_role": "has no password on db1",
    "expired_role": "has expired (VALID UNTIL) on db1",
    "other_superuser": "is a superuser that pgbouncer_allow_superusers does not name on db1",
    "replication_role": "is a replication role that pgbouncer_allow_superusers does not name on db1",
}


def test_roles_that_must_not_pass_are_refused_by_name_and_all_at_once():
    found = told(dict.fromkeys(OBSTACLES, FROM_DB1))
    assert [line.split("\n")[0] for line in found] == [
        f'pool1: pgbouncer_auth_users["{name}"]: {reason}' for name, reason in OBSTACLES.items()
    ]


@pytest.mark.parametrize("source", [FROM_DB1, BY_PASSWORD], ids=["verifier", "password"])
def test_role_with_several_faults_has_them_all_named_whatever_its_source(source):
    found = told({"old": source}, with_role("old", password="md5", expired=True, superuser=True))
    assert [line.split(" on db1")[0].split("]: ")[1] for line in found] == [
        "has an md5 password and no SCRAM verifier",
        "has expired (VALID UNTIL)",
        "is a superuser that pgbouncer_allow_superusers does not name",
    ]
    assert told({"old": source}, with_role("old", superuser=True), pgbouncer_allow_superusers=["old"]) == []


def test_kind_of_password_that_nobody_may_see_is_not_held_against_a_role():
    assert told({"old": FROM_DB1}, with_role("old", password=None)) == []


def test_password_of_nobody_is_of_no_use():
    found = told({"anna": BY_PASSWORD})
    assert len(found) == 1
    assert "neither in admin_users nor in stats_users: it could log in to nothing" in found[0]


def test_password_of_nobody_is_of_use_where_the_entry_forces_a_user():
    shop = {"shop": {"host": "db1", "user": "worker"}}
    assert told({"anna": BY_PASSWORD}, pgbouncer_databases=shop, pgbouncer_version="1.26.1") == []


def test_user_of_the_console_has_to_be_somewhere():
    """From 1.19 on the lookup function serves the console, too, but only for whom it hands out."""
    names = ["worker", "pgbouncer", "pgbouncer_auth", "anna", "expired_role"]
    found = told({}, pgbouncer_settings={"admin_users": names})
    assert [line.split("\n")[0] for line in found] == [
        "pool1: pgbouncer_settings: admin_users names anna, who is not in userlist.txt and is no role that may log in "
        "on db1",
        "pool1: pgbouncer_settings: admin_users names expired_role, who is not in userlist.txt and has expired (VALID "
        "UNTIL) on db1",
    ]


def two_servers(**users: Any) -> Fleet:
    entries = {"shop": {"host": "db1"}, "crm": {"host": "db2"}}
    data = hosts("db2", pgbouncer_databases=entries, pgbouncer_auth_users=users)
    data["db2"]["pgbouncer_auth_role"] = "pgbouncer_auth_db2"
    return declaration.read(data, BOTH)


def against(fleet: Fleet, stored: dict[str, dict[str, str]], **passwords: str) -> list[str]:
    found = auth_users.secret_problems(fleet.poolers["pool1"], fleet.servers_of(["pool1"]), stored, passwords)
    return [str(problem) for problem in found]


def test_password_that_is_not_the_roles_is_refused_and_not_repeated():
    fleet = lab(pgbouncer_auth_users={"worker": BY_PASSWORD})
    stored = {"db1": {"worker": scram.verifier("right-canary")}}
    assert against(fleet, stored, worker="right-canary") == []
    assert against(fleet, {"db1": {}}, worker="any-canary") == []
    found = against(fleet, stored, worker="wrong-canary")
    assert len(found) == 1
    assert "worker" in found[0]
    assert "PgBouncer would let worker in, and db1 would not" in found[0]
    assert "canary" not in found[0]


def test_one_name_with_two_verifiers_on_two_servers_is_refused():
    fleet, same = two_servers(worker=FROM_DB1, anna=BY_PASSWORD), scram.verifier("x")
    assert against(fleet, {"db1": {"worker": same}, "db2": {"worker": same}}) == []
    assert against(fleet, {"db1": {"worker": same}, "db2": {}}) == []
    stored = {name: {"worker": scram.verifier("x"), "anna": scram.verifier("y")} for name in ("db1", "db2")}
    found = against(fleet, stored, anna="y")
    assert [line.split("\n")[0] for line in found] == [
        f'pool1: pgbouncer_auth_users["{name}"]: db1, db2 have different verifiers of it, and userlist.txt holds one: '
        "on the others it could not log in"
        for name in ("worker", "anna")
    ]


def test_a_servers_users_are_those_of_the_poolers_with_an_entry_on_it():
    changed = hosts("db2", pgbouncer_databases={"shop": {"host": "db1"}}, pgbouncer_auth_users={"worker": FROM_DB1})
    changed["db2"] |= {"pgbouncer_auth_role": "pgbouncer_auth_db2", "ssh_hostname": ADDRESSES["db1"]}
    changed["pool2"] |= {
        "pgbouncer_databases": {"crm": {"host": "db2"}}, "pgbouncer_auth_users": {"anna": {"verifier_from": "db2"}}
    }  # fmt: skip
    fleet = declaration.read(changed, BOTH)
    assert {name: server.auth_users for name, server in fleet.servers.items()} == {"db1": ("worker",), "db2": ("anna",)}


@pytest.mark.parametrize(
    ("printed", "reason"),
    [
        ("", "nothing"),
        ("two\ncanaries", "more than one line"),
        ("canary\r", "more than one line"),
        ("SCRAM-SHA-256$4096:canary", "a hash"),
        ("md5" + "0" * 32, "a hash"),
    ],
)
def test_what_is_no_password(printed: str, reason: str):
    said = auth_users.password_problem(printed)
    assert said is not None
    assert reason in said
    assert "canar" not in said


@pytest.mark.parametrize("printed", ["x", " with blanks ", "q\"uo'te", "é😀", "md5 but words"])
def test_what_is_one(printed: str):
    assert auth_users.password_problem(printed) is None


@pytest.mark.parametrize(
    ("package", "named"),
    [("1.24.1-1+deb13u2", True), ("1.18.0-1+deb12u1", True), ("1.26.1-1", False), (None, False)],
)
def test_what_a_password_in_the_file_opens_is_said_where_it_does(package: str | None, named: bool):
    pooler = lab(pgbouncer_auth_users={"worker": FROM_DB1}).poolers["pool1"]
    assert any("CVE-2026-107350" in note for note in auth_users.notes(pooler, package)) is named
    assert list(auth_users.notes(lab().poolers["pool1"], package)) == []


def test_function_that_nobody_asks_any_more_is_named_and_left_alone():
    alone = lab(pgbouncer_auth_query=False, pgbouncer_auth_users={"worker": FROM_DB1})
    server, state = alone.servers["db1"], server_state()
    said = auth.left_behind(server, state)
    assert "pgbouncer.user_lookup(text) in postgres, tracksolid-archive, tracksolid_db and the role" in said
    assert auth.differences(server, state, ()) == []
    assert auth.databases_with_lookup(alone, server, {"pool1": TRIXIE}) == ()
    bare = replace(state, roles={}, databases={})
    assert auth.left_behind(server, bare) == auth.left_behind(lab().servers["db1"], state) == ""
