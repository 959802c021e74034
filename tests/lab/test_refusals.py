"""What cannot work is refused before anything changes, with every reason at once and the next step beside it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from lab import recorder
from lab.topology import Lab, host_named
from lab.wait import until
from tests.lab.support import (
    UNCOUNTED,
    Run,
    client,
    main_pid,
    on,
    poolers,
    psql,
    pyinfra,
    running_config,
    settings_with,
)

pytestmark = pytest.mark.usefixtures("as_declared")

HOSTS = ("db1", "pool1", "pool2", "app1", "app2")
HBA = "/etc/postgresql/17/main/pg_hba.conf"
TLS = "/etc/pgbouncer-tls"


def standing(lab: Lab) -> dict[str, object]:
    """Everything a deploy might change, past our own code: files, processes, running values, roles, functions."""
    seen: dict[str, object] = {}
    for pooler in ("pool1", "pool2"):
        script = """
            find /etc/pgbouncer /etc/systemd/system -printf '%p %i %u:%g %m\\n' | sort
            find /etc/pgbouncer /etc/systemd/system -type f -exec sha256sum {} + | sort
            dpkg -l pgbouncer | tail -n 1
            """
        seen[pooler] = on(lab, pooler, script), main_pid(lab, pooler), running_config(lab, pooler)
    # pg_dump marks each dump with a word of chance
    dump = f"(cd /; {UNCOUNTED} runuser -u postgres -- %s) | grep -v restrict | sha256sum\n"
    databases = "".join(dump % f"pg_dump -s -n 'pgbouncer*' -d {name}" for name in ("postgres", "tracksolid_db"))
    seen["db1"] = on(lab, "db1", f"sha256sum {HBA}\n{dump % 'pg_dumpall -g'}{databases}ls -lR /var/lib/poolward")
    return seen


@pytest.fixture
def untouched(lab: Lab) -> Iterator[None]:
    """The test's runs change nothing anywhere."""
    for host in HOSTS:
        recorder.reset(host)
    before = standing(lab)
    yield
    assert standing(lab) == before


def refused(run: Run) -> str:
    """The whole refusal of a run that ended before its first operation, on one line."""
    assert run.returncode == 1
    assert "Starting operation" not in run.text
    return " ".join(run.text.split("pyinfra error", 1)[1].split())


@pytest.mark.usefixtures("untouched")
def test_a_misspelt_value_is_refused_before_any_command_on_any_host():
    said = refused(pyinfra(data=settings_with(pool_mode="transactoin")))
    assert "pool_mode = 'transactoin' is not one of session, transaction, statement" in said
    assert "Did you mean transaction?" in said
    assert {host: recorder.commands(host) for host in HOSTS} == {host: [] for host in HOSTS}


@pytest.mark.usefixtures("untouched")
def test_everything_that_is_wrong_is_said_at_once():
    data = settings_with(pool_mode="transactoin", max_client_conn="many", pool_size_default=20)
    databases = {
        "sales": {"host": "db9"},
        "pgbouncer": {"host": "db1"},
        "reports": {"host": "db1", "pool_size": "all", "sslmode": "require"},
    }
    said = refused(pyinfra(data={**data, "pgbouncer_databases": databases, "pgbouncer_manage_hbas": True}))
    wrong = ("transactoin", "many", "pool_size_default", "db9", "console", "all", "sslmode")
    assert [word for word in wrong if not re.search(rf"✗ [^:]*pool1, pool2[^:]*: [^✗]*{word}", said)] == []
    assert re.search(r"✗ db1[^:]*: pgbouncer_manage_hbas is no word of Poolward's", said)
    assert "no database is declared" not in said


@pytest.mark.usefixtures("untouched")
def test_a_setting_too_new_for_one_pooler_is_named_with_both_versions():
    said = refused(pyinfra(data=settings_with(max_prepared_statements=100)))
    found = re.search(r"✗ pool2: [^✗]*max_prepared_statements[^✗]*", said)
    assert found
    assert "1.21" in found[0]
    assert "1.18" in found[0]
    assert "✗ pool1" not in said


@pytest.mark.usefixtures("untouched")
def test_a_database_that_does_not_exist_is_refused():
    said = refused(pyinfra(data={"pgbouncer_databases": {"nonesuch": {"host": "db1"}}}))
    assert "db1: has no database 'nonesuch' that accepts connections" in said
    # What was run to know this: one look at each pooler, and on the server what it holds itself to reading.
    assert len(recorder.commands("pool1")) == 1
    assert recorder.commands("db1")
    assert all("default_transaction_read_only=on" in command for command in recorder.commands("db1"))


@pytest.fixture
def tls_files(lab: Lab) -> Iterator[None]:
    """A certificate on pool1, its key, and a key that is not its."""
    curve = "-algorithm EC -pkeyopt ec_paramgen_curve:prime256v1"
    script = f"""
        install -d -o postgres {TLS}; cd {TLS}
        openssl genpkey {curve} -out right.key; openssl genpkey {curve} -out wrong.key
        openssl req -x509 -key right.key -subj /CN=pool1 -days 2 -out server.crt
        chown postgres: *; chmod 0600 *.key
        """
    on(lab, "pool1", script)
    yield
    on(lab, "pool1", f"rm -r {TLS}")


