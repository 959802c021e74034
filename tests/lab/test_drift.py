"""Drift, one thing at a time: planted on a deployed fleet, named by both ways of verifying it, and nothing beside it.

`pyinfra … deploy/verify.py` fails, `poolward verify` exits 2, and both say what is there and what was declared.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lab import wait
from lab.topology import REPOSITORY, Lab
from tests.lab.support import deployed, on, running_config

INI, HBA = "/etc/pgbouncer/pgbouncer.ini", "/etc/pgbouncer/pg_hba.conf"
UNIT = "/etc/systemd/system/pgbouncer.service.d"
PG_HBA = "/etc/postgresql/17/main/pg_hba.conf"
RELOAD = "systemctl reload pgbouncer.service"
# pool1 has more than the lab's inventory says: limits of a role, and who may log in from where
DECLARED = {
    "pgbouncer_users": {"dashboard": {"max_user_connections": 5, "pool_size": 4}},
    "pgbouncer_hba": [
        "local all all scram-sha-256",
        "host all grafana_ro 0.0.0.0/0 reject",
        "host all all 0.0.0.0/0 scram-sha-256",
    ],
}


@dataclass(frozen=True)
class Drift:
    """A root script that plants it, the one that takes it back, and every finding it leads to, each by its words."""

    host: str
    plant: str
    heal: str
    found: dict[str, tuple[str, ...]]


def kept(*files: str) -> tuple[str, str]:
    """Keep files aside, and put them back with everything stat says of them."""
    keep = "; ".join(f"cp -p {file} /root/kept.{number}" for number, file in enumerate(files))
    put_back = "; ".join(f"cp -p /root/kept.{number} {file}" for number, file in enumerate(files))
    return keep, put_back


def on_console(statement: str) -> str:
    return f"cd /; runuser -u postgres -- psql -Xq -p 6432 -U pgbouncer -d pgbouncer -c '{statement}'"


def in_sql(statement: str, database: str = "tracksolid_db") -> str:
    return f"cd /; runuser -u postgres -- psql -XqAt -v ON_ERROR_STOP=1 -d {database} <<'EOF'\n{statement}\nEOF"


KEEP_INI, PUT_INI_BACK = kept(INI)
KEEP_HBA, PUT_HBA_BACK = kept(HBA)
KEEP_PG_HBA, PUT_PG_HBA_BACK = kept(PG_HBA)
LOOKUP = "pgbouncer.user_lookup(text)"

DRIFTS = {
    "a value typed on the console": Drift(
        "pool1",
        on_console("SET query_wait_timeout = 99"),
        on_console("SET query_wait_timeout = 15"),
        {"running values": ("query_wait_timeout: 99 → 15",)},
    ),
    "an entry disabled on the console": Drift(
        "pool1",
        on_console("DISABLE tracksolid_db_session"),
        on_console("ENABLE tracksolid_db_session"),
        {
            "databases in use": ("tracksolid_db_session is disabled: somebody said so on the console",),
            "login through every entry": ("The probe cannot log in through pool1:\ntracksolid_db_session:",),
        },
    ),
    "a file edited and not reloaded": Drift(
        "pool1",
        f"{KEEP_INI}; sed -i 's/^reserve_pool_timeout = .*/reserve_pool_timeout = 7/' {INI}",
        PUT_INI_BACK,
        {"files": ("pgbouncer.ini: reserve_pool_timeout = 7 → reserve_pool_timeout = 3",)},
    ),
    "limits of roles edited and reloaded": Drift(
        "pool1",
        f"{KEEP_INI}; sed -i 's/^dashboard = .*/dashboard = max_user_connections=50 pool_mode=session pool_size=9/; "
        rf"s/^\[users\]/[users]\nworker = max_user_connections=7/' {INI}; {RELOAD}",
        f"{PUT_INI_BACK}; {RELOAD}",
        {
            "files": (
                "pgbouncer.ini: [users] dashboard.max_user_connections = 50; [users] dashboard.pool_mode = session; "
                "[users] dashboard.pool_size = 9; [users] worker.max_user_connections = 7 → "
                "[users] dashboard.max_user_connections = 5; [users] dashboard.pool_size = 4",
            ),
            "running values": (
                "dashboard.pool_size: 9 → 4",
                "dashboard.pool_mode: session → (none)",
                "dashboard.max_user_connections: 50 → 5",
                "worker.max_user_connections: 7 → (none)",
            ),
        },
    ),
    # the drift before left it: PgBouncer forgets the limits of a line that is gone only in a restart
    "a role's limit that outlives its line": Drift(
        "pool1",
        "true",
        "systemctl restart pgbouncer.service",
        {"running values": ("worker.max_user_connections: 7 → (none)",)},
    ),
    "PgBouncer's pg_hba.conf edited and reloaded": Drift(
        "pool1",
        f"{KEEP_HBA}; sed -i s/reject/trust/ {HBA}; {RELOAD}",
        f"{PUT_HBA_BACK}; {RELOAD}",
        {
            "files": (
                "pg_hba.conf of PgBouncer: 'host all grafana_ro 0.0.0.0/0 trust' → "
                "'host all grafana_ro 0.0.0.0/0 reject'",
            )
        },
    ),
    "a unit override": Drift(
        "pool1",
        f"printf '[Service]\\nExecStart=\\nExecStart=/usr/sbin/pgbouncer -v {INI}\\nLimitNOFILE=1024\\n' "
        f">{UNIT}/zz-mine.conf; systemctl daemon-reload",
        f"rm {UNIT}/zz-mine.conf; systemctl daemon-reload",
        {
            "service": (
                f"ExecStart: /usr/sbin/pgbouncer -v {INI} → /usr/sbin/pgbouncer {INI} ({UNIT}/zz-mine.conf: remove it",
                f"LimitNOFILE at the next start: 1024 → 2692 ({UNIT}/zz-mine.conf: remove it",
            )
        },
    ),
    "our drop-in edited": Drift(
        "pool1",
        f"{kept(f'{UNIT}/poolward.conf')[0]}; sed -i 's/^LimitNOFILE=.*/LimitNOFILE=1024/' {UNIT}/poolward.conf",
        f"{kept(f'{UNIT}/poolward.conf')[1]}; systemctl daemon-reload",
        {
            "service": ("the unit: changed on disk → loaded",),
            "files": ("the unit's drop-in: 'LimitNOFILE=1024' → 'LimitNOFILE=2692:65536'",),
        },
    ),
    "a function somebody changed": Drift(
        "db1",
        in_sql(
            f"\\o /var/lib/postgresql/lookup.sql\nSELECT pg_get_functiondef('{LOOKUP}'::regprocedure);\n\\o\n"
            "CREATE OR REPLACE FUNCTION pgbouncer.user_lookup(text) RETURNS TABLE (rolname text, rolpassword text) "
            "LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS "
            "'SELECT rolname::text, rolpassword FROM pg_authid WHERE rolname = $1'"
        ),
        in_sql("\\i /var/lib/postgresql/lookup.sql") + "\nrm /var/lib/postgresql/lookup.sql",
        {
            "roles and lookup function": (
                f"tracksolid_db: function {LOOKUP} has another body",
                f"tracksolid_db: function {LOOKUP}: volatility is 'v' instead of 's'",
            )
        },
    ),
    "a grant and a role's attributes": Drift(
        "db1",
        in_sql(f"GRANT EXECUTE ON FUNCTION {LOOKUP} TO worker; ALTER ROLE pgbouncer_auth CREATEDB;")
        + "\n"
        + in_sql("ALTER ROLE pgbouncer_probe CONNECTION LIMIT 30"),
        in_sql(f"REVOKE EXECUTE ON FUNCTION {LOOKUP} FROM worker; ALTER ROLE pgbouncer_auth NOCREATEDB;")
        + "\n"
        + in_sql("ALTER ROLE pgbouncer_probe CONNECTION LIMIT 3"),
        {
            "roles and lookup function": (
                "role pgbouncer_auth has CREATEDB",
                "role pgbouncer_probe has CONNECTION LIMIT 30 instead of 3",
                f"tracksolid_db: function {LOOKUP} may be executed by pgbouncer_auth, worker instead of pgbouncer_auth",
            )
        },
    ),
    "PostgreSQL's pg_hba.conf edited and not reloaded": Drift(
        "db1",
        f"{KEEP_PG_HBA}; sed -i '/^# END poolward/i host all all 192.0.2.9/32 trust' {PG_HBA}",
        f"{PUT_PG_HBA_BACK}; systemctl reload postgresql@17-main.service",
        {
            "pg_hba.conf": (
                "the file was changed after PostgreSQL last read it",
                "Poolward's block has a line that no pooler needs: host all all 192.0.2.9/32 trust",
            )
        },
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def inventory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The lab with a few things more on pool1, deployed; afterwards it is as its own inventory says."""
    path = tmp_path_factory.mktemp("inventories") / "lab.py"  # the name of its group data
    groups = "".join(f"{group} = lab_hosts({group!r})\n" for group in ("databases", "poolers", "apps"))
    path.write_text(f"from lab.inventory import lab_hosts\n{groups}poolers[0][1].update({DECLARED!r})\n")
    done = run("poolward", "run", "pgbouncer", str(path))
    assert done.returncode == 0, done.stderr
    yield str(path)
    deployed()


