"""A removal is refused while anything is pooled, takes what deploys brought and nothing else, and can be repeated."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator

import pytest

from lab import recorder
from lab.topology import REPOSITORY, Lab, host_named
from lab.wait import until
from tests.lab.support import (
    UNCOUNTED,
    Run,
    client,
    command,
    console,
    deployed,
    main_pid,
    on,
    psql,
    purge_pooler,
    pyinfra,
    running_config,
)

pytestmark = pytest.mark.usefixtures("listed")

REMOVE = "deploy/remove.py"
HBA = "/etc/postgresql/17/main/pg_hba.conf"
DATABASES = ("postgres", "template1", "tracksolid_db", "tracksolid-archive")

# Whatever on a pooler host has a name of PgBouncer's or Poolward's, or belongs to it. What systemd made for a unit's
# PrivateTmp stays where the host lost its power, and its next boot takes it away.
POOLER = r"""
dpkg-query -W -f='${Package} ${db:Status-Abbrev}\n' pgbouncer postgresql-client 2>/dev/null | grep -v 'un $' || true
apt-mark showhold
pgrep -x -a pgbouncer || true
ss -Hltn 'sport = 6432'
systemctl list-unit-files --no-legend 'pgbouncer*' || true
find / -xdev \( -path /proc -o -path /sys -o -path /usr/share -o -path /var/cache/apt -o -path /var/log \
    -o -path '/var/tmp/systemd-private-*' \) -prune \
    -o \( -iname '*pgbouncer*' -o -iname '*poolward*' -o -path '/etc/pgbouncer/*' \) -print
