"""A server that is known by its connection string alone: refused with the SQL, run by its owner, deployed in front of.

db1 is reached as a role with pg_monitor, and no session by ssh comes to its host. The owner is the test: a superuser
for auth_query, and for userlist.txt one that has CREATEROLE and the databases, as on a managed service.
"""

from __future__ import annotations

import json
import os
import runpy
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest

from lab import recorder, wait
from lab.database import identifier, literal
from lab.state import State
from lab.topology import REPOSITORY, Lab, host_named
from tests.lab import leaks
from tests.lab.support import Run, deployed, main_pid, on, poolers, psql, purge_database, pyinfra, who

WATCHER, OWNER = "watcher", "landlord"
HBA = "/etc/postgresql/17/main/pg_hba.conf"
DATABASES = ("tracksolid_db", "tracksolid-archive")
SERVICE = "worker"


@dataclass
class Operator:
    """Somebody with ssh to the poolers and the applications, a connection string, and a vault."""

    lab: Lab
    folder: Path
    dsn: str
    secrets: dict[str, str] = field(repr=False)
    said: list[str] = field(default_factory=list, repr=False)

    @property
    def inventory(self) -> str:
        return str(self.folder / "fleet.py")

    def command(self, name: str) -> list[str]:
        return ["cat", str(self.folder / f"{name}.secret")]

    def declares(self, *, commands: bool = True, **changes: Any) -> None:
        declared = runpy.run_path(str(REPOSITORY / "group_data" / "lab.py"))
        words = {key: value for key, value in declared.items() if key.startswith("pgbouncer_") or key == "services"}
        text = "".join(f"{key} = {value!r}\n" for key, value in (words | changes).items())
        (self.folder / "group_data" / "fleet.py").write_text(text)
        data: dict[str, Any] = {"postgresql_dsn": self.dsn, "postgresql_address": self.lab.address(host_named("db1"))}
        if commands:
            for knob in ("auth", "probe"):
                data[f"pgbouncer_{knob}_secret_command"] = self.command(f"pgbouncer_{knob}")
        (self.folder / "fleet.py").write_text(
            "from lab.inventory import lab_hosts\n"
            f"databases = [('db1', {data!r})]\n"
            "poolers, apps = lab_hosts('poolers'), lab_hosts('apps')\n"
        )

    def runs(self, deploy: str = "deploy/pgbouncer.py", **data: Any) -> Run:
        run = pyinfra("--json", deploy=deploy, inventory=self.inventory, data=data)
        self.said.append(run.text)
        return run

    def poolward(self, *words: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [str(Path(sys.executable).with_name("poolward")), words[0], self.inventory, *words[1:]],
            cwd=REPOSITORY, env=os.environ, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        self.said.append(done.stdout + done.stderr)
        return done


@pytest.fixture(scope="module")
def operator(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """db1 as its owner has it: nothing of Poolward's on it, and the network lets the poolers and the operator in."""
    deployed()
    purge_database(lab)
    address, passwords = lab.address(host_named("db1")), State(lab).role_passwords()
    with socket.create_connection((address, 5432), timeout=10) as connection:
        here = connection.getsockname()[0]
    password = secrets.token_urlsafe(12)
    psql(lab, f"CREATE ROLE {WATCHER} LOGIN PASSWORD '{password}'; GRANT pg_monitor TO {WATCHER};")
    psql(lab, f"CREATE ROLE {OWNER} LOGIN CREATEROLE")
    for name in DATABASES:
        psql(lab, f"ALTER DATABASE {identifier(name)} OWNER TO {OWNER}")
    allowed = [here, *(lab.address(host_named(name)) for name in poolers(lab))]
    rules = [f"host all all {one}/32 scram-sha-256 # allowed" for one in allowed]
    rules.append(f"local all {OWNER} trust # allowed")
    text = "\n".join(rules) + "\n" + on(lab, "db1", f"cat {HBA}")
    on(lab, "db1", f"cat >{HBA} <<'EOF'\n{text}\nEOF\nsystemctl reload postgresql@17-main")
    folder = tmp_path_factory.mktemp("operator")
    (folder / "group_data").mkdir()
    passfile = folder / "pgpass"
    passfile.touch(mode=0o600)
    passfile.write_text(f"*:*:*:{WATCHER}:{password}\n")
    own = {role: secrets.token_urlsafe(24) for role in ("pgbouncer_auth", "pgbouncer_probe")}
    operator = Operator(lab, folder, f"host={address} user={WATCHER} dbname=postgres", own | {WATCHER: password})
    for name, secret in (own | {SERVICE: passwords[SERVICE]}).items():
        file = folder / f"{name}.secret"
        file.touch(mode=0o600)
        file.write_text(secret + "\n")
    operator.declares()
    recorder.reset("db1")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PGPASSFILE", str(passfile))
        wait.until("the operator may log in", lambda: may_log_in(operator.dsn), 10)
        yield operator
    on(lab, "db1", f"sed -i -e '/# allowed$/d' -e '${{/^$/d}}' {HBA}; systemctl reload postgresql@17-main")
    for name in DATABASES:
        psql(lab, f"ALTER DATABASE {identifier(name)} OWNER TO postgres; REASSIGN OWNED BY {OWNER} TO postgres;", name)
    purge_database(lab)
    psql(lab, f"DROP OWNED BY {WATCHER}, {OWNER}; DROP ROLE {WATCHER}, {OWNER};")
    deployed()


def may_log_in(dsn: str) -> bool:
    try:
        psycopg.connect(dsn).close()
    except psycopg.OperationalError:
        return False
    return True


def owner_runs(lab: Lab, sql: str, role: str = "postgres") -> tuple[int, str]:
    """psql on the server's own machine, past everything of ours: its exit code, and what it said."""
    printed = on(
        lab,
        "db1",
        f"cd /; runuser -u postgres -- psql -X -U {role} -d postgres -f - 2>&1 <<'END OF SQL' || echo exit $?\n"
        f"{sql}\nEND OF SQL",
    )
    last = printed.splitlines()[-1] if printed.strip() else ""
    return (int(last.split()[1]) if last.startswith("exit ") else 0), printed


def set_passwords(operator: Operator, *roles: str) -> None:
    """What \\password does."""
    for role in roles:
        psql(operator.lab, f"ALTER ROLE {role} PASSWORD {literal(operator.secrets[role])}")


def test_a_deploy_is_refused_before_its_first_operation_and_the_sql_is_said(lab: Lab, operator: Operator):
    processes = {name: main_pid(lab, name) for name in poolers(lab)}
    operator.declares(commands=False)
    refused = operator.runs()
    assert refused.returncode == 1
    assert "pgbouncer_auth_secret_command and pgbouncer_probe_secret_command are not given" in refused.text
    operator.declares()
    refused, handed = operator.runs(), operator.poolward("handover")
    assert (refused.returncode, handed.returncode) == (1, 2)
    assert "Starting operation" not in refused.text
    assert "role pgbouncer_auth is missing" in refused.text
    for line in handed.stdout.splitlines():
        assert line in refused.text
    assert psql(lab, "SELECT count(*) FROM pg_roles WHERE rolname ~ '^pgbouncer_'") == "0"
    assert {name: main_pid(lab, name) for name in poolers(lab)} == processes


def test_whoever_may_not_do_it_is_told_and_nothing_is_done_by_half(lab: Lab, operator: Operator):
    code, said = owner_runs(lab, operator.poolward("handover").stdout, OWNER)
    assert code == 3
    assert f"{OWNER} may not do this" in said
    assert "pgbouncer_auth_query = False" in said
    assert psql(lab, "SELECT count(*) FROM pg_roles WHERE rolname ~ '^pgbouncer_'") == "0"


def test_the_owner_runs_it_and_a_service_gets_through(lab: Lab, operator: Operator):
    sql = operator.poolward("handover").stdout
    code, said = owner_runs(lab, sql)
    assert code == 0, said
    assert '\\password "pgbouncer_auth"' in said
    refused = operator.runs()  # the passwords are still to be set
    assert refused.returncode == 1
    assert "pgbouncer_auth has another password than pgbouncer_auth_secret_command prints" in refused.text
    set_passwords(operator, "pgbouncer_auth", "pgbouncer_probe")
    before = database_side(lab)
    assert owner_runs(lab, sql)[0] == 0
    assert database_side(lab) == before
    assert operator.poolward("handover").returncode == 0

    first = operator.runs()
    assert first.returncode == 0, first.text
    assert {name: who(lab, name, SERVICE) for name in poolers(lab)} == dict.fromkeys(poolers(lab), SERVICE)
    second = operator.runs()
    assert (second.returncode, second.totals["success"]) == (0, 0)
    assert database_side(lab) == before
    assert on(lab, "db1", "ls /var/lib/poolward 2>/dev/null || true") == ""


def test_verify_and_plan_say_what_they_did_not_see(operator: Operator):
    assert operator.runs("deploy/verify.py").returncode == 0
    verified, planned = operator.poolward("verify", "--json"), operator.poolward("plan", "--json")
    assert (verified.returncode, planned.returncode) == (3, 3)
    found = json.loads(verified.stdout)
    assert {f"{one['where']}: {one['what']}" for one in found["unseen"]} == {
        "db1: what kind of password each role has (SCRAM, md5, none)",
        "db1: the rules of pg_hba.conf, whether they let the poolers in",
    }
    assert [one for one in found["findings"] if one["wrong"]] == []
    assert (json.loads(planned.stdout)["changes"], json.loads(planned.stdout)["problems"]) == ([], [])


def test_drift_of_the_database_side_is_the_owners_again(lab: Lab, operator: Operator):
    psql(lab, "GRANT EXECUTE ON FUNCTION pgbouncer.user_lookup(text) TO PUBLIC", "tracksolid_db")
    verified, handed = operator.poolward("verify"), operator.poolward("handover")
    assert (verified.returncode, handed.returncode) == (2, 2)
    assert "may be executed by PUBLIC" in handed.stdout
    assert owner_runs(lab, handed.stdout)[0] == 0
    assert operator.poolward("handover").returncode == 0


def test_a_service_moves_and_comes_back_on_the_evidence_of_the_connection_string(operator: Operator):
    moved = operator.runs("deploy/cutover.py", only=SERVICE, soak=1)
    assert moved.returncode == 0, moved.text
    back = operator.runs("deploy/rollback.py", only=SERVICE, soak=1)
    assert back.returncode == 0, back.text
    assert "not scanned: db1, by a connection string" in moved.text


def test_a_removal_leaves_the_servers_side_to_its_owner(lab: Lab, operator: Operator):
    early = operator.poolward("handover", "--remove")
    assert (early.returncode, early.stdout) == (1, "")
    assert "PgBouncer runs there" in early.stderr
    removed = operator.runs("deploy/remove.py")
    assert removed.returncode == 0, removed.text
    assert "`poolward handover INVENTORY --remove` prints the SQL that takes them back" in removed.text
    assert psql(lab, "SELECT count(*) FROM pg_roles WHERE rolname ~ '^pgbouncer_'") == "2"
    handed = operator.poolward("handover", "--remove")
    assert handed.returncode == 2
    for _ in range(2):
        code, said = owner_runs(lab, handed.stdout)
        assert code == 0, said
    assert database_side(lab) == dict.fromkeys(("", *DATABASES), "")
    assert operator.poolward("handover", "--remove").returncode == 0


def test_without_a_superuser_userlist_txt_serves(lab: Lab, operator: Operator):
    """The owner has CREATEROLE and the databases, nobody can read pg_authid, and PgBouncer has the password itself."""
    operator.declares(
        pgbouncer_auth_query=False, pgbouncer_auth_users={SERVICE: {"password_command": operator.command(SERVICE)}}
    )
    refused, handed = operator.runs(), operator.poolward("handover")
    assert (refused.returncode, handed.returncode) == (1, 2)
    assert "user_lookup" not in handed.stdout
    for _ in range(2):
        code, said = owner_runs(lab, handed.stdout, OWNER)
        assert code == 0, said
    set_passwords(operator, "pgbouncer_probe")
    first = operator.runs()
    assert first.returncode == 0, first.text
    assert {name: who(lab, name, SERVICE) for name in poolers(lab)} == dict.fromkeys(poolers(lab), SERVICE)
    assert who(lab, "pool1", "dashboard") == "SASL authentication failed"
    second = operator.runs()
    assert (second.returncode, second.totals["success"]) == (0, 0)
    assert operator.runs("deploy/verify.py").returncode == 0
    assert psql(lab, "SELECT count(*) FROM pg_roles WHERE rolname = 'pgbouncer_auth'") == "0"


def test_no_secret_was_said_and_nobody_came_to_the_host(operator: Operator):
    assert leaks.in_texts(operator.secrets, operator.said) == set()
    assert recorder.commands("db1") == []


def database_side(lab: Lab) -> dict[str, str]:
    """Roles, settings, and all of what is in the schema, with the numbers that tell whether anything was made anew."""
    roles = psql(lab, "SELECT json_agg(r ORDER BY oid) FROM pg_roles r WHERE rolname ~ '^pgbouncer_'")
    inside = (
        "SELECT json_agg((p.oid, prosrc, proacl, nspacl)) FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace "
    )
    return {"": roles} | {name: psql(lab, f"{inside} WHERE nspname = 'pgbouncer'", name) for name in DATABASES}
