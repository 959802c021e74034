"""`poolward plan`, `verify` and `size` of a server known by a connection string alone, and that they only read."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from lab import wait
from lab.topology import REPOSITORY, Lab, host_named
from tests.lab.support import INVENTORY, console, on, poolers, psql, pyinfra

pytestmark = pytest.mark.usefixtures("as_declared")

ROLE = "watcher"
UNSEEN_WITHOUT_HOST = {
    "db1: what kind of password each role has (SCRAM, md5, none)",
    "db1: whether the stored passwords are the poolers' own",
    "db1: the rules of pg_hba.conf, whether they let the poolers in",
    "db1: pg_hba.conf itself: Poolward's own lines, and whether it was changed after PostgreSQL last read it",
    "pool1: userlist.txt, whether it holds the secret of pgbouncer_auth; a login through every entry",
    "pool2: userlist.txt, whether it holds the secret of pgbouncer_auth; a login through every entry",
}
# Every session on the database host, and every one of the role, tries to write before it does anything else.
TRAP = f"""
CREATE TABLE trap (who text, at timestamptz DEFAULT now());
GRANT SELECT, INSERT ON trap TO {ROLE};
CREATE FUNCTION spring() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
    IF current_setting('application_name') <> 'the test'
        AND (inet_client_addr() IS NULL OR session_user = '{ROLE}') THEN
        INSERT INTO public.trap VALUES (session_user);
    END IF;
EXCEPTION
    WHEN read_only_sql_transaction THEN RAISE LOG 'trap held for % in %', session_user, current_database();
END $$;
CREATE EVENT TRIGGER trap ON login EXECUTE FUNCTION spring();
"""
UNTRAP = "DROP EVENT TRIGGER trap; DROP FUNCTION spring(); DROP TABLE trap;"
DATABASES = ("postgres", "tracksolid_db", "tracksolid-archive")


@pytest.fixture(scope="module")
def dsn(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A connection string for a role with LOGIN and pg_monitor and nothing else; its password is in a PGPASSFILE."""
    password, server = secrets.token_urlsafe(12), lab.address(host_named("db1"))
    with socket.create_connection((server, 5432), timeout=10) as connection:
        here = connection.getsockname()[0]
    psql(lab, f"CREATE ROLE {ROLE} LOGIN PASSWORD '{password}'; GRANT pg_monitor TO {ROLE};")
    hba = "/etc/postgresql/17/main/pg_hba.conf"
    on(lab, "db1", f"sed -i '1i host all {ROLE} {here}/32 scram-sha-256' {hba}; systemctl reload postgresql@17-main")
    passfile = tmp_path_factory.mktemp("libpq") / "pgpass"
    passfile.write_text(f"*:*:*:{ROLE}:{password}\n")
    passfile.chmod(0o600)
    connection_string = f"host={server} user={ROLE} dbname=postgres"
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PGPASSFILE", str(passfile))
        wait.until("the role may log in", lambda: _may_log_in(connection_string), 10)
        yield connection_string
    on(lab, "db1", f"sed -i '/ {ROLE} /d' {hba}; systemctl reload postgresql@17-main")
    psql(lab, f"DROP OWNED BY {ROLE}; DROP ROLE {ROLE};")


def _may_log_in(dsn: str) -> bool:
    try:
        psycopg.connect(dsn).close()
    except psycopg.OperationalError:
        return False
    return True


def poolward(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("poolward")), *arguments]
    return subprocess.run(
        command, cwd=REPOSITORY, env=os.environ, capture_output=True, text=True, timeout=120, check=False
    )


def document(*arguments: str) -> tuple[int, dict[str, Any]]:
    done = poolward(*arguments, "--json")
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def unseen(said: dict[str, Any]) -> set[str]:
    return {f"{one['where']}: {one['what']}" for one in said["unseen"]}


def test_pg_monitor_alone_gives_the_whole_bill_and_names_what_it_did_not_see(dsn: str):
    code, said = document("plan", INVENTORY, "--dsn", f"db1={dsn}")
    on_host, whole = document("plan", INVENTORY)
    assert (code, said["clean"], said["changes"]) == (3, False, [])
    assert (on_host, whole["clean"], whole["unseen"]) == (0, True, [])
    assert unseen(said) == UNSEEN_WITHOUT_HOST
    mine, theirs = said["bills"]["db1"], whole["bills"]["db1"]
    numbers = [(line["what"], line["connections"]) for line in mine["lines"]]
    assert numbers == [(line["what"], line["connections"]) for line in theirs["lines"]]
    assert (mine["left"], mine["worst_case"], mine["fits"]) == (theirs["left"], theirs["worst_case"], theirs["fits"])
    assert any("postgres is pooled and superuser" in note for note in mine["notes"])