"""
ROLES = "SELECT 'role ' || rolname FROM pg_roles WHERE rolname LIKE 'pgbouncer%'"
ACCESS = """
SELECT 'right of ' || coalesce(r.rolname, '?') || ' on ' || d.datname
FROM pg_database d CROSS JOIN LATERAL aclexplode(d.datacl) acl LEFT JOIN pg_roles r ON r.oid = acl.grantee
WHERE acl.grantee <> 0 AND (r.rolname IS NULL OR r.rolname ~ '^pgbouncer');
SELECT 'rule for ' || address FROM pg_hba_file_rules WHERE address IN (%s);
"""
IN_DATABASE = """
SELECT 'schema ' || nspname FROM pg_namespace WHERE nspname LIKE '%pgbouncer%';
SELECT 'function ' || p.oid::regprocedure FROM pg_proc p WHERE proname = 'user_lookup';
"""


@pytest.fixture(scope="module")
def listed(lab: Lab) -> None:
    """The lab deployed as its inventory says, by a deploy that noted what it installed, and without a third pooler."""
    for name in ("pool1", "pool2"):
        if "pgbouncer" not in on(lab, name, "cat /var/lib/poolward/packages 2>/dev/null || true").split():
            purge_pooler(lab, name)
    on(lab, "db1", f"sed -i '/# pool3$/d' {HBA}")
    deployed()


def left(lab: Lab) -> list[str]:
    """What there is of Poolward on the poolers, the database host and in the databases."""
    poolers = ", ".join(f"'{lab.address(host_named(name))}'" for name in ("pool1", "pool2"))
    files = f"find /etc/postgresql /var/lib -iname '*poolward*'; grep -i poolward {HBA} || true"
    found = [on(lab, "pool1", POOLER), on(lab, "pool2", POOLER), on(lab, "db1", files)]
    found += [psql(lab, ROLES), psql(lab, ACCESS % poolers), *(psql(lab, IN_DATABASE, name) for name in DATABASES)]
    return [line for text in found for line in text.splitlines()]


def others(lab: Lab) -> list[str]:
    """What belongs to somebody else on the server: roles, objects, data, rules."""
    dump = (
        f"(cd /; {UNCOUNTED} runuser -u postgres -- %s) | grep -v -e '^--' -e '^$' -e restrict -e pgbouncer | sha256sum"
    )
    objects = "; ".join(dump % f"pg_dump -s -N pgbouncer -d {name}" for name in DATABASES)
    return [
        on(lab, "db1", f"{dump % 'pg_dumpall -g'}; {objects}"),
        psql(lab, "SELECT count(*), sum(balance) FROM accounts", "tracksolid_db"),
        on(lab, "db1", f"sed '/^# BEGIN poolward/,/^# END poolward/d' {HBA}; ls /var/lib/postgresql/17/main"),
        psql(lab, "SELECT datname, datconnlimit FROM pg_database ORDER BY 1"),
    ]


def standing(lab: Lab) -> object:
    """Everything a removal may take: files with their bytes, processes, running values, roles."""
    files = "find /etc/pgbouncer /etc/systemd/system /var/lib/poolward -type f -exec sha256sum {} + | sort"
    poolers = [(on(lab, name, files), main_pid(lab, name), running_config(lab, name)) for name in ("pool1", "pool2")]
    return poolers, left(lab), on(lab, "db1", f"sha256sum {HBA} /var/lib/poolward/secrets/*")


def removal(*options: str) -> Run:
    return pyinfra("--json", *options, deploy=REMOVE)


def refusal(run: Run) -> list[str]:
    """Every reason of a run that ended before its first operation, each with its hint."""
    assert run.returncode == 1
    assert "Starting operation" not in run.text
    said = " ".join(run.text.split("pyinfra error", 1)[1].split())
    return [reason.strip() for reason in said.split("✗ ")[1:]]


def killed_after(host: str, number: int, what: str) -> None:
    """A removal killed when that command of that host has completed, and before it hears of it."""
    recorder.reset(host)
    recorder.hold_after(host, number)
    nowhere = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command(deploy=REMOVE), cwd=REPOSITORY, start_new_session=True, **nowhere)
    try:
        recorder.wait_held(host, 120)
        ran = recorder.commands(host)
        assert len(ran) == number
        assert what in ran[-1]
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        recorder.release(host)


@pytest.fixture
def of_others(lab: Lab) -> Iterator[list[str]]:
    """What somebody keeps where Poolward keeps its own."""
    on(lab, "pool1", "echo key > /etc/pgbouncer/tls.key")
    psql(lab, "CREATE TABLE pgbouncer.notes()", "tracksolid-archive")
    yield ["/etc/pgbouncer", "/etc/pgbouncer/tls.key", "schema pgbouncer"]
    on(lab, "pool1", "rm /etc/pgbouncer/tls.key; rmdir --ignore-fail-on-non-empty /etc/pgbouncer")
    psql(lab, "DROP TABLE pgbouncer.notes", "tracksolid-archive")


def test_all_of_it_goes_once_nobody_is_pooled_and_a_deploy_brings_it_back(lab: Lab, of_others: list[str]):
    before, not_ours = standing(lab), others(lab)
    with client(lab, "pool1") as held:
        (served,) = held.execute("SELECT pg_backend_pid()").fetchone() or (0,)
        (reason,) = refusal(removal())
        assert re.match(
            r"pool1: 1 client: worker on tracksolid_db from [0-9.]+ → none of the declared services: end it", reason
        )
        assert standing(lab) == before
        assert held.execute("SELECT pg_backend_pid()").fetchone() == (served,)
    until("PgBouncer has let go of the client", lambda: "|worker|" not in console(lab, "pool1", "SHOW CLIENTS"), 10)

    # Cut off behind the poolers, behind the first database, behind the roles: each run goes on from there.
    killed_after("pool1", 5, "Take Poolward off a pooler host")
    killed_after("db1", 9, "\ndatabase=postgres\n")
    killed_after("db1", 9, "\ndatabase=postgres\n")
    run = removal()
    assert run.returncode == 0, run.text
    assert sorted(left(lab)) == sorted(of_others)
    assert others(lab) == not_ours
    again = removal()
    assert again.returncode == 0, again.text
    assert again.totals["success"] == again.totals["error"] == 0

    deployed()
    with client(lab, "pool1") as connection:
        assert connection.execute("SELECT count(*) FROM accounts").fetchone() == (100,)


def pooled_as_postgres(lab: Lab) -> bool:
    return "|postgres|" in console(lab, "pool1", "SHOW CLIENTS")


@pytest.fixture
def pooled_by_hand(lab: Lab) -> Iterator[None]:
    """The service `worker` is behind pool1, moved by hand."""
    pool1 = lab.address(host_named("pool1"))
    move = f"cp -p env env.direct; sed -i 's/host=db1 port=5432/host={pool1} port=6432/' env"
    on(lab, "app1", f"cd /etc/worker; {move}; systemctl restart worker.service")
    try:
        until("worker is pooled", lambda: pooled_as_postgres(lab), 20)
        yield
    finally:
        on(lab, "app1", "cd /etc/worker; mv env.direct env; systemctl restart worker.service")
    until("nobody is pooled", lambda: not pooled_as_postgres(lab), 20)


@pytest.fixture
def granted_since(lab: Lab) -> Iterator[None]:
    """The pooler's roles own something, and hold more than a deploy gave them."""
    psql(lab, "CREATE TABLE notes(); ALTER TABLE notes OWNER TO pgbouncer_probe", "tracksolid-archive")
    psql(lab, "GRANT SELECT ON accounts TO pgbouncer_auth", "tracksolid_db")
    psql(lab, "GRANT CREATE ON DATABASE tracksolid_db TO pgbouncer_probe")
    psql(lab, "CREATE VIEW peek AS SELECT * FROM pgbouncer.user_lookup('worker')")
    yield
    psql(lab, "DROP TABLE notes", "tracksolid-archive")
    psql(lab, "REVOKE SELECT ON accounts FROM pgbouncer_auth", "tracksolid_db")
    psql(lab, "REVOKE CREATE ON DATABASE tracksolid_db FROM pgbouncer_probe")
    psql(lab, "DROP VIEW peek")


