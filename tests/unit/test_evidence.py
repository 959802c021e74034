"""Nine services under one superuser on one host, told apart by their sockets alone."""

from __future__ import annotations

import dataclasses
import re
import subprocess

from hypothesis import given
from hypothesis import strategies as st

from poolward import evidence
from poolward.evidence import Seen
from poolward.observed.sessions import Backend, PooledClient, PooledServer, Sessions, Traffic
from poolward.observed.sockets import Endpoint, Socket, read_local_sockets, read_sockets, told
from poolward.shell import SCRIPTS

APP, POOL, DB = "10.0.0.31", "10.0.0.21", "10.0.0.11"


def socket(unit: str, port: int, to: str, pid: int = 100) -> Socket:
    return Socket(pid, unit, f"python3 /srv/{unit}.py", Endpoint(APP, port), Endpoint(to, 5432 if to == DB else 6432))


def backend(pid: int, peer: Endpoint | None, role: str = "postgres") -> Backend:
    return Backend(pid, "shop", role, "same", peer, "idle", True, 10.0, 100.0)


def client(port: int, *, waiting: bool = False, wait: float = 0.0) -> PooledClient:
    return PooledClient("shop", "postgres", Endpoint(APP, port), 0, "same", waiting, wait)


def seen(
    sockets: list[Socket], backends: list[Backend], clients: list[PooledClient], servers: list[PooledServer]
) -> Seen:
    traffic = Traffic(0.0, tuple(clients), tuple(servers), 0.0, ())
    return Seen({"app1": sockets}, {"db1": Sessions(0.0, 97, tuple(backends))}, {"pool1": traffic})


@given(st.lists(st.tuples(st.sampled_from("abcdefghi"), st.sampled_from([DB, POOL])), max_size=60))
def test_services_under_one_role_on_one_host_are_told_apart(made: list[tuple[str, str]]) -> None:
    sockets = [socket(f"{name}.service", 40000 + number, to) for number, (name, to) in enumerate(made)]
    look = seen(
        sockets,
        [backend(number, s.local) for number, s in enumerate(sockets) if s.peer.address == DB],
        [client(s.local.port) for s in sockets if s.peer.address == POOL],
        [],
    )
    for name in "abcdefghi":
        found = evidence.census(look, "app1", f"{name}.service")
        assert len(found.direct) == made.count((name, DB))
        assert len(found.pooled) == made.count((name, POOL))
        assert not found.unmatched
    declared = {"app1": [f"{name}.service" for name in "abcdefgh"]}
    assert len(evidence.bypasses(look, declared)) == made.count(("i", DB))


def test_a_socket_that_a_forked_worker_shares_is_one_session() -> None:
    shared = socket("a.service", 40000, DB)
    worker = dataclasses.replace(shared, pid=101)
    found = evidence.census(seen([shared, worker], [backend(1, shared.local)], [], []), "app1", "a.service")
    assert len(found.direct) == 1


def test_one_local_port_to_the_server_and_to_the_pooler_is_two_sessions() -> None:
    """The kernel gives the same local port out again where the other end differs."""
    through, straight = socket("a.service", 40000, POOL), socket("b.service", 40000, DB)
    look = seen(
        [through, straight], [backend(1, straight.local)], [dataclasses.replace(client(40000), through=6432)], []
    )
    assert [len(found) for found in _kinds(look, "a.service")] == [0, 1]
    assert [len(found) for found in _kinds(look, "b.service")] == [1, 0]


def _kinds(look: Seen, unit: str) -> tuple[tuple[object, ...], tuple[object, ...]]:
    found = evidence.census(look, "app1", unit)
    return found.direct, found.pooled


def test_a_socket_nobody_names_is_neither_direct_nor_pooled() -> None:
    lost = socket("a.service", 40000, POOL)
    found = evidence.census(seen([lost], [], [], []), "app1", "a.service")
    assert (found.direct, found.pooled, found.unmatched) == ((), (), (lost,))


def test_the_poolers_own_backends_are_no_bypass_even_on_an_application_host() -> None:
    """App-local poolers connect from the application's own address."""
    end = Endpoint(APP, 50000)
    look = seen(
        [socket("a.service", 40000, POOL)],
        [backend(7, end)],
        [client(40000)],
        [PooledServer("shop", "postgres", 7, end)],
    )
    assert evidence.bypasses(look, {"app1": ["a.service"]}) == []


def test_a_bypass_is_named_by_pid_address_and_program() -> None:
    job = Socket(4122, "cron.service", "python /srv/report.py", Endpoint(APP, 51106), Endpoint(DB, 5432))
    (found,) = evidence.bypasses(seen([job], [backend(9, job.local)], [], []), {"app1": ["a.service"]})
    assert str(found) == "pid 4122 python /srv/report.py at 10.0.0.31:51106, backend 9 on db1 as postgres"