def run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name(program)), *arguments]
    return subprocess.run(
        command, cwd=REPOSITORY, env=os.environ, capture_output=True, text=True, timeout=120, check=False
    )


def verified(inventory: str) -> tuple[int, dict[tuple[str, str], list[str]]]:
    """`poolward verify --json`: its exit code, and what is wrong by host and what was looked at."""
    done = run("poolward", "verify", inventory, "--json")
    said: dict[str, Any] = json.loads(done.stdout)
    assert said["clean"] is (done.returncode == 0)
    found = {(one["where"], one["what"]): one["wrong"] for one in said["findings"] if one["wrong"]}
    return done.returncode, found


def assert_found(inventory: str, host: str, wanted: dict[str, tuple[str, ...]]) -> None:
    """Both ways name exactly these, by the words each begins with."""
    code, found = verified(inventory)
    assert code == 2
    assert found.keys() == {(host, what) for what in wanted}
    for what, sentences in wanted.items():
        assert len(found[host, what]) == len(sentences), found[host, what]
        assert all(any(wrong.startswith(words) for wrong in found[host, what]) for words in sentences), found[
            host, what
        ]

    by_pyinfra = run("poolward", "run", "verify", inventory)
    assert by_pyinfra.returncode == 1
    assert f"{host} is not as declared." in by_pyinfra.stderr
    told = " ".join(by_pyinfra.stderr.split())
    for sentences in wanted.values():
        assert all(" ".join(words.split("\n")[0].split()) in told for words in sentences), by_pyinfra.stderr
    for other in {"db1", "pool1", "pool2"} - {host}:
        assert f"{other} is not as declared" not in by_pyinfra.stderr


