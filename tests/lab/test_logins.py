"""Who gets in through the pooler, on every version: application roles whatever they are called, and nobody else."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from lab.database import ATTRIBUTES
from lab.state import State
from lab.topology import Lab, host_named
from tests.lab.bare_client import admitted
from tests.lab.support import client, console, deployed, psql, pyinfra

pytestmark = pytest.mark.usefixtures("as_declared")

TURNED_AWAY = ("expired_role", "nologin_role", "nopassword_role", "replication_role", "other_superuser")
ADMITTED = tuple(role for role in ATTRIBUTES if role not in TURNED_AWAY)
ENTRIES = ("tracksolid_db", "tracksolid_db_session", "tracksolid-archive")
REFUSED = ("SASL authentication failed", "password authentication failed")
AWKWARD_ROLE = "we\"ird r'ole %s $HOME \\ é"
AWKWARD_PASSWORD = "p\"w' %s $HOME `id` \\' é ß ü;#"


def administrator(lab: Lab) -> psycopg.Connection[tuple[object, ...]]:
    """`postgres` through a pooler, for statements whose names psycopg quotes."""
    connection = client(lab, "pool1", "postgres")
    connection.autocommit = True
    return connection


@pytest.fixture(autouse=True)
def idle_connections_end(lab: Lab) -> Iterator[None]:
    """Many roles through several poolers leave more idle server connections than the lab's server has room for."""
    yield
    for name in ("pool1", "pool2", "pool3"):
        if name in State(lab).hosts():
            console(lab, name, "RECONNECT")


def outcome(lab: Lab, pooler: str, role: str, entry: str, password: str | None = None) -> str:
    """Who the server says somebody is, and where; or what kept him out."""
    try:
        with client(lab, pooler, role, entry, password=password) as connection:
            found = connection.execute("SELECT session_user || ' in ' || current_database()").fetchone()
            return str(found and found[0])
    except psycopg.OperationalError as error:
        return str(error).rsplit("FATAL:", 1)[-1].strip()


def test_application_roles_get_in_whatever_their_names_and_passwords_are(lab: Lab, pooler: str):
    everywhere = [(role, entry) for role in ADMITTED for entry in ENTRIES]
    expected = {pair: f"{pair[0]} in {pair[1].removesuffix('_session')}" for pair in everywhere}
    assert {pair: outcome(lab, pooler, *pair) for pair in everywhere} == expected


def test_roles_that_must_not_pass_are_turned_away(lab: Lab, pooler: str):
    passwords = {"nopassword_role": "some password", "nobody-here": "wrong", **State(lab).role_passwords()}
    everywhere = [(role, entry) for role in (*TURNED_AWAY, "nobody-here") for entry in ENTRIES]
    found = {pair: outcome(lab, pooler, *pair, password=passwords[pair[0]]) for pair in everywhere}
    assert found == dict.fromkeys(everywhere, "SASL authentication failed")


def test_a_wrong_password_is_refused(lab: Lab, pooler: str):
    for role in ("worker", "postgres", "pgbouncer_probe", "pgbouncer_auth"):
        assert outcome(lab, pooler, role, "tracksolid_db", "wrong") in REFUSED


@pytest.fixture
def leaver(lab: Lab) -> Iterator[str]:
    psql(lab, "CREATE ROLE leaver LOGIN PASSWORD 'first'")
    yield "leaver"
    psql(
        lab,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'leaver'; DROP ROLE IF EXISTS leaver",
    )


@pytest.mark.parametrize("verdict", ["NOLOGIN", "VALID UNTIL '2020-01-01'", "PASSWORD NULL", "SUPERUSER", "DROP"])
def test_who_was_in_before_does_not_get_in_again(lab: Lab, pooler: str, leaver: str, verdict: str):
    address = lab.address(host_named(pooler))
    assert admitted(address, leaver, "tracksolid_db", "first")
    # The server connection stays open for whoever comes next as this role.
    psql(lab, "DROP ROLE leaver" if verdict == "DROP" else f"ALTER ROLE leaver {verdict}")
    assert outcome(lab, pooler, leaver, "tracksolid_db", "first") in REFUSED
    for password in ("first", "wrong", ""):
        assert not admitted(address, leaver, "tracksolid_db", password)


def test_a_changed_password_counts_from_the_next_login_on(lab: Lab, pooler: str, leaver: str):
    client(lab, pooler, leaver, password="first").close()
    psql(lab, "ALTER ROLE leaver PASSWORD 'second'")
    assert outcome(lab, pooler, leaver, "tracksolid_db", "second") == "leaver in tracksolid_db"
    assert outcome(lab, pooler, leaver, "tracksolid_db", "first") in REFUSED


@pytest.fixture
def awkward(lab: Lab) -> Iterator[dict[str, dict[str, object]]]:
    """Databases and a role that need quoting everywhere; served by every pooler beside the lab's own."""
    names = {"Sales-EU": "Sales-EU", "quotes": "Qu\"o'te=%s $HOME \\ é"}
    with administrator(lab) as admin:
        for name in names.values():
            admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        create = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}")
        admin.execute(create.format(sql.Identifier(AWKWARD_ROLE), sql.Literal(AWKWARD_PASSWORD)))
    yield {entry: {"host": "db1", "dbname": name, "pool_size": 2} for entry, name in names.items()}
    deployed()
    with administrator(lab) as admin:
        for name in names.values():
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
        admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(AWKWARD_ROLE)))


def test_databases_and_roles_that_need_quoting_work(lab: Lab, awkward: dict[str, dict[str, object]]):
    served = {"tracksolid_db": {"host": "db1", "max_db_connections": 25}, **awkward}
    run = pyinfra("--limit", "pool1", "--limit", "pool2", data={"pgbouncer_databases": served})
    assert run.returncode == 0, run.text
    for pooler in ("pool1", "pool2"):
        for entry, keys in awkward.items():
            found = outcome(lab, pooler, AWKWARD_ROLE, entry, AWKWARD_PASSWORD)
            assert found == f"{AWKWARD_ROLE} in {keys['dbname']}"