def test_a_line_of_the_log_counts_for_the_service_unless_another_ones_session_is_meant() -> None:
    log = [
        "C-0x1: shop/postgres@10.0.0.31:40000 pooler error: query_wait_timeout",
        "C-0x2: shop/postgres@10.0.0.31:40001 pooler error: query_wait_timeout",
        "C-0x3: shop/postgres@10.0.0.31:40002 login failed: db=shop user=postgres",
        "C-0x4: shop/postgres@10.0.0.99:40000 login failed: db=shop user=postgres",
        "WARNING C-0x5: shop/pgbouncer_probe@10.0.0.31:40003 pooler error: server conn crashed?",
    ]
    look = seen(
        [socket("a.service", 40000, POOL), socket("b.service", 40001, POOL)], [], [client(40000), client(40001)], []
    )
    look = dataclasses.replace(look, traffic={"pool1": dataclasses.replace(look.traffic["pool1"], log=tuple(log))})
    assert evidence.complaints(look, "app1", "a.service", ["b.service"]) == [log[0], log[2]]


def test_sockets_are_read_as_ss_prints_them() -> None:
    lines = [
        '0      0      10.0.0.31:35824 10.0.0.11:5432 users:(("python3",pid=161,fd=4),("python3",pid=162,fd=4)) ',
        '0      0      [::ffff:10.0.0.31]:35830 [::ffff:10.0.0.11]:5432 users:(("java",pid=7,fd=6))',
        "0      0      10.0.0.31:35831 10.0.0.11:5432 ",
    ]
    found = read_sockets(lines, ["161\ta.service\tpython3 /srv/a.py", "162\ta.service\tpython3 /srv/a.py"])
    assert [(s.pid, s.unit, str(s.local)) for s in found] == [
        (161, "a.service", "10.0.0.31:35824"),
        (162, "a.service", "10.0.0.31:35824"),
        (7, "", "10.0.0.31:35830"),
        (0, "", "10.0.0.31:35831"),
    ]


def test_a_complaint_is_seen_wherever_the_pooler_logs_to() -> None:
    """To a journal without a prefix of its own (JOURNAL_STREAM), in a container with the time, process and level."""
    script = (SCRIPTS / "observe_traffic.sh").read_text()
    choice = re.search(r"grep -E '[^']+'", script)
    assert choice
    complaint = "C-0x1: shop/postgres@10.0.0.31:40000 pooler error: query_wait_timeout"
    refusal = "C-0x2: shop/postgres@10.0.0.31:40001 login failed: db=shop user=postgres"
    closing = "C-0x3: shop/postgres@10.0.0.31:40002 closing because: client close request (age=1s)"
    for before in ("", "2026-11-23 09:16:22.726 UTC [1] WARNING "):
        lines = [f"{before}{line}" for line in (complaint, closing, refusal)]
        said = subprocess.run(
            ["sh", "-c", choice[0]], input="\n".join(lines), capture_output=True, text=True, check=True
        )
        assert said.stdout.splitlines() == [lines[0], lines[2]]


def test_a_command_line_is_told_without_what_may_be_a_secret() -> None:
    assert told("python /srv/report.py --dsn postgres://u:secret@h/db") == "python /srv/report.py"
    assert told("psql postgres://u:secret@h/db") == "psql"
    assert told("app PGPASSWORD=x --password y") == "app"
    assert told("worker --password hunter2 run") == "worker"
    assert told("/opt/app -p S3cret") == "/opt/app"
    assert told("/opt/app hunter2 /srv/app.py") == "/opt/app"
    assert told("/opt/app -u pass/word") == "/opt/app"
    assert told("python3 -u -m shop.worker --token abc") == "python3 shop.worker"
    assert told("/usr/bin/java -jar /opt/shop.jar x") == "/usr/bin/java /opt/shop.jar"
    assert told("") == ""


def test_a_session_over_the_servers_own_unix_socket_is_direct() -> None:
    """On a host that is a server's and an application's at once."""
    local = read_local_sockets(
        ["/run/postgresql/.s.PGSQL.5432 3222: pid=10 pid=11", "/run/postgresql/.s.PGSQL.6432 900: pid=10"],
        ["10\ta.service\tpython3 /srv/a.py", "11\ta.service\tpython3 /srv/a.py"],
    )
    sessions = Sessions(0.0, 97, (backend(3222, None), backend(3223, None)))
    look = Seen({"db1": []}, {"db1": sessions}, {}, {}, {"db1": local})
    (found,) = evidence.census(look, "db1", "a.service").direct
    assert str(found).endswith("python3 /srv/a.py at /run/postgresql/.s.PGSQL.5432, backend 3222 on db1")
    assert evidence.census(look, "db1", "b.service").direct == ()
