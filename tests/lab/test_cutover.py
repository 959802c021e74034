"""Services move one at a time, each move proved or taken back; seen from the kernel, the server and the pooler."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from lab.state import State
from lab.topology import REPOSITORY, Lab
from lab.wait import until
from tests.lab import cutover_support as support
from tests.lab.cutover_support import beside, cutover, direct, pooled, rollback, settings_file, sockets
from tests.lab.support import deployed, on, pyinfra, running_config, settings_with
from tests.unit.samples import group_data

pytestmark = pytest.mark.usefixtures("as_declared", "all_direct")

NAME, UNIT, POOLER = "worker", "worker.service", "pool1"


@pytest.fixture(scope="module")
def all_direct() -> Iterator[None]:
    """Every service on its direct connection, before and after."""
    assert rollback().returncode == 0
    yield
    assert rollback().returncode == 0


@pytest.fixture
def put_services_back() -> Iterator[None]:
    yield
    assert rollback(NAME).returncode == 0


@pytest.mark.usefixtures("put_services_back")
def test_a_move_changes_host_and_port_alone_and_is_seen_by_everybody(lab: Lab) -> None:
    metadata, before = settings_file(lab, NAME)
    opened = len(sockets(lab, NAME, 5432))
    run = cutover(NAME)
    assert run.returncode == 0, run.text
    assert (direct(lab, NAME), pooled(lab, NAME, POOLER)) == (0, opened)
    moved_metadata, moved = settings_file(lab, NAME)
    assert moved_metadata == metadata
    changed = [(old, new) for old, new in zip(before.splitlines(), moved.splitlines(), strict=True) if old != new]
    pool1 = lab.address(support.host_named(POOLER))
    assert [new for _, new in changed] == [
        old.replace("host=db1", f"host={pool1}").replace("port=5432", "port=6432") for old, _ in changed
    ]
    assert len(changed) == 1
    assert beside(lab, NAME) == ["env", "env.before-poolward"]
    # What did not move was not touched: its processes are the same.
    assert "dashboard_api" not in run.stdout
    # Again: nothing to do.
    again = cutover(NAME)
    assert (again.returncode, again.totals["success"]) == (0, 0)
    # And back, byte by byte.
    assert rollback(NAME).returncode == 0
    assert settings_file(lab, NAME) == (metadata, before)
    assert beside(lab, NAME) == ["env"]
    assert (direct(lab, NAME), pooled(lab, NAME, POOLER)) == (opened, 0)


@pytest.mark.usefixtures("put_services_back")
def test_no_journal_and_no_output_holds_a_password(lab: Lab) -> None:
    run = cutover(NAME)
    passwords = [password for password in State(lab).role_passwords().values() if password]
    journals = "".join(path.read_text() for path in (REPOSITORY / "journal").glob("*.jsonl"))
    on_host = on(lab, "app1", "cat /var/lib/poolward/journal.jsonl")
    for text in (run.text, journals, on_host):
        assert "proved" in text or "settled" in text
        assert not [password for password in passwords if password in text]


@pytest.mark.usefixtures("put_services_back")
def test_what_clients_saw_fail_is_in_the_journal_as_the_services_tell_it(lab: Lab) -> None:
    """Of all of them before and after the run, and of the one that moves in every look."""
    on(lab, "db1", "pkill -f '^postgres: .* grafana_ro '")
    until("grafana has met an error", lambda: failed(lab, "grafana"), timeout=20)
    assert cutover(NAME).returncode == 0
    newest = max((REPOSITORY / "journal").glob("*-cutover-*.jsonl"), key=lambda path: path.stat().st_mtime)
    looks = [event for event in map(json.loads, newest.read_text().splitlines()) if event["step"] == "look"]
    at_rest = [look["errors"] for look in looks if not look.get("service")]
    assert [set(errors) for errors in at_rest] == [{service.name for service in support.SERVICES}] * 2
    assert at_rest[0]["grafana"].keys() == failed(lab, "grafana").keys()
    assert all(set(look["errors"]) == {NAME} for look in looks if look.get("service"))


def failed(lab: Lab, name: str) -> dict[str, int]:
    """What a service says of its failed transactions."""
    service = support.service_named(name)
    ask = f"exec 3<>/dev/tcp/127.0.0.1/{service.port}; printf 'GET /health HTTP/1.0\\r\\n\\r\\n' >&3; tail -n 1 <&3"
    said = on(lab, service.host, f'bash -c "{ask}"')
    found: dict[str, int] = json.loads(said)["failed"]
    return found


@pytest.fixture
def second_connection(lab: Lab) -> Iterator[None]:
    """A part of the service that connects directly whatever its settings say: a second DSN somebody forgot."""
    # It sleeps to keep its connection: that is all a forgotten worker does.
    code = (
        "import os, psycopg, time; "
        "c = psycopg.connect(os.environ['DATABASE_DSN'], host='db1', port=5432); time.sleep(3600)"
    )
    drop_in = f"/etc/systemd/system/{UNIT}.d/second.conf"
    on(
        lab,
        "app1",
        f"""
        mkdir -p {drop_in.rpartition("/")[0]}
        cat > /usr/local/lib/lab/report.py <<'END'
{code}
END
        cat > {drop_in} <<'END'