def test_drift_in_what_is_seen_is_found_and_what_is_not_seen_is_told_beside_it(lab: Lab, dsn: str):
    code, said = document("verify", INVENTORY, "--dsn", f"db1={dsn}")
    assert (code, said["clean"]) == (3, False)
    assert unseen(said) == UNSEEN_WITHOUT_HOST
    assert [finding for finding in said["findings"] if finding["wrong"]] == []
    psql(lab, "GRANT EXECUTE ON FUNCTION pgbouncer.user_lookup(text) TO PUBLIC", "tracksolid_db")
    try:
        done = poolward("verify", INVENTORY, "--dsn", f"db1={dsn}")
    finally:
        psql(lab, "REVOKE EXECUTE ON FUNCTION pgbouncer.user_lookup(text) FROM PUBLIC", "tracksolid_db")
    assert done.returncode == 2
    for words in ("PUBLIC,", "Not looked at", "root on db1", "One difference."):
        assert words in done.stdout


def test_what_the_output_says_is_needed_is_enough(lab: Lab, dsn: str):
    psql(lab, 'REVOKE CONNECT ON DATABASE "tracksolid-archive" FROM PUBLIC')
    try:
        code, said = document("verify", INVENTORY, "--dsn", f"db1={dsn}")
        assert (code, unseen(said) - UNSEEN_WITHOUT_HOST) == (
            3,
            {"db1: schema, lookup function and grants in tracksolid-archive"},
        )
        why = next(one["needs"] for one in said["unseen"] if "tracksolid-archive" in one["what"])
        assert "permission denied for database" in why

        rules = "db1: the rules of pg_hba.conf, whether they let the poolers in"
        psql(lab, next(one["needs"] for one in said["unseen"] if one["what"] in rules))
        psql(lab, f'GRANT CONNECT ON DATABASE "tracksolid-archive" TO {ROLE}')
        _, said = document("verify", INVENTORY, "--dsn", f"db1={dsn}")
        assert unseen(said) == UNSEEN_WITHOUT_HOST - {rules}
        assert any(finding["what"] == "pg_hba.conf" and not finding["wrong"] for finding in said["findings"])
    finally:
        psql(lab, 'GRANT CONNECT ON DATABASE "tracksolid-archive" TO PUBLIC')
        psql(lab, f"DROP OWNED BY {ROLE}; GRANT pg_monitor TO {ROLE};")
        psql(lab, f"DROP OWNED BY {ROLE}", "tracksolid-archive")


def test_size_needs_no_ssh_and_no_pooler(dsn: str, tmp_path: Path):
    inventory = tmp_path / "managed.py"
    inventory.write_text(f'databases = [("db1", {{"ssh_hostname": "192.0.2.1", "postgresql_dsn": {dsn!r}}})]\n')
    with psycopg.connect(dsn):
        code, said = document("size", str(inventory), "--window", "1", "--interval", "0.2")
    assert code == 0
    connected = {(need["database"], need["role"]): need["peak_sessions"] for need in said["servers"]["db1"]}
    assert connected["tracksolid_db", "scheduler"] == 3
    assert connected["postgres", ROLE] == 1  # the one above; the sampling session does not count itself


def test_a_role_without_pg_monitor_is_refused_because_it_would_count_only_itself(lab: Lab, dsn: str):
    psql(lab, f"REVOKE pg_monitor FROM {ROLE}")
    try:
        for command in ("plan", "size"):
            done = poolward(command, INVENTORY, "--dsn", f"db1={dsn}")
            assert done.returncode == 1
            assert f"GRANT pg_monitor TO {ROLE};" in done.stderr
    finally:
        psql(lab, f"GRANT pg_monitor TO {ROLE}")


@pytest.mark.usefixtures("dsn")
def test_a_way_in_that_drops_the_read_only_option_is_refused(lab: Lab):
    """PgBouncer takes `options` from the client and, as we configure it, drops them: the session could write."""
    through = f"host={lab.address(host_named('pool1'))} port=6432 user={ROLE} dbname=tracksolid_db"
    done = poolward("plan", INVENTORY, "--dsn", f"db1={through}")
    console(lab, "pool1", "RECONNECT tracksolid_db")  # it keeps no server connection of a role that is dropped soon
    assert done.returncode == 1
    assert "The session could write" in done.stderr
    assert "not a pooler's" in done.stderr