@pytest.mark.usefixtures("tls_files", "put_back")
def test_what_only_the_binary_can_refuse_leaves_file_and_process_alone(lab: Lab):
    tls = {"client_tls_sslmode": "require", "client_tls_cert_file": f"{TLS}/server.crt"}
    before = standing(lab)
    run = pyinfra("--limit", "pool1", data=settings_with(**tls, client_tls_key_file=f"{TLS}/wrong.key"))
    assert run.returncode == 1
    complaint = [line for line in run.text.splitlines() if "refuses" in line]
    assert len(complaint) == 1
    assert "pool1: its own PgBouncer refuses the new configuration: TLS setup failed" in complaint[0]
    assert "wrong.key" in complaint[0]
    assert "key values mismatch" in complaint[0]
    assert standing(lab) == before

    # With the right key the same settings work: it was the key that was refused.
    run = pyinfra("--limit", "pool1", data=settings_with(**tls, client_tls_key_file=f"{TLS}/right.key"))
    assert run.returncode == 0, run.text
    with client(lab, "pool1") as connection:
        assert connection.info.pgconn.ssl_in_use


@pytest.fixture
def standby(lab: Lab) -> Iterator[None]:
    """db1 in recovery: it answers, and nothing can be created on it."""
    signal = "/var/lib/postgresql/17/main/standby.signal"
    restart = "systemctl restart postgresql@17-main"
    on(lab, "db1", f"runuser -u postgres -- touch {signal}; {restart}")
    yield
    psql(lab, "SELECT pg_promote()")
    on(lab, "db1", f"test ! -e {signal}")


@pytest.mark.usefixtures("standby")
def test_a_standby_is_refused(lab: Lab):
    assert psql(lab, "SELECT pg_is_in_recovery()") == "t"
    for host in HOSTS:
        recorder.reset(host)
    said = refused(pyinfra())
    assert "db1: is a standby (pg_is_in_recovery)" in said
    assert "name the primary in `databases`" in said
    assert len(recorder.commands("pool1")) == len(recorder.commands("db1")) == 1


def reload_hba(lab: Lab) -> None:
    psql(lab, "SELECT pg_reload_conf()")
    until("the rules in force are the file's", lambda: psql(lab, IN_FORCE) == "t", timeout=10)


IN_FORCE = f"SELECT pg_conf_load_time() >= modification FROM pg_stat_file('{HBA}')"


@pytest.fixture
def closed(lab: Lab) -> Iterator[None]:
    """The server lets no pooler in; afterwards its rules are what they were."""
    on(lab, "db1", f"cp -p {HBA} {HBA}.kept; sed -i '/^# BEGIN poolward/,/^# END poolward/d' {HBA}")
    reload_hba(lab)
    yield
    on(lab, "db1", f"mv {HBA}.kept {HBA}")
    reload_hba(lab)


def answer_to_pool1(lab: Lab) -> str:
    """What the server says to somebody from pool1 who has no password."""
    return on(lab, "pool1", "psql -w 'host=db1 dbname=tracksolid-archive user=worker' 2>&1 || true")


@pytest.mark.usefixtures("closed")
def test_missing_lines_of_pg_hba_are_printed_as_they_have_to_be(lab: Lab):
    run = pyinfra(data={"pgbouncer_manage_hba": False})
    said = refused(run)
    assert "db1: pg_hba.conf does not let the poolers in" in said
    lines = [line.strip() for line in run.text.splitlines() if line.strip().startswith("host ")]
    assert {line.split()[3] for line in lines} == {f"{lab.address(host_named(name))}/32" for name in poolers(lab)}
    assert "no pg_hba.conf entry" in answer_to_pool1(lab)

    # The operator adds exactly these lines, and that is enough.
    on(lab, "db1", f"cat >> {HBA} <<'EOF'\n" + "\n".join(lines) + "\nEOF")
    reload_hba(lab)
    run = pyinfra("--json", data={"pgbouncer_manage_hba": False})
    assert run.returncode == 0, run.stderr
    assert "no password supplied" in answer_to_pool1(lab)


@pytest.fixture
def md5_role(lab: Lab) -> Iterator[str]:
    psql(lab, "SET password_encryption = 'md5'; CREATE ROLE \"old-timer\" LOGIN PASSWORD 'x'")
    yield "old-timer"
    psql(lab, 'DROP ROLE "old-timer"')


def test_md5_roles_and_rules_by_address_are_named_beforehand(lab: Lab, md5_role: str):
    run = pyinfra("--limit", "db1")
    assert run.returncode == 0, run.stderr
    before = run.text.split("Starting operation")[0].splitlines()
    assert any(f"{md5_role} still have md5 hashes" in line for line in before)
    (rules,) = [line for line in before if "tell clients apart by address" in line]
    assert all(lab.address(host_named(app)) in rules for app in ("app1", "app2"))
    assert not any(lab.address(host_named(pooler)) in rules for pooler in ("pool1", "pool2"))
    (warning,) = [line for line in before if "pgbouncer_allow_superusers" in line]
    assert json.loads(psql(lab, "SELECT to_json(rolsuper) FROM pg_roles WHERE rolname = 'postgres'"))
    assert "postgres may pass through the pooler as superuser" in warning
