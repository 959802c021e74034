"""A removal is refused for whoever is pooled and whatever is not Poolward's, by name, and says what will go."""

from __future__ import annotations

import json

import pytest

from poolward import hba, removal
from poolward.fleet import PROBE_ROLE, Server
from poolward.hba import BEGIN, END
from poolward.observed import (
    Backend,
    Dependency,
    Endpoint,
    PooledClient,
    PooledServer,
    PoolerTraces,
    ServerTraces,
    ServiceState,
    Sessions,
    Traffic,
    Unreadable,
)
from poolward.service import Service
from tests.unit.samples import lab

SERVER = Server("db1", "192.0.2.11", manage_hba=True)
POOLER = lab().poolers["pool1"]
LINES = hba.lines({"pool1": ["shop"], "pool2": ["shop"]}, {"pool1": "192.0.2.21", "pool2": "192.0.2.22"})
EVERYTHING = ServerTraces(
    in_recovery=False,
    roles=("pgbouncer_auth", PROBE_ROLE),
    databases=("postgres", "shop"),
    dependencies=(),
    hba_block=LINES,
    hba_closed=(),
    files=("/var/lib/poolward/secrets/pgbouncer_auth",),
)
NOTHING = ServerTraces(False, (), (), (), (), (), ())


def client(role: str = "worker", port: int = 40000, address: str = "192.0.2.31") -> PooledClient:
    return PooledClient("shop", role, Endpoint(address, port), 0, "", False, 0.0)


def traffic(*clients: PooledClient, servers: tuple[int, ...] = ()) -> Traffic:
    return Traffic(0.0, clients, tuple(PooledServer("shop", "worker", pid, None) for pid in servers), 0.0, ())


def backend(pid: int, role: str) -> Backend:
    return Backend(pid, "shop", role, "", Endpoint("192.0.2.99", 5000 + pid), "idle", False, 1.0, 1.0)


def test_clients_are_counted_by_whose_they_are():
    mine, other = client(port=1), client(port=2)
    found = removal.pooled("pool1", traffic(mine, other, client(port=3), client(PROBE_ROLE)), {mine: "api"})
    assert [(one.where, one.message) for one in found] == [
        ("pool1", "2 clients: worker on shop from 192.0.2.31"),
        ("pool1", "1 client: worker on shop from 192.0.2.31 (api)"),
    ]
    assert "--data only=api" in found[1].hint


def test_only_the_probe_is_nobody():
    assert removal.pooled("pool1", traffic(client(PROBE_ROLE)), {}) == []


def test_a_client_on_a_unix_socket_is_told_by_its_process():
    (found,) = removal.pooled("pool1", traffic(PooledClient("shop", "worker", None, 77, "", False, 0.0)), {})
    assert "(pid 77)" in found.message


@pytest.mark.parametrize(
    ("reached", "unproved", "said"),
    [
        (set(), None, ""),
        ({"pool2"}, None, ""),
        ({"pool1", "pool2"}, None, "its settings lead to pool1 (/etc/api/env)"),
        (None, None, "it cannot be told where its settings lead"),
        (set(), {"run": "1"}, "a move of it was cut off"),
    ],
)
def test_a_service_counts_as_long_as_it_would_look_for_a_pooler_that_goes(reached, unproved, said):
    service = Service("api", "app1", env_file="/etc/api/env")
    found = removal.moved(service, ServiceState("/etc/api/env", None, None, None, unproved, ""), reached, ["pool1"])
    assert [one.where for one in found] == (["app1: api"] if said else [])
    assert "".join(one.message for one in found).startswith(said)