HOLD_A_SESSION = """
import json, sys, psycopg
session = psycopg.connect(**json.loads(sys.stdin.readline()))
print("in", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def another_fleet(lab: Lab) -> Iterator[None]:
    """Somebody on app1 uses the probe's role, and pg_hba.conf lets in a pooler that is in no inventory here."""
    on(lab, "db1", f"sed -i 's/^# END poolward/host all all 192.0.2.9\\/32 scram-sha-256  # pool9\\n&/' {HBA}")
    secret = on(lab, "db1", "cat /var/lib/poolward/secrets/pgbouncer_probe").strip()
    keywords = {"host": "db1", "user": "pgbouncer_probe", "password": secret, "dbname": "postgres"}
    session = subprocess.Popen(
        ["docker", "exec", "-i", lab.container("app1"), "python3", "-c", HOLD_A_SESSION],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert session.stdin
    assert session.stdout
    session.stdin.write(f"{json.dumps(keywords)}\n")
    session.stdin.flush()
    assert session.stdout.readline() == "in\n"
    yield
    session.communicate(timeout=10)
    on(lab, "db1", f"sed -i '/# pool9$/d' {HBA}")


@pytest.mark.usefixtures("pooled_by_hand", "granted_since", "another_fleet")
def test_everything_that_stands_in_the_way_is_said_at_once_and_nothing_is_touched(lab: Lab):
    before = standing(lab)
    reasons = refusal(removal())
    app1 = re.escape(lab.address(host_named("app1")))
    for wanted in (
        rf"pool1: \d+ clients?: postgres on tracksolid_db from {app1} \(worker\) → first: deploy/rollback.py",
        r"app1: worker: its settings lead to pool1 \(/etc/worker/env\) → first: .* only=worker$",
        r"db1: pgbouncer_probe owns table public.notes in tracksolid-archive",
        r"db1: pgbouncer_auth has rights on table public.accounts in tracksolid_db → .* FROM pgbouncer_auth\)",
        r"db1: pgbouncer_probe has rights on database tracksolid_db",
        r"db1: .* view public.peek in postgres needs pgbouncer.user_lookup\(text\)",
        rf"db1: pgbouncer_probe is logged in from {app1}:\d+ ",
        r"db1: pg_hba.conf lets in pool9, which is not in this inventory",
    ):
        assert [reason for reason in reasons if re.match(wanted, reason)], (wanted, reasons)
    assert len(reasons) == 8
    assert standing(lab) == before


@pytest.fixture
def silent(lab: Lab) -> Iterator[str]:
    """pool2's process runs and answers nobody."""
    pid = main_pid(lab, "pool2")
    assert pid != "0"
    on(lab, "pool2", f"kill -STOP {pid}")
    yield "pool2"
    on(lab, "pool2", f"kill -CONT {pid}")


def test_a_pooler_that_does_not_answer_may_have_clients(lab: Lab, silent: str):
    (reason,) = refusal(removal())
    assert reason.startswith(f"pooler {silent}: could not look at the pooler's sessions")
    assert main_pid(lab, "pool1") != "0"


OWN = """; somebody's own, since 2019
%include /etc/pgbouncer/databases.ini
[pgbouncer]
listen_port = 6543
auth_file = /etc/pgbouncer/userlist.txt
"""


@pytest.fixture
def somebodys_own(lab: Lab) -> Iterator[str]:
    """pool1 had a PgBouncer before Poolward came; how its files were."""
    purge_pooler(lab, "pool1")
    install = "DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends pgbouncer >/dev/null"
    write = (
        f"cat > pgbouncer.ini <<'EOF'\n{OWN}EOF\n" + 'echo \'"old" "secret"\' > userlist.txt; chmod 600 userlist.txt'
    )
    databases = "echo '[databases]' > databases.ini"
    on(lab, "pool1", f"{install}; cd /etc/pgbouncer; {write}; {databases}; systemctl restart pgbouncer", timeout=120)
    yield on(lab, "pool1", FILES)
    purge_pooler(lab, "pool1")
    deployed()


FILES = "cd /etc/pgbouncer; find . -printf '%p %U %G %m\\n' | sort; sha256sum pgbouncer.ini userlist.txt databases.ini"


def test_one_pooler_goes_alone_and_what_was_there_before_it_comes_back(lab: Lab, somebodys_own: str):
    run = pyinfra("--limit", "pool1")
    assert run.returncode == 0, run.text
    other = main_pid(lab, "pool2")
    run = removal("--limit", "pool1")
    assert run.returncode == 0, run.text
    assert on(lab, "pool1", FILES) == somebodys_own
    state = "dpkg-query -W -f='${Status} ' pgbouncer; apt-mark showhold; systemctl is-enabled pgbouncer.service || true"
    assert on(lab, "pool1", state).split() == ["install", "ok", "installed", "disabled"]
    assert main_pid(lab, "pool1") == "0"
    assert on(lab, "pool1", "find /etc/systemd/system /var/lib -name '*poolward*'") == ""

    assert main_pid(lab, "pool2") == other
    client(lab, "pool2").close()
    rules = psql(lab, "SELECT address FROM pg_hba_file_rules").split()
    assert lab.address(host_named("pool1")) not in rules
    assert lab.address(host_named("pool2")) in rules
    assert psql(lab, "SELECT count(*) FROM pg_roles WHERE rolname ~ '^pgbouncer_'") == "2"
