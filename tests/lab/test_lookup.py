"""The database side of the pooler: what its role may do, what the lookup tells, and that tampering is repaired."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from lab.database import ATTRIBUTES
from lab.topology import Lab
from tests.lab.support import client, deployed, on, psql
from tests.lab.test_logins import ADMITTED

pytestmark = pytest.mark.usefixtures("as_declared")

LOOKUP = "SELECT rolname, rolpassword FROM pgbouncer.user_lookup(%s)"
DATABASES = ("postgres", "tracksolid_db", "tracksolid-archive")
FORBIDDEN = {
    "read a table": "SELECT * FROM accounts",
    "read the verifiers": "SELECT rolpassword FROM pg_authid",
    "read a file": "SELECT pg_read_file('/etc/passwd')",
    "run a program": "COPY (SELECT 1) TO PROGRAM 'true'",
    "create a table": "CREATE TABLE public.mine (id integer)",
    "create a schema": "CREATE SCHEMA mine",
    "create in its schema": "CREATE FUNCTION pgbouncer.mine() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
    "replace the lookup": "ALTER FUNCTION pgbouncer.user_lookup(text) SECURITY INVOKER",
    "create a role": "CREATE ROLE mine",
    "create a database": "CREATE DATABASE mine",
    "become a superuser": "SET ROLE postgres",
    "raise itself": "ALTER ROLE pgbouncer_auth SUPERUSER",
    "end another's session": "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'postgres'",
}


def as_auth_role(lab: Lab, database: str = "tracksolid_db") -> psycopg.Connection[tuple[Any, ...]]:
    """A session of the poolers' own role, as whoever stole its secret would have it."""
    secret = on(lab, "db1", "cat /var/lib/poolward/secrets/pgbouncer_auth").removesuffix("\n")
    return client(lab, "pool1", "pgbouncer_auth", database, password=secret)


@pytest.mark.parametrize("database", ["tracksolid_db", "pgbouncer_auth"], ids=["in_the_entry", "in_the_auth_entry"])
def test_the_lookup_tells_of_those_who_may_log_in_and_answers_everybody_else_as_nobody(lab: Lab, database: str):
    everybody = psql(lab, "SELECT rolname FROM pg_roles").splitlines()
    assert set(everybody) >= {*ATTRIBUTES, "pgbouncer_auth", "pgbouncer_probe"}
    strangers = ["", "nobody", "worker ", "WORKER", "%", "' OR true --", "o'brien-reports'", None]
    told: dict[Any, list[tuple[Any, ...]]] = {}
    with as_auth_role(lab, database) as connection:
        for name in [*everybody, *strangers]:
            told[name] = connection.execute(LOOKUP, [name]).fetchall()
    assert {name for name, rows in told.items() if rows[0][0] == name} == {*ADMITTED, "pgbouncer_probe"}
    assert all(len(rows) == 1 and rows[0][1].startswith("SCRAM-SHA-256$") for rows in told.values())
    nobodys = {rows[0] for name, rows in told.items() if rows[0][0] != name}
    assert len(nobodys) == 1
    name, verifier = nobodys.pop()
    assert name not in everybody
    assert verifier not in psql(lab, "SELECT rolpassword FROM pg_authid").splitlines()


@pytest.mark.parametrize("deed", FORBIDDEN)
def test_the_auth_role_may_nothing_else(lab: Lab, deed: str):
    with as_auth_role(lab) as connection:
        connection.autocommit = True
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(FORBIDDEN[deed].encode())


def test_an_ordinary_role_cannot_call_the_lookup(lab: Lab):
    with (
        client(lab, "pool1") as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege, match="schema pgbouncer"),
    ):
        connection.execute(LOOKUP, ["worker"])
    # Nor where the schema is open to it: the function itself is closed.
    for database in DATABASES:
        attempt = "SET ROLE worker; SELECT * FROM pgbouncer.user_lookup('worker')"
        script = f"BEGIN; GRANT USAGE ON SCHEMA pgbouncer TO worker; {attempt}"
        answer = on(lab, "db1", f"cd /; runuser -u postgres -- psql -Xd '{database}' -c \"{script}\" 2>&1 || true")
        assert "permission denied for function user_lookup" in answer


