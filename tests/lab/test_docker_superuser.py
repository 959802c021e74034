"""PostgreSQL in a container made with a superuser of another name (POSTGRES_USER): there is no role postgres at all."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from lab.topology import Lab, host_named
from lab.wait import until
from tests.lab import support
from tests.lab.support import Run, on

pytestmark = pytest.mark.dock1

INVENTORY = "inventories/docker.py"
SUPERUSER, PASSWORD = "app", "of a test alone"
DATA: dict[str, object] = {
    "postgresql_container": "app_db",
    "postgresql_address": "app_db",
    "pgbouncer_databases": {"shop": {"host": "dock1", "max_db_connections": 5}},
    "pgbouncer_allow_superusers": [SUPERUSER],
    "services": [],
}
# As the public image does it: POSTGRES_USER is the one superuser, and whoever is within comes in without a password.
MADE = f"""
docker run --detach --name app_db --network tracksolid_net --env POSTGRES_USER={SUPERUSER} --entrypoint sh \
    lab/timescaledb -ec '
        initdb --username="$POSTGRES_USER" --auth-local=trust --auth-host=reject --locale=C.UTF-8
        echo "listen_addresses = \\047*\\047" >>"$PGDATA/postgresql.conf"
        exec postgres'
"""
LEFT = """SELECT rolname FROM pg_roles WHERE rolname LIKE 'pgbouncer%'
UNION SELECT nspname FROM pg_namespace WHERE nspname = 'pgbouncer'"""


def asked(lab: Lab, sql: str, database: str = "postgres") -> str:
    command = f"docker exec -i -u postgres app_db psql -XqAt -U {SUPERUSER} -v ON_ERROR_STOP=1 -d {database}"
    return on(lab, "dock1", f"{command} <<'EOF'\n{sql}\nEOF").strip()


def pyinfra(deploy: str = support.DEPLOY, **data: object) -> Run:
    return support.pyinfra("--json", deploy=deploy, data={**DATA, **data}, inventory=INVENTORY)


@pytest.fixture(scope="module")
def app_db(lab: Lab, dock1: str) -> Iterator[Run]:  # noqa: ARG001 - asked for by it alone
    """A deploy before a server of its own beside timescale_db; afterwards it is gone, and all is as declared."""
    on(lab, "dock1", MADE)
    try:
        ready = f"docker exec app_db psql -XqAt -U {SUPERUSER} -d postgres -c 'SELECT 1' 2>/dev/null || true"
        until("the other server answers", lambda: on(lab, "dock1", ready).strip() == "1", 60)
        asked(lab, f"ALTER ROLE {SUPERUSER} PASSWORD '{PASSWORD}'; CREATE DATABASE shop")
        first = pyinfra()
        # Under another name its layers outlive the removal, and the next build is quick.
        on(lab, "dock1", "docker tag $(docker images --quiet poolward/pgbouncer | head -n 1) kept:pooler || true")
        yield first
    finally:
        on(lab, "dock1", "docker rm --force --volumes app_db")
        support.deployed(inventory=INVENTORY)
        on(lab, "dock1", "docker image rm kept:pooler >/dev/null || true")


def test_its_side_is_made_by_the_superuser_there_is(lab: Lab, app_db: Run):
    assert app_db.returncode == 0, app_db.text
    assert asked(lab, "SELECT count(*) FROM pg_roles WHERE rolname = 'postgres'") == "0"
    owners = """SELECT pg_get_userbyid(proowner), pg_get_userbyid(nspowner), prosecdef
        FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace WHERE nspname = 'pgbouncer'"""
    assert asked(lab, owners) == f"{SUPERUSER}|{SUPERUSER}|t"
    for role, is_let_in in ((SUPERUSER, True), ("nobody", False)):
        where = {"host": lab.address(host_named("dock1")), "port": 6432, "connect_timeout": 10}
        try:
            with psycopg.connect(**where, dbname="shop", user=role, password=PASSWORD) as client:
                assert client.execute("SELECT current_user").fetchone() == (role,)
                assert is_let_in
        except psycopg.OperationalError:
            assert not is_let_in
    again = pyinfra()
    assert again.totals["success"] == again.totals["error"] == 0


def test_the_lookup_hands_out_a_superuser_only_where_it_is_named(lab: Lab, app_db: Run):  # noqa: ARG001 - asked for by it alone
    asked_for = f"SELECT count(*) FROM pgbouncer.user_lookup('{SUPERUSER}') WHERE rolname = '{SUPERUSER}'"
    assert asked(lab, asked_for) == "1"
    assert pyinfra(pgbouncer_allow_superusers=[]).returncode == 0
    assert asked(lab, asked_for) == "0"
    assert pyinfra().returncode == 0
    assert asked(lab, asked_for) == "1"


@pytest.mark.parametrize(
    ("superuser", "said"),
    [("nobody", 'role "nobody" does not exist'), ("pgbouncer_probe", "permission denied for table pg_authid")],
)
def test_who_cannot_ask_is_named_with_the_way_out(lab: Lab, app_db: Run, superuser: str, said: str):  # noqa: ARG001 - asked for by it alone
    before = asked(lab, "SELECT oid::regrole, rolpassword FROM pg_authid ORDER BY 1")
    run = pyinfra(postgresql_superuser=superuser)
    assert run.returncode == 1
    text = " ".join(run.text.split())
    assert said in text
    assert 'postgresql_superuser = "…" names a superuser who may log in over the socket in app_db' in text
    assert "Starting operation:" not in text
    assert asked(lab, "SELECT oid::regrole, rolpassword FROM pg_authid ORDER BY 1") == before


def test_verified_and_removed(lab: Lab, app_db: Run):  # noqa: ARG001 - asked for by it alone
    run = support.pyinfra("--json", deploy="deploy/verify.py", data=DATA, inventory=INVENTORY)
    assert run.returncode == 0, run.text
    removed = pyinfra("deploy/remove.py", postgresql_superuser=SUPERUSER)
    assert removed.returncode == 0, removed.text
    assert asked(lab, LEFT) == ""
    assert "poolward" not in on(lab, "dock1", "docker exec app_db sh -c 'cat $PGDATA/pg_hba.conf; ls $PGDATA'")
