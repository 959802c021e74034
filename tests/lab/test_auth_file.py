"""Users in userlist.txt, beside auth_query and instead of it: who gets in, where, and for how long.

The stories of pool1 and pool2 (PgBouncer 1.24 and 1.18) and of pool3 (1.26) are the same.
"""

from __future__ import annotations

import json
import runpy
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.pq import ExecStatus

from lab import recorder
from lab.database import identifier, literal
from lab.process_sampler import ProcessSampler
from lab.topology import REPOSITORY, Lab, host_named
from poolward.reparse import parse_userlist
from tests.lab import leaks
from tests.lab.support import client, deployed, main_pid, on, psql, purge_database, who

ROLE = "fil\"e'd %s \\ é"
ENTRY = "tracksolid_db"
REFUSED = "SASL authentication failed"
USERLIST = "/etc/pgbouncer/userlist.txt"
KILLED = "install -d -g postgres -m 750 /etc/pgbouncer/.poolward; echo restart >/etc/pgbouncer/.poolward/unproved"


@dataclass
class Operator:
    """An operator with an inventory of his own, two passwords for the console, and what every run of his said."""

    folder: Path
    poolers: tuple[str, ...]
    began: str = ""
    anna: str = field(default_factory=lambda: secrets.token_urlsafe(9) + leaks.AWKWARD, repr=False)
    ben: str = field(default_factory=lambda: secrets.token_urlsafe(9), repr=False)
    said: list[str] = field(default_factory=list, repr=False)
    processes: set[str] = field(default_factory=set, repr=False)
    """Every command line and environment on the machine during his runs."""
    secrets: dict[str, str] = field(default_factory=dict, repr=False)
    """The passwords, and every verifier that stood on a pooler."""

    def __post_init__(self) -> None:
        (self.folder / "group_data").mkdir()
        groups = "".join(f'{name} = lab_hosts("{name}")\n' for name in ("databases", "poolers", "apps"))
        (self.folder / "fleet.py").write_text(f"from lab.inventory import lab_hosts\n\n{groups}")
        bens = self.folder / "ben.secret"
        bens.touch(mode=0o600)
        bens.write_text(f"{self.ben}\n")
        self.users: dict[str, Any] = {
            ROLE: {"verifier_from": "db1"},
            "anna": {"password_command": ["cat"]},  # from the standard input of the run
            "ben": {"password_command": ["cat", str(bens)]},
        }
        self.secrets |= {"anna": self.anna, "ben": self.ben}

    def declares(self, **changes: Any) -> None:
        declared = runpy.run_path(str(REPOSITORY / "group_data" / "lab.py"))
        words = {name: value for name, value in declared.items() if name.startswith("pgbouncer_")}
        words["pgbouncer_settings"] |= {"admin_users": "anna", "stats_users": ["ben"]}
        words |= {"pgbouncer_auth_users": self.users, **changes}
        text = "".join(f"{name} = {value!r}\n" for name, value in words.items())
        (self.folder / "group_data" / "fleet.py").write_text(text)

    def runs(self, *words: str) -> subprocess.CompletedProcess[str]:
        """`poolward …` with his inventory, and anna's password on standard input."""
        limit = [part for name in self.poolers for part in ("--limit", name)]
        inventory = str(self.folder / "fleet.py")
        command = [str(Path(sys.executable).with_name("poolward")), *words, inventory, *limit]
        loud = ["-vvv", "--debug", "--diff"] if words[0] == "run" else []
        with ProcessSampler() as sampler:
            done = subprocess.run(
                [*command, "--json", *loud],
                cwd=REPOSITORY, input=f"{self.anna}\n", capture_output=True, text=True, timeout=240, check=False,
            )  # fmt: skip
        self.said.append(done.stdout + done.stderr)
        self.processes |= sampler.samples
        return done

    def deploys(self) -> int:
        """Deploy, and return how many operations changed something."""
        done = self.runs("run", "pgbouncer")
        assert done.returncode == 0, done.stderr[-3000:]
        return int(json.loads(done.stdout)["results"]["totals"]["success"])

    def verifies(self) -> dict[tuple[str, str], list[str]]:
        """What is not as declared, by host and what was looked at."""
        found = json.loads(self.runs("verify").stdout)["findings"]
        return {(finding["where"], finding["what"]): finding["wrong"] for finding in found if finding["wrong"]}

    def files(self, lab: Lab) -> dict[str, dict[str, str]]:
        """Every pooler's userlist.txt; its verifiers are secrets from now on."""
        found = {name: parse_userlist(on(lab, name, f"cat {USERLIST}")) for name in self.poolers}
        for pooler, users in found.items():
            for user in self.users.keys() & users.keys():
                self.secrets[f"{user} on {pooler}, {users[user][-4:]}"] = users[user]
        return found