TAMPERING = {
    "postgres": """
        CREATE OR REPLACE FUNCTION pgbouncer.user_lookup(text) RETURNS TABLE (rolname text, rolpassword text)
            LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
            AS 'SELECT rolname::text, rolpassword FROM pg_authid WHERE rolname = $1';
        ALTER ROLE pgbouncer_auth SUPERUSER PASSWORD 'another';
        GRANT pg_read_all_data TO pgbouncer_auth;
        ALTER ROLE pgbouncer_auth SET search_path = public;
        DROP OWNED BY pgbouncer_probe;
        """,
    "tracksolid_db": """
        DROP OWNED BY pgbouncer_probe;
        GRANT CREATE ON SCHEMA pgbouncer TO PUBLIC;
        GRANT EXECUTE ON FUNCTION pgbouncer.user_lookup(text) TO PUBLIC, worker;
        GRANT SELECT ON accounts TO pgbouncer_auth;
        ALTER FUNCTION pgbouncer.user_lookup(text) RESET search_path;
        """,
    "tracksolid-archive": """
        DROP OWNED BY pgbouncer_probe;
        ALTER FUNCTION pgbouncer.user_lookup(text) OWNER TO worker;
        ALTER FUNCTION pgbouncer.user_lookup(text) SECURITY INVOKER;
        ALTER SCHEMA pgbouncer OWNER TO worker;
        DROP ROLE pgbouncer_probe;
        """,
}
SAID = (
    "role pgbouncer_auth has SUPERUSER",
    "role pgbouncer_auth is a member of pg_read_all_data",
    "role pgbouncer_auth is set to search_path=public instead of nothing",
    "the password of pgbouncer_auth is not the one the poolers have",
    "role pgbouncer_probe is missing",
    "postgres: function pgbouncer.user_lookup(text) has another body",
    "tracksolid_db: schema pgbouncer is granted as pgbouncer_auth=USAGE, PUBLIC=CREATE instead of USAGE",
    "tracksolid_db: function pgbouncer.user_lookup(text) may be executed by PUBLIC, pgbouncer_auth, worker instead",
    "tracksolid_db: function pgbouncer.user_lookup(text) runs with the caller’s search_path instead of",
    "tracksolid_db: pgbouncer_auth has more rights than it needs: table public.accounts",
    "tracksolid-archive: function pgbouncer.user_lookup(text) belongs to worker, who is not a superuser",
    "tracksolid-archive: function pgbouncer.user_lookup(text): security_definer is False instead of True",
    "tracksolid-archive: schema pgbouncer belongs to a role that is not a superuser",
)


def database_side(lab: Lab) -> dict[str, str]:
    """Roles, and per database the schema and the function with all their rights, as PostgreSQL's catalog has them."""
    roles = """
        SELECT to_jsonb(r) - 'oid', pg_get_userbyid(m.roleid) FROM pg_roles r LEFT JOIN pg_auth_members m
        ON m.member = r.oid WHERE rolname IN ('pgbouncer_auth', 'pgbouncer_probe') ORDER BY rolname
        """
    rights = """
        SELECT pg_get_functiondef(p.oid), p.proowner::regrole, n.nspowner::regrole,
            (SELECT array_agg(acl::text ORDER BY acl::text) FROM unnest(p.proacl) acl),
            (SELECT array_agg(acl::text ORDER BY acl::text) FROM unnest(n.nspacl) acl),
            has_table_privilege('pgbouncer_auth', 'pg_authid', 'SELECT'),
            to_regclass('accounts') IS NOT NULL AND has_table_privilege('pgbouncer_auth', 'accounts', 'SELECT')
        FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE p.proname = 'user_lookup'
        """
    return {"roles": psql(lab, roles), **{name: psql(lab, rights, name) for name in DATABASES}}


def test_tampering_is_named_and_repaired(lab: Lab):
    before = database_side(lab)
    verifiers = psql(lab, "SELECT rolpassword FROM pg_authid WHERE rolname = 'worker'")
    for database, tampering in TAMPERING.items():
        psql(lab, tampering, database)
    assert all(value != before[key] for key, value in database_side(lab).items())

    run = deployed()
    assert [phrase for phrase in SAID if phrase not in run.text] == []
    assert database_side(lab) == before
    client(lab, "pool2").close()
    assert psql(lab, "SELECT rolpassword FROM pg_authid WHERE rolname = 'worker'") == verifiers

    stored = "SELECT rolname, rolpassword, xmin FROM pg_authid WHERE rolname ~ '^pgbouncer_' ORDER BY 1"
    settled = psql(lab, stored)
    assert deployed().totals["success"] == 0
    assert psql(lab, stored) == settled
