"""Other ways to run a pooler, each deployed and tried by real logins: TLS both ways, an HBA file, limits per role."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from lab.state import State
from lab.topology import Lab, host_named
from tests.lab.support import console, deployed, on, psql, pyinfra, settings_with

pytestmark = pytest.mark.usefixtures("as_declared")
FOLDER = "/etc/pgbouncer-tls"


@pytest.fixture(scope="module")
def certificates(lab: Lab) -> Iterator[str]:
    """An authority, a certificate of pool1 and of db1 by name and address, and the authority's text for clients."""
    pool1, db1 = (lab.address(host_named(name)) for name in ("pool1", "db1"))
    made = on(
        lab,
        "db1",
        f"""
        mkdir -p {FOLDER}; cd {FOLDER}
        openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=lab-authority -keyout ca.key -out ca.crt 2>/dev/null
        for host in pool1:{pool1} db1:{db1}; do
            name=${{host%%:*}}
            openssl req -newkey rsa:2048 -nodes -subj /CN=$name -keyout $name.key -out $name.csr 2>/dev/null
            printf 'subjectAltName = DNS:%s, IP:%s\\n' "$name" "${{host#*:}}" >$name.ext
            openssl x509 -req -in $name.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile $name.ext \
                -out $name.crt 2>/dev/null
        done
        install -o postgres -g postgres -m 600 db1.key db1.crt -t /var/lib/postgresql
        cd /; runuser -u postgres -- psql -XqAt -c "ALTER SYSTEM SET ssl_cert_file = '/var/lib/postgresql/db1.crt'" \
            -c "ALTER SYSTEM SET ssl_key_file = '/var/lib/postgresql/db1.key'" -c 'SELECT pg_reload_conf()' >/dev/null
        cat {FOLDER}/ca.crt {FOLDER}/pool1.key {FOLDER}/pool1.crt
        """,
    )
    authority, key, certificate = _split(made)
    files = {"ca.crt": authority, "pool1.key": key, "pool1.crt": certificate}
    for name, text in files.items():
        on(lab, "pool1", f"install -d -m 755 {FOLDER}; cat >{FOLDER}/{name} <<'EOF'\n{text}EOF")
    on(lab, "pool1", f"chown postgres: {FOLDER}/pool1.key; chmod 600 {FOLDER}/pool1.key")
    yield authority
    psql(lab, "ALTER SYSTEM RESET ssl_cert_file; ALTER SYSTEM RESET ssl_key_file;")
    psql(lab, "SELECT pg_reload_conf()")


def _split(pem: str) -> tuple[str, str, str]:
    blocks: list[str] = []
    for line in pem.splitlines(keepends=True):
        if line.startswith("-----BEGIN"):
            blocks.append("")
        blocks[-1] += line
    authority, key, certificate = blocks
    return authority, key, certificate


@pytest.fixture
def login(lab: Lab):
    """Logs in through pool1 as a role of the lab, with more of libpq's parameters."""
    password = State(lab).role_passwords()

    def connect(user: str, **more: str) -> psycopg.Connection:
        arguments = {"host": lab.address(host_named("pool1")), "port": 6432, "dbname": "tracksolid_db"}
        return psycopg.connect(**{**arguments, "user": user, "password": password[user], **more})

    return connect


@pytest.fixture
def put_back_pool1() -> Iterator[None]:
    yield
    deployed()


@pytest.mark.usefixtures("put_back_pool1")
def test_tls_to_clients_and_to_the_server_both_verified(certificates: str, login, tmp_path) -> None:
    authority = tmp_path / "ca.crt"
    authority.write_text(certificates)
    tls = settings_with(
        client_tls_sslmode="require",
        client_tls_key_file=f"{FOLDER}/pool1.key",
        client_tls_cert_file=f"{FOLDER}/pool1.crt",
        server_tls_sslmode="verify-full",
        server_tls_ca_file=f"{FOLDER}/ca.crt",
    )
    run = pyinfra("--limit", "pool1", data=tls)
    assert run.returncode == 0, run.text
    with login("dashboard", sslmode="verify-full", sslrootcert=str(authority)) as client:
        assert client.execute("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").fetchone() == (True,)
    with pytest.raises(psycopg.OperationalError, match="SSL required"):
        login("dashboard", sslmode="disable")


@pytest.mark.usefixtures("put_back_pool1")
def test_an_hba_file_decides_who_gets_in(lab: Lab, login) -> None:
    rules = [
        "local all all scram-sha-256",
        "host all grafana_ro 0.0.0.0/0 reject",
        "host all all 0.0.0.0/0 scram-sha-256",
    ]
    run = pyinfra("--limit", "pool1", data={"pgbouncer_hba": rules})
    assert run.returncode == 0, run.text
    with login("dashboard") as client:
        assert client.execute("SELECT current_user").fetchone() == ("dashboard",)
    with pytest.raises(psycopg.OperationalError, match="rejected"):
        login("grafana_ro")
    assert on(lab, "pool1", "stat -c '%U:%G %a' /etc/pgbouncer/pg_hba.conf").strip() == "root:postgres 640"
    assert pyinfra("--limit", "pool1", "--json", data={"pgbouncer_hba": rules}).totals["success"] == 0


def test_an_hba_line_pgbouncer_would_skip_is_refused() -> None:
    run = pyinfra("--limit", "pool1", data={"pgbouncer_hba": ["host all all 0.0.0.0/0 rejekt", "local all all peer"]})
    assert run.returncode == 1
    assert "rejekt is no method of PgBouncer's" in run.text


@pytest.mark.usefixtures("put_back_pool1")
def test_a_role_has_a_limit_of_its_own_over_all_entries(lab: Lab, login) -> None:
    run = pyinfra("--limit", "pool1", data={"pgbouncer_users": {"dashboard": {"max_user_connections": 1}}})
    assert run.returncode == 0, run.text
    rows = [row.split("|") for row in console(lab, "pool1", "SHOW USERS").splitlines()]
    assert next(row for row in rows if row[0] == "dashboard")
    with login("dashboard") as first:
        first.execute("SELECT 1")
        with pytest.raises(psycopg.OperationalError, match="query_wait_timeout"):
            login("dashboard", dbname="tracksolid-archive")
        backends = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'dashboard' AND client_addr = '{}'"
        assert psql(lab, backends.format(lab.address(host_named("pool1")))) == "1"