@pytest.mark.parametrize("name", DRIFTS)
def test_drift_is_named_and_nothing_else_is(lab: Lab, inventory: str, name: str):
    drift = DRIFTS[name]
    on(lab, drift.host, drift.plant)
    try:
        assert_found(inventory, drift.host, drift.found)
    finally:
        on(lab, drift.host, drift.heal)


def sizes(lab: Lab, pooler: str) -> dict[str, str]:
    """What SHOW DATABASES says of each entry's pools."""
    client = "runuser -u postgres -- psql -Xq --csv -p 6432 -U pgbouncer -d pgbouncer"
    rows = csv.DictReader(on(lab, pooler, f"cd /; {client} -c 'SHOW DATABASES'").splitlines())
    columns = ("pool_size", "reserve_pool", "reserve_pool_size", "pool_mode", "max_connections")
    return {f"{row['name']}.{column}": row[column] for row in rows for column in columns if column in row}


@pytest.mark.parametrize("pooler", ["pool1", "pool2"])
def test_every_value_that_a_half_applied_reload_changed_is_named(lab: Lab, inventory: str, pooler: str):
    """A name misspelt in the middle: PgBouncer stops there, and what stands below falls to its built-in defaults."""
    before, entries = running_config(lab, pooler), sizes(lab, pooler)
    on(lab, pooler, f"{KEEP_INI}; sed -i 's/^pool_mode = /pol_mode = /' {INI}; {RELOAD}")
    try:
        wait.until("the reload was taken", lambda: running_config(lab, pooler) != before, 10)
        after = running_config(lab, pooler)
        fell = {key for key, value in after.items() if value != before[key]}
        assert {"pool_mode", "query_wait_timeout"} < fell
        assert "max_client_conn" not in fell  # it stands above
        smaller = {key: size for key, size in sizes(lab, pooler).items() if size != entries[key]}
        assert smaller  # of the entries that have no reserve of their own
        now = {key: after[key] for key in fell} | smaller
        values = tuple(f"{key}: {value or '(empty)'} → " for key, value in now.items())
        misspelt = "pgbouncer.ini: pol_mode, which PgBouncer does not know; no pool_mode; a RELOAD of it takes only"
        assert_found(inventory, pooler, {"files": (misspelt,), "running values": values})
    finally:
        on(lab, pooler, f"{PUT_INI_BACK}; {RELOAD}")
        wait.until("the reload was taken", lambda: running_config(lab, pooler) == before, 10)


def test_healed_it_is_clean(inventory: str):
    assert verified(inventory) == (0, {})
