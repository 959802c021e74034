"""Roles, lookup function and access rules on every database server, asked of its own catalogs."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest

from tests.endstate.fleet import Pooler, Server

PROBE = "pgbouncer_probe"
ROLE = """SELECT json_build_object(
    'login', rolcanlogin, 'superuser', rolsuper, 'createdb', rolcreatedb, 'createrole', rolcreaterole,
    'replication', rolreplication, 'bypassrls', rolbypassrls, 'limit', rolconnlimit,
    'scram', rolpassword LIKE 'SCRAM-SHA-256$%', 'expires', coalesce(rolvaliduntil, 'infinity') <> 'infinity',
    'member', EXISTS (SELECT FROM pg_auth_members WHERE member = a.oid))
    FROM pg_authid a WHERE rolname = '{role}'"""
NOTHING_BUT_LOGIN = dict.fromkeys(
    ("superuser", "createdb", "createrole", "replication", "bypassrls", "expires", "member"), False
) | {"login": True, "scram": True}
FUNCTION = """SELECT json_build_object(
    'definer', prosecdef, 'volatile', provolatile, 'config', proconfig, 'language', lanname, 'sets', proretset,
    'owner_superuser', rolsuper,
    'public', has_function_privilege('public', p.oid, 'EXECUTE'),
    'may_execute', (SELECT json_agg(rolname) FROM pg_roles r
        WHERE NOT rolsuper AND has_function_privilege(r.oid, p.oid, 'EXECUTE')))
    FROM pg_proc p JOIN pg_language l ON l.oid = prolang JOIN pg_roles o ON o.oid = proowner
    WHERE p.oid = 'pgbouncer.user_lookup(text)'::regprocedure"""
# every role of the server beside what the function hands out for it
EVERY_ROLE = """SELECT json_agg(json_build_object(
    'name', rolname, 'login', rolcanlogin, 'password', rolpassword IS NOT NULL,
    'expired', coalesce(rolvaliduntil < now(), false), 'privileged', rolsuper OR rolreplication,
    'answers', ARRAY(
        SELECT CASE WHEN f.rolname = a.rolname AND f.rolpassword = a.rolpassword THEN 'its own'
            WHEN f.rolpassword LIKE 'SCRAM-SHA-256$%' AND NOT EXISTS (
                SELECT FROM pg_authid r WHERE r.rolname = f.rolname OR r.rolpassword = f.rolpassword) THEN 'of nobody'
            ELSE 'wrong' END
        FROM pgbouncer.user_lookup(a.rolname) f)))
    FROM pg_authid a"""


@pytest.fixture
def looked_up(server: Server) -> None:
    if not server.auth_query:
        pytest.skip("without a lookup function: pgbouncer_auth_query = False")


def databases(server: Server, poolers: list[Pooler]) -> list[str]:
    """Where verifiers are looked up: from 1.19 in one database, before in the client's own."""
    entries = {
        pooler.entries[entry].get("dbname", entry)
        for pooler in poolers
        if pooler.version < (1, 19)
        for entry, of in pooler.server_of.items()
        if of is server
    }
    own = {server.auth_database} if any(pooler.version >= (1, 19) for pooler in poolers) else set()
    return sorted(entries | own)


@pytest.mark.usefixtures("looked_up")
def test_auth_role_may_log_in_and_nothing_else(server: Server):
    assert server.ask(ROLE.format(role=server.auth_role)) == NOTHING_BUT_LOGIN | {"limit": -1}


def test_probe_role_may_log_in_three_times_and_nothing_else(server: Server):
    assert server.ask(ROLE.format(role=PROBE)) == NOTHING_BUT_LOGIN | {"limit": 3}


def test_own_roles_own_nothing(server: Server):
    owned = """SELECT count(*) FROM pg_shdepend JOIN pg_roles r ON r.oid = refobjid
        WHERE deptype = 'o' AND rolname IN ('{}', '{}')"""
    assert server.ask(owned.format(server.auth_role, PROBE)) == 0