def test_a_wrong_password_is_one_sentence_that_says_where_libpq_looks(dsn: str, tmp_path: Path):
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PGPASSFILE", str(tmp_path / "none"))
        done = poolward("plan", INVENTORY, "--dsn", f"db1={dsn}")
    assert done.returncode == 1
    assert "no password supplied" in done.stderr
    assert "~/.pgpass" in done.stderr
    assert "Traceback" not in done.stderr


def test_with_the_secrets_from_commands_the_poolers_are_looked_at_whole(lab: Lab, dsn: str, tmp_path: Path):
    """The fleet of somebody who has root on the poolers, the pooler's own secrets in a vault, and a DSN."""
    commands = {}
    for knob in ("auth", "probe"):
        secret = tmp_path / knob
        secret.touch(mode=0o600)
        secret.write_text(on(lab, "db1", f"cat /var/lib/poolward/secrets/pgbouncer_{knob}"))
        commands[f"pgbouncer_{knob}_secret_command"] = ["cat", str(secret)]
    inventory = tmp_path / "lab.py"  # the name of its group data
    inventory.write_text(
        "from lab.inventory import lab_hosts\n"
        f"databases = [('db1', { ({'ssh_hostname': '192.0.2.1', 'postgresql_dsn': dsn} | commands)!r})]\n"
        f"databases[0][1]['postgresql_address'] = {lab.address(host_named('db1'))!r}\n"
        "poolers, apps = lab_hosts('poolers'), lab_hosts('apps')\n"
    )
    code, said = document("verify", str(inventory))
    assert (code, {one for one in unseen(said) if one.startswith("pool")}) == (3, set())
    found = {(finding["where"], finding["what"]): finding["wrong"] for finding in said["findings"]}
    for pooler in poolers(lab):
        assert found[pooler, "login through every entry"] == found[pooler, "files"] == []
    assert document("plan", str(inventory))[1]["changes"] == []


def test_pyinfra_verifies_the_poolers_and_a_deploy_asks_for_the_secrets(dsn: str):
    data = {"postgresql_dsn": dsn}
    run = pyinfra("--limit", "poolers", data=data, deploy="deploy/verify.py")
    assert run.returncode == 0, run.text
    assert "not looked at: userlist.txt" in run.text
    refused = pyinfra("--limit", "poolers", data=data)
    assert refused.returncode == 1
    assert "db1: has no host that keeps the poolers' own secrets" in refused.text


@pytest.fixture
def traps(lab: Lab) -> Iterator[None]:
    """Made after the role, whose fixture is the module's."""
    for database in DATABASES:
        untrapped(lab, TRAP, database)
    yield
    for database in DATABASES:
        untrapped(lab, UNTRAP, database)


def untrapped(lab: Lab, sql: str, database: str) -> str:
    """The test's own look at the server."""
    return on(
        lab, "db1", f"cd /; PGAPPNAME='the test' runuser -u postgres -- psql -XqAt -d '{database}' <<'EOF'\n{sql}\nEOF"
    ).strip()


def changed_since(lab: Lab, host: str, marker: str) -> list[str]:
    """Files and directories of a host that are newer than a marker, but for logs and what its services write."""
    busy = " ".join(f"-path {path} -prune -o" for path in ("/var/log", "/var/lib/postgresql", "/run"))
    # /tmp itself: pyinfra puts its helper for a sudo password there, and takes it away again
    return on(lab, host, f"find / /tmp -xdev {busy} -newer {marker} ! -path /tmp -print | sort -u").split()


@pytest.mark.usefixtures("dsn", "traps")
def test_they_write_nothing_on_the_server_and_no_file_on_a_host(lab: Lab, dsn: str):
    log = on(lab, "db1", "cat $(ls -t /var/log/postgresql/postgresql-*.log | head -1) | wc -c").strip()
    hosts = ["db1", *poolers(lab)]
    for host in hosts:
        on(lab, host, "touch /run/before-reading")
    for command in (["plan"], ["verify"], ["size", "--window", "0.5"]):
        assert document(*command[:1], INVENTORY, *command[1:])[0] == 0
        assert document(*command[:1], INVENTORY, *command[1:], "--dsn", f"db1={dsn}")[0] in (0, 3)
    for host in hosts:
        assert changed_since(lab, host, "/run/before-reading") == []

    logged = on(lab, "db1", f"tail -c +{log} $(ls -t /var/log/postgresql/postgresql-*.log | head -1)")
    for role in (ROLE, "postgres"):
        for database in DATABASES:
            assert f"trap held for {role} in {database}" in logged
    assert [untrapped(lab, "SELECT * FROM trap", database) for database in DATABASES] == [""] * 3
    # The trap is one: the same role, without Poolward, writes into it.
    psycopg.connect(dsn).close()
    assert untrapped(lab, "SELECT who FROM trap", "postgres") == ROLE