[Service]
ExecStartPost=/bin/sh -c '/usr/bin/python3 /usr/local/lib/lab/report.py & exit 0'
END
        systemctl daemon-reload
        """,
    )
    yield
    on(lab, "app1", f"rm -r {drop_in.rpartition('/')[0]}; systemctl daemon-reload; systemctl restart {UNIT}")


@pytest.mark.usefixtures("second_connection")
def test_a_second_direct_connection_is_named_and_the_move_is_taken_back(lab: Lab) -> None:
    before = settings_file(lab, NAME)
    run = cutover(NAME, "dashboard_api")
    assert run.returncode == 1
    assert "TAKEN BACK  worker: 1 of its sessions still connect directly" in run.text
    assert "/usr/local/lib/lab/report.py at " in run.text
    assert settings_file(lab, NAME) == before
    assert beside(lab, NAME) == ["env"]
    assert pooled(lab, NAME, POOLER) == 0
    assert direct(lab, NAME) >= len(sockets(lab, NAME, 5432)) > 0
    # It is declared after worker, or before it; either way it is wholly one or the other.
    assert rollback("dashboard_api").returncode == 0


@pytest.fixture
def start_it_again(lab: Lab) -> Iterator[None]:
    yield
    on(lab, "app1", f"systemctl start {UNIT}")
    until("worker has sessions again", lambda: direct(lab, NAME) > 0, timeout=20)


@pytest.mark.usefixtures("start_it_again")
def test_what_was_stopped_or_only_touched_is_neither_started_nor_restarted(lab: Lab) -> None:
    other = "systemctl show dashboard-api.service -p MainPID --value"
    before = on(lab, "app1", f"systemctl stop {UNIT}; chmod 600 /etc/worker/env /etc/dashboard_api/env; {other}")
    run = rollback(NAME, "dashboard_api")
    assert (run.returncode, run.totals["success"]) == (0, 0), run.text
    assert on(lab, "app1", other) == before
    run = cutover(NAME)
    assert run.returncode == 1
    assert f"it does not run ({UNIT} is inactive (dead)), and a move would start it" in run.text
    assert on(lab, "app1", f"systemctl is-active {UNIT} || true").strip() == "inactive"
    assert beside(lab, NAME) == ["env"]


def test_a_second_operator_is_refused_with_who_holds_the_fleet_and_why(lab: Lab) -> None:
    holder = {"who": "alice", "machine": "elsewhere", "boot": "x", "pid": 7, "started": "1", "why": "run a cutover"}
    holder["since"] = time.time()
    lease = "/var/lib/poolward/lease"
    on(lab, "db1", f"printf '%s other\\n%s\\n' $(($(date +%s) + 60)) '{json.dumps(holder)}' > {lease}")
    try:
        run = cutover(NAME)
        assert run.returncode == 1
        assert "Another run holds the fleet: alice on elsewhere (pid 7)" in run.text
        assert "run a cutover" in run.text
        assert beside(lab, NAME) == ["env"]
        deploy = pyinfra(data=settings_with(server_idle_timeout=451))
        assert deploy.returncode == 1
        assert "Another run holds the fleet: alice on elsewhere (pid 7)" in deploy.text
        assert running_config(lab, POOLER)["server_idle_timeout"] != "451"
        assert deployed().totals["success"] == 0, "what changes no pooler bothers no move"
        # The same lease, expired: taken over, with a line that says so.
        on(lab, "db1", f"sed -i '1s/.*/1 other/' {lease}")
        run = cutover(NAME)
        assert run.returncode == 0, run.text
        assert "took over the lease of alice on elsewhere" in run.text
        assert "No such file" in on(lab, "db1", f"cat {lease} 2>&1 || true")
    finally:
        on(lab, "db1", f"rm -f {lease}")
        rollback(NAME)


def test_dry_says_the_plan_and_touches_nothing(lab: Lab) -> None:
    before = settings_file(lab, NAME)
    run = pyinfra("--dry", data={"soak": 1}, deploy=support.CUTOVER)
    assert run.returncode == 0
    assert "worker on app1: db1:5432/tracksolid_db → " in run.text
    assert "left alone: analytics_mcp, stays direct" in run.text
    assert "after webhook_receiver:" in run.text
    assert settings_file(lab, NAME) == before


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ({"only": "nobody"}, "No service is called nobody"),
        ({"only": "analytics_mcp"}, "analytics_mcp is declared to stay direct"),
        ({"pause_after": "soon"}, "pause_after and soak are numbers"),
    ],
)
def test_what_cannot_begin_is_refused_with_a_sentence(data: dict[str, object], sentence: str) -> None:
    run = pyinfra(data=data, deploy=support.CUTOVER)
    assert run.returncode == 1
    assert sentence in run.text


def test_a_service_that_was_seen_to_need_its_session_is_refused_before_anything_is_touched(lab: Lab) -> None:
    before = settings_file(lab, "analytics_mcp")
    declared = {
        "name": "analytics_mcp",
        "host": "app2",
        "unit": "analytics-mcp.service",
        "pooler": "pool2",
        "prepared_statements": "off",
        "env_file": "/etc/analytics_mcp/env",
        "url_variables": ["DATABASE_URL"],
    }
    run = pyinfra(data={"services": [declared], "soak": 1}, deploy=support.CUTOVER)
    assert run.returncode == 1
    assert "The cutover cannot begin; nothing was changed." in run.text
    assert "default_transaction_read_only" in run.text
    assert "accept_hazards" in run.text
    assert settings_file(lab, "analytics_mcp") == before


@pytest.mark.usefixtures("put_services_back")
def test_a_failed_move_to_another_pooler_ends_at_the_one_it_was_at(lab: Lab) -> None:
    original = settings_file(lab, NAME)
    assert cutover(NAME).returncode == 0
    before, opened = settings_file(lab, NAME), pooled(lab, NAME, POOLER)
    pool2 = lab.address(support.host_named("pool2"))
    declared = next(dict(one) for one in group_data("lab")["services"] if one["name"] == NAME)
    # It is ill as soon as its settings name the other pooler.
    declared |= {"pooler": "pool2", "pool": "session", "health": ["sh", "-c", f"! grep -q {pool2} /etc/{NAME}/env"]}
    run = cutover(NAME, services=[declared])
    assert run.returncode == 1
    assert f"TAKEN BACK  {NAME}: its health URL answers failure (1)" in run.text
    assert f"proved: 0 direct, {opened} pooled" in run.text
    assert settings_file(lab, NAME) == before
    assert (direct(lab, NAME), pooled(lab, NAME, POOLER)) == (0, opened)
    assert pooled(lab, NAME, "pool2") == 0
    # The way back to the server is still that of the first move.
    assert beside(lab, NAME) == ["env", "env.before-poolward"]
    assert rollback(NAME).returncode == 0
    assert settings_file(lab, NAME) == original
