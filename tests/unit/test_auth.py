"""The database side: every property the roles, the schema and the function must have, each changed on its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from poolward import auth
from poolward.errors import PoolwardError
from poolward.observed import ServerState
from poolward.settings import Version
from poolward.survey import Survey
from tests.unit.samples import BOOKWORM, FORKY, TRIXIE, lab, pooler_state, server_state

DATABASES = ("postgres", "tracksolid-archive", "tracksolid_db")
Change = Callable[[ServerState], ServerState]


def role(name: str, **attributes: Any) -> Change:
    return lambda state: replace(state, roles={**state.roles, name: replace(state.roles[name], **attributes)})


def no_role(name: str) -> Change:
    return lambda state: replace(state, roles={other: found for other, found in state.roles.items() if other != name})


def database(**attributes: Any) -> Change:
    def change(state: ServerState) -> ServerState:
        found = state.databases["tracksolid_db"]
        assert found.inside is not None
        changed = replace(found, inside=replace(found.inside, **attributes))
        return replace(state, databases={**state.databases, "tracksolid_db": changed})

    return change


def function(**attributes: Any) -> Change:
    def change(state: ServerState) -> ServerState:
        inside = state.databases["tracksolid_db"].inside
        assert inside is not None
        assert inside.function is not None
        return database(function=replace(inside.function, **attributes))(state)

    return change


AUTH, PROBE = "pgbouncer_auth", "pgbouncer_probe"
DRIFT: dict[str, tuple[Change, str]] = {
    "auth role missing": (no_role(AUTH), "role pgbouncer_auth is missing"),
    "probe missing": (no_role(PROBE), "role pgbouncer_probe is missing"),
    "NOLOGIN": (role(AUTH, login=False), "may not log in"),
    "SUPERUSER": (role(AUTH, superuser=True), "has SUPERUSER"),
    "CREATEROLE": (role(PROBE, createrole=True), "has CREATEROLE"),
    "CREATEDB": (role(AUTH, createdb=True), "has CREATEDB"),
    "REPLICATION": (role(AUTH, replication=True), "has REPLICATION"),
    "BYPASSRLS": (role(PROBE, bypassrls=True), "has BYPASSRLS"),
    "probe without a limit": (role(PROBE, connection_limit=-1), "CONNECTION LIMIT -1 instead of 3"),
    "auth role with a limit": (role(AUTH, connection_limit=1), "CONNECTION LIMIT 1 instead of -1"),
    "expires": (role(AUTH, expires=True), "has a VALID UNTIL"),
    "member": (role(AUTH, member_of=("pg_read_all_data",)), "is a member of pg_read_all_data"),
    "settings": (role(AUTH, settings=("search_path=evil",)), "is set to search_path=evil instead of nothing"),
    "md5 password": (role(PROBE, password="md5"), "has no SCRAM password"),
    "no password": (role(AUTH, password="none"), "has no SCRAM password"),
    "no CONNECT": (database(connect={AUTH: False, PROBE: True}), f"{AUTH} was not granted CONNECT"),
    "schema missing": (
        database(schema_owner_superuser=None, schema_grantees=(f"{AUTH}=USAGE",)), "schema pgbouncer is missing"
    ),
    "schema of an application": (database(schema_owner_superuser=False), "belongs to a role that is not a superuser"),
    "schema open to all": (database(schema_grantees=(f"{AUTH}=USAGE", "PUBLIC=USAGE")), "PUBLIC=USAGE instead"),
    "schema with CREATE": (database(schema_grantees=(f"{AUTH}=CREATE", f"{AUTH}=USAGE")), f"{AUTH}=CREATE"),
    "function missing": (database(function=None), "user_lookup(text) is missing"),
    "another body": (function(source="SELECT usename, passwd FROM pg_shadow"), "has another body"),
    "another result": (function(result="record"), "result is 'record'"),
    "plpgsql": (function(language="plpgsql"), "language is 'plpgsql'"),
    "volatile": (function(volatility="v"), "volatility is 'v'"),
    "invoker": (function(security_definer=False), "security_definer is False"),
    "strict": (function(strict=True), "strict is True"),
    "no search_path": (function(config=()), "the caller’s search_path"),
    "another search_path": (function(config=("search_path=public",)), "runs with search_path=public"),
    "function of an application": (function(owner="app", owner_superuser=False), "belongs to app"),
    "EXECUTE to PUBLIC": (function(grantees=("PUBLIC", AUTH)), f"may be executed by PUBLIC, {AUTH}"),
    "EXECUTE to nobody": (function(grantees=()), "may be executed by nobody"),
}  # fmt: skip


def test_server_right_after_its_deploy_does_not_differ():
    assert auth.differences(lab().servers["db1"], server_state(), DATABASES) == []


@pytest.mark.parametrize("kind", DRIFT)
def test_drift(kind: str):
    change, said = DRIFT[kind]
    found = auth.differences(lab().servers["db1"], change(server_state()), DATABASES)
    assert len(found) == 1
    assert said in found[0]


def test_fresh_server_is_told_in_full():
    bare = database(schema_owner_superuser=None, schema_grantees=(), function=None, connect=None)
    state = no_role(AUTH)(no_role(PROBE)(bare(server_state())))
    found = auth.differences(lab().servers["db1"], state, ["tracksolid_db"])
    assert len(found) == 3


def test_database_that_is_not_there_is_no_difference_but_an_error():
    with pytest.raises(PoolwardError, match="db1 has no database 'shop'"):
        auth.differences(lab().servers["db1"], server_state(), ["shop"])


def test_function_for_other_superusers_has_another_body():
    found = auth.differences(lab(pgbouncer_allow_superusers=[]).servers["db1"], server_state(), DATABASES)
    assert [difference.endswith("has another body") for difference in found] == [True] * 3


@pytest.mark.parametrize(
    ("versions", "databases"),
    [
        ({"pool1": TRIXIE}, ["postgres"]),
        ({"pool1": FORKY, "pool2": FORKY}, ["postgres"]),
        ({"pool2": BOOKWORM}, ["tracksolid-archive", "tracksolid_db"]),
        ({"pool1": TRIXIE, "pool2": BOOKWORM}, ["postgres", "tracksolid-archive", "tracksolid_db"]),
        ({"pool1": None}, ["postgres", "tracksolid-archive", "tracksolid_db"]),
        ({}, []),
    ],
    ids=str,
)
def test_where_the_function_has_to_be(versions, databases):
    fleet = lab()
    assert auth.databases_with_lookup(fleet, fleet.servers["db1"], versions) == tuple(databases)


@pytest.mark.parametrize(
    ("declared", "lasting"),
    [(None, TRIXIE), ("1.24.1", TRIXIE), ("1.24.1-1+deb13u2", TRIXIE), ("1.26.1-1", None)],
)
def test_a_version_lasts_where_the_deploy_brings_no_other(declared: str | None, lasting: Version | None):
    seen = Survey(lab(pgbouncer_version=declared), {"pool1": pooler_state("pool1")}, {})
    assert seen.lasting_versions() == {"pool1": lasting}


@pytest.mark.parametrize(
    ("secret", "reason"),
    [
        ("", "empty"),
        ("two\nlines", "line break"),
        ("carriage\rreturn", "line break"),
        ("nul\0", "NUL"),
        (" leading", "blank"),
        ("trailing\t", "blank"),
        ("é" * 501, "longer than 1000 bytes"),
        ("SCRAM-SHA-256$4096:abc", "hash"),
        ("md5" + "0" * 32, "hash"),
    ],
)
def test_secret_that_cannot_be_used(secret: str, reason: str):
    said = auth.secret_problem(secret)
    assert said is not None
    assert reason in said
    assert not secret or secret not in said


@pytest.mark.parametrize(
    "secret", ["x", "a b", "q\"uo'te", "back\\slash", "$HOME`id`%", "é😀", "md5 but words", "a" * 1000]
)
def test_secret_that_can(secret: str):
    assert auth.secret_problem(secret) is None