def test_every_obstacle_is_named_with_what_to_do():
    dependencies = (
        Dependency("pgbouncer_auth", "o", "table notes", "shop"),
        Dependency(PROBE_ROLE, "a", "table accounts", "shop"),
        Dependency(PROBE_ROLE, "o", "database stray"),
        Dependency("", "n", "rule _RETURN on view peek", "shop"),
    )
    traces = ServerTraces(True, (PROBE_ROLE,), (), dependencies, LINES, (), ())
    found = [one.message for one in removal.obstacles(SERVER, traces, ["pool1"])]
    assert found == [
        "is a standby, where nothing can be dropped",
        "pg_hba.conf lets in pool2, which is not in this inventory and may still serve clients",
        "rule _RETURN on view peek in shop needs pgbouncer.user_lookup(text)",
        "pgbouncer_auth owns table notes in shop",
        "pgbouncer_probe has rights on table accounts in shop",
        "pgbouncer_probe owns database stray",
    ]
    assert removal.obstacles(SERVER, EVERYTHING, ["pool1", "pool2"]) == []


def test_who_uses_the_roles_without_being_a_pooler_of_the_fleet_is_a_stranger():
    backends = (
        backend(1, "pgbouncer_auth"),
        backend(2, PROBE_ROLE),
        backend(3, "worker"),
        backend(4, "pgbouncer_auth"),
    )
    found = removal.strangers(SERVER, Sessions(0.0, 97, backends), [traffic(servers=(1,)), traffic(servers=(3,))])
    assert [one.pid for one in found] == [2, 4]
    assert len(removal.used_by_others(SERVER, found)) == 2


def test_what_goes_is_said_before():
    traces = PoolerTraces(True, ("pgbouncer",), ("/etc/pgbouncer/pgbouncer.ini",))
    assert removal.gone_from_pooler(POOLER, traces) == [
        "pool1: this goes: pgbouncer.service, the package pgbouncer, /etc/pgbouncer/pgbouncer.ini"
    ]
    assert removal.gone_from_server(SERVER, EVERYTHING, ["pool1", "pool2"], whole=True) == [
        "db1: this goes: in pg_hba.conf the lines of pool1, pool2; the roles pgbouncer_auth, pgbouncer_probe; "
        "the lookup function in postgres, shop; /var/lib/poolward/secrets/pgbouncer_auth"
    ]
    assert removal.gone_from_server(SERVER, EVERYTHING, ["pool1"], whole=False) == [
        "db1: this goes: in pg_hba.conf the lines of pool1",
        "db1: roles, lookup function and secrets stay for the poolers that are not in this run",
    ]


def test_where_nothing_is_left_nothing_is_said():
    assert removal.gone_from_pooler(POOLER, PoolerTraces(True, (), ())) == []
    assert removal.gone_from_server(SERVER, NOTHING, ["pool1"], whole=True) == []


def test_a_file_the_operator_edits_himself_is_his_to_clear():
    his = Server("db1", "192.0.2.11", manage_hba=False)
    said = removal.gone_from_server(his, EVERYTHING, ["pool1", "pool2"], whole=True)
    assert "pg_hba.conf" not in said[0]
    assert "what lets pool1, pool2 in can go afterwards" in said[1]


def test_one_pooler_s_line_goes_and_with_the_last_one_the_whole_block():
    text = f"local all all peer\n{BEGIN}\n" + "\n".join(LINES) + f"\n{END}\nhost all all ::1/128 reject\n"
    without_one = hba.without(LINES, ["pool1"])
    assert hba.poolers_of(without_one) == ["pool2"]
    assert "# pool1" not in hba.with_block(text, without_one)
    assert hba.without(without_one, ["pool2"]) == ()
    assert hba.with_block(text, ()) == "local all all peer\nhost all all ::1/128 reject\n"


def test_half_an_answer_is_none():
    with pytest.raises(Unreadable):
        PoolerTraces.parse(["@process", "0", "@packages", "@files"])
    with pytest.raises(Unreadable):
        PoolerTraces.parse(["@process", "@packages", "@files", "@end"])
    server = {"in_recovery": False, "roles": [], "dependencies": None}
    with pytest.raises(Unreadable):
        ServerTraces.parse(["@server", json.dumps(server), "@hba_block", "@hba_closed", "@files", "@end"])