@pytest.fixture(
    scope="module",
    params=[("pool1", "pool2"), pytest.param(("pool3",), marks=pytest.mark.pool3)],
    ids=["pool1 and pool2", "pool3"],
)
def operator(lab: Lab, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """A fleet that asks auth_query, on which he has just put users into userlist.txt; one was looked up before."""
    poolers: tuple[str, ...] = request.param
    if "pool3" in poolers:
        request.getfixturevalue("pool3")
    deployed()
    psql(lab, f"CREATE ROLE {identifier(ROLE)} LOGIN PASSWORD 'first'")
    for name in poolers:
        client(lab, name, ROLE, password="first").close()
    operator = Operator(tmp_path_factory.mktemp("operator"), poolers)
    operator.declares()
    for host in ("db1", *poolers):
        recorder.reset(host)
    operator.began = on(lab, "db1", "date '+%F %T'").strip()
    operator.deploys()
    yield operator
    deployed()
    psql(lab, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = {literal(ROLE)}")
    psql(lab, f"DROP ROLE {identifier(ROLE)}")


def on_console(lab: Lab, pooler: str, user: str, password: str, sql: str) -> str:
    """What the console answers somebody who comes over TCP; it knows the simple protocol only."""
    address = lab.address(host_named(pooler))
    try:
        with closing(
            psycopg.connect(
                host=address, port=6432, dbname="pgbouncer", user=user, password=password, connect_timeout=10
            )
        ) as connection:
            answer = connection.pgconn.exec_(sql.encode())
            good = answer.status in (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK)
            return "ok" if good else answer.error_message.decode().strip()
    except psycopg.OperationalError as error:
        return str(error).rsplit("FATAL:", 1)[-1].strip()


def on_each(operator: Operator, answer: str) -> dict[str, str]:
    return dict.fromkeys(operator.poolers, answer)


def test_a_role_gets_through_with_the_servers_verifier_and_the_others_by_auth_query(lab: Lab, operator: Operator):
    """Although these processes had looked it up before: 1.18 would die at this login, 1.26 would fail the next day."""
    stored = psql(lab, f"SELECT rolpassword FROM pg_authid WHERE rolname = {literal(ROLE)}")
    assert {name: users[ROLE] for name, users in operator.files(lab).items()} == on_each(operator, stored)
    assert {name: who(lab, name, ROLE, "wrong") for name in operator.poolers} == on_each(operator, REFUSED)
    assert {name: who(lab, name, ROLE, "first") for name in operator.poolers} == on_each(operator, ROLE)
    assert {name: who(lab, name, "dashboard") for name in operator.poolers} == on_each(operator, "dashboard")


def test_the_console_knows_its_users_and_what_they_may(lab: Lab, operator: Operator):
    expected = {
        ("anna", operator.anna, "SHOW POOLS"): "ok",
        ("anna", operator.anna, "RELOAD"): "ok",
        ("anna", operator.ben, "SHOW POOLS"): REFUSED,
        ("ben", operator.ben, "SHOW POOLS"): "ok",
        ("ben", operator.ben, "RELOAD"): "ERROR:  admin access needed",
        ("ben", operator.ben, "PAUSE"): "ERROR:  admin access needed",
        ("ben", operator.ben, "SET query_wait_timeout = 1"): "ERROR:  admin access needed",
        ("ben", operator.anna, "SHOW POOLS"): REFUSED,
        (ROLE, "first", "SHOW POOLS"): "not allowed",
    }
    for pooler in operator.poolers:
        assert {attempt: on_console(lab, pooler, *attempt) for attempt in expected} == expected, pooler
    # No key to the server, which has no such role, and does not say so.
    refused = 'password authentication failed for user "anna"'
    assert {name: who(lab, name, "anna", operator.anna) for name in operator.poolers} == on_each(operator, refused)


def test_the_second_run_changes_nothing(lab: Lab, operator: Operator):
    before = operator.files(lab)
    assert operator.deploys() == 0
    assert operator.files(lab) == before
    assert operator.verifies() == {}


def test_an_altered_password_is_named_and_healed_and_no_client_notices(lab: Lab, operator: Operator):
    clients = {name: client(lab, name, ROLE, password="first") for name in operator.poolers}
    psql(lab, f"ALTER ROLE {identifier(ROLE)} PASSWORD 'second'")
    assert {name: who(lab, name, ROLE, "second") for name in operator.poolers} == on_each(operator, REFUSED)
    named = [f"userlist.txt, {ROLE}: another secret → the verifier db1 has"]
    assert operator.verifies() == {(name, "files"): named for name in operator.poolers}

    assert operator.deploys() == len(operator.poolers)
    assert {name: who(lab, name, ROLE, "second") for name in operator.poolers} == on_each(operator, ROLE)
    assert {name: who(lab, name, ROLE, "first") for name in operator.poolers} == on_each(operator, REFUSED)
    for name, connection in clients.items():
        with closing(connection):
            assert connection.execute("SELECT session_user").fetchone() == (ROLE,), name


def test_what_a_verifier_cannot_do_is_refused_before_any_change(lab: Lab, operator: Operator):
    """The password of a role, but not the one it has; roles that must not pass; a user that is good for nothing."""
    before = operator.files(lab)
    roles = {name: {"verifier_from": "db1"} for name in ("expired_role", "nologin_role", "other_superuser", "nobody")}
    others = {"worker": {"password_command": ["echo", "another"]}, "zoe": {"password_command": ["echo", "zoe's"]}}
    settings = {"admin_users": "anna", "stats_users": "ben, carla"}
    operator.declares(pgbouncer_auth_users=operator.users | roles | others, pgbouncer_settings=settings)
    try:
        refused, planned = operator.runs("run", "pgbouncer"), operator.runs("plan")
    finally:
        operator.declares()
    assert refused.returncode == 1
    assert "Starting operation" not in refused.stderr
    told = {
        problem["where"].rsplit(": ", 1)[-1]: problem["message"] for problem in json.loads(planned.stdout)["problems"]
    }
    said = {
        "worker": "db1 has a role of this name with another password: PgBouncer would let worker in, and db1 would not",
        "expired_role": "has expired (VALID UNTIL) on db1",
        "nologin_role": "is no role that may log in on db1",
        "other_superuser": "is a superuser that pgbouncer_allow_superusers does not name on db1",
        "nobody": "is no role that may log in on db1",
        "zoe": "is no role that may log in on db1, and neither in admin_users nor in stats_users: it could log in to "
        "nothing",
    }  # fmt: skip
    for name, sentence in said.items():
        assert told[f'pgbouncer_auth_users["{name}"]'] == sentence
        assert f'pgbouncer_auth_users["{name}"]: {sentence}' in refused.stderr
    assert "stats_users names carla, who is not in userlist.txt" in refused.stderr
    assert operator.files(lab) == before


def test_who_is_taken_out_is_out_at_once_and_auth_query_takes_over(lab: Lab, operator: Operator):
    """A reload would not do: 1.26 would go on letting ben in, and no version would look the role up again.

    Nor does it where a run was killed between the files and the restart: pool2 is left so, as far as ben goes.
    """
    users = {"anna": operator.users["anna"]}
    operator.declares(pgbouncer_auth_users=users, pgbouncer_settings={"admin_users": "anna"})
    processes = {name: main_pid(lab, name) for name in operator.poolers}
    if "pool2" in operator.poolers:
        on(lab, "pool2", f"{KILLED}; sed -i '/^\"ben\" /d' {USERLIST}")
    try:
        assert operator.deploys() == len(operator.poolers)
    finally:
        operator.declares()
    for pooler in operator.poolers:
        assert main_pid(lab, pooler) != processes[pooler]
        assert on_console(lab, pooler, "anna", operator.anna, "SHOW POOLS") == "ok"
        assert on_console(lab, pooler, "ben", operator.ben, "SHOW POOLS") != "ok"
    psql(lab, f"ALTER ROLE {identifier(ROLE)} PASSWORD 'third'")
    assert {name: who(lab, name, ROLE, "third") for name in operator.poolers} == on_each(operator, ROLE)


def test_without_auth_query_nobody_else_gets_in_and_the_server_has_no_function(lab: Lab, operator: Operator):
    fresh = operator.poolers != ("pool3",)  # the other poolers still ask
    if fresh:
        purge_database(lab)
    before = database_side(lab)
    operator.declares(pgbouncer_auth_query=False)
    try:
        operator.deploys()
        assert operator.deploys() == 0
        assert operator.verifies() == {}
    finally:
        operator.declares()
    after = database_side(lab)
    if fresh:
        assert before == {"roles": "", **dict.fromkeys(DATABASES, "")}
        assert after == {"roles": "pgbouncer_probe", **dict.fromkeys(DATABASES, "")}
        assert on(lab, "db1", "ls /var/lib/poolward/secrets").split() == ["pgbouncer_probe"]
    else:
        assert after == before
        left = f"db1: pgbouncer.user_lookup(text) in {', '.join(sorted(DATABASES))} and the role pgbouncer_auth"
        assert left in operator.said[-3]
    assert {name: who(lab, name, ROLE, "third") for name in operator.poolers} == on_each(operator, ROLE)
    assert {name: who(lab, name, "dashboard") for name in operator.poolers} == on_each(operator, REFUSED)
    for pooler in operator.poolers:
        assert on_console(lab, pooler, "anna", operator.anna, "SHOW POOLS") == "ok"
    names = {name: sorted(users) for name, users in operator.files(lab).items()}
    assert names == dict.fromkeys(operator.poolers, sorted({"pgbouncer_probe", ROLE, "anna", "ben"}))


def test_no_password_and_no_verifier_is_anywhere_else(lab: Lab, operator: Operator):
    """In what all those runs said, on any command line, in an environment, a journal, a statement or another file."""
    assert leaks.in_texts(operator.secrets, operator.said) == set()
    assert leaks.in_texts(operator.secrets, operator.processes) == set()
    assert leaks.in_statements(operator.secrets, lab) == set()
    assert leaks.in_clone(operator.secrets) == set()
    consoles = {name: secret for name, secret in operator.secrets.items() if not name.startswith(ROLE)}
    assert leaks.in_files(consoles, lab, "db1") == set()
    for host in ("db1", *operator.poolers):
        assert leaks.in_command_lines(operator.secrets, host) == set()
        assert leaks.in_journal(operator.secrets, lab, host, operator.began) == set()
    for pooler in operator.poolers:
        found = leaks.in_files(operator.secrets, lab, pooler)
        assert {(file.path, file.access) for file in found} == {
            (path, "640 root postgres") for path in (USERLIST, f"{USERLIST}.previous")
        }
        assert not {"anna", "ben"} & set().union(*(file.names for file in found))


DATABASES = ("postgres", "tracksolid_db", "tracksolid-archive")


def database_side(lab: Lab) -> Mapping[str, str]:
    roles = psql(lab, "SELECT string_agg(rolname, ' ' ORDER BY rolname) FROM pg_roles WHERE rolname ~ '^pgbouncer_'")
    function = "SELECT pg_get_functiondef(p.oid) FROM pg_proc p WHERE p.proname = 'user_lookup'"
    return {"roles": roles, **{name: psql(lab, function, name) for name in DATABASES}}