@pytest.mark.usefixtures("looked_up")
def test_function_is_a_definer_with_a_fixed_search_path(server: Server, poolers: list[Pooler]):
    for database in databases(server, poolers):
        function: dict[str, Any] = server.ask(FUNCTION, database)
        assert function["definer"], database
        assert function["owner_superuser"], database
        assert function["sets"], database
        assert (function["volatile"], function["language"]) == ("s", "sql"), database
        assert function["config"] == ["search_path=pg_catalog, pg_temp"], database


@pytest.mark.usefixtures("looked_up")
def test_only_the_auth_role_may_execute_it(server: Server, poolers: list[Pooler]):
    for database in databases(server, poolers):
        function = server.ask(FUNCTION, database)
        assert function["public"] is False, database
        assert function["may_execute"] == [server.auth_role], database


@pytest.mark.usefixtures("looked_up")
def test_auth_role_can_execute_it_and_cannot_read_the_catalog(server: Server, poolers: list[Pooler]):
    as_auth_role = f"SET ROLE \"{server.auth_role}\"; SELECT count(*) FROM pgbouncer.user_lookup('{PROBE}')"
    for database in databases(server, poolers):
        assert server.ask(as_auth_role, database) == 1, database
    assert server.ask(f"SELECT to_json(has_table_privilege('{server.auth_role}', 'pg_authid', 'SELECT'))") is False


@pytest.mark.usefixtures("looked_up")
def test_roles_that_may_not_log_in_get_nobodys_secret_and_the_others_their_own(server: Server, poolers: list[Pooler]):
    allowed = server.data.get("pgbouncer_allow_superusers", [])
    for database in databases(server, poolers):
        for role in server.ask(EVERY_ROLE, database):
            may = role["login"] and role["password"] and not role["expired"] and role["name"] != server.auth_role
            may = may and (not role["privileged"] or role["name"] in allowed)
            assert role["answers"] == ["its own" if may else "of nobody"], (database, role["name"])


@pytest.mark.usefixtures("looked_up")
def test_unknown_names_get_nobodys_secret(server: Server, poolers: list[Pooler]):
    names = "unnest(ARRAY[NULL, '', 'no such role', 'postgres ']) AS name"
    roles = "SELECT FROM pg_authid r WHERE r.rolname = f.rolname OR r.rolpassword = f.rolpassword"
    answered = f"SELECT json_agg(EXISTS ({roles})) FROM {names}, pgbouncer.user_lookup(name) AS f"
    for database in databases(server, poolers):
        assert server.ask(answered, database) == [False] * 4, database


def test_access_rules_let_the_poolers_in(server: Server, poolers: list[Pooler]):
    rules = server.ask("SELECT json_agg(r) FROM pg_hba_file_rules r")
    assert [rule["error"] for rule in rules if rule["error"]] == []
    for pooler in poolers:
        source = pooler.address_towards(server)
        wanted = {pooler.entries[entry].get("dbname", entry) for entry, of in pooler.server_of.items() if of is server}
        open_to = {name for rule in rules if covers(rule, source) for name in rule["database"]}
        assert "all" in open_to or wanted <= open_to, (pooler.name, source)


def covers(rule: dict[str, Any], address: str) -> bool:
    """Whether a rule lets somebody in over TCP from this address."""
    if not str(rule["type"]).startswith("host") or rule["auth_method"] == "reject":
        return False
    if rule["address"] == "all" or rule["netmask"] is None:
        return True
    return ipaddress.ip_address(address) in ipaddress.ip_network(f"{rule['address']}/{rule['netmask']}")


def test_rules_in_force_are_those_of_the_file(server: Server):
    loaded = "SELECT to_json(pg_conf_load_time() >= modification) FROM pg_stat_file(current_setting('hba_file'))"
    assert server.ask(loaded) is True
