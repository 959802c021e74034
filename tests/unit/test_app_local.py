"""A pooler on each application host: what is declared, where its services go, and whose each session is."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest

from lab.apps import environment_file
from lab.topology import SERVICES
from poolward import apply, budget, caveats, declaration, env_file, evidence, holders, tables
from poolward.desired import pooler_config
from poolward.errors import Refused
from poolward.evidence import Seen
from poolward.fleet import Fleet
from poolward.observed import ApplicationState, Sessions, Traffic
from poolward.observed.sessions import Backend, PooledClient, PooledServer
from poolward.observed.sockets import Endpoint, Socket
from poolward.service import Address, moved_variables, settings_of
from poolward.target import reached, standing, target, targets
from tests.unit.samples import TRIXIE, group_data, hosts, pooler_state, server_state

GROUPS = {"databases": ["db1"], "poolers": ["app1", "app2"], "apps": ["app1", "app2"]}
SOCKETS = "/var/run/postgresql"
APP, DB, POOLER_PORT = "192.0.2.31", "192.0.2.11", 6432


def data(**changes: Any) -> dict[str, dict[str, Any]]:
    """What inventories/lab_app_local.py says: app1's services use the socket, app2's 127.0.0.1."""
    found = hosts(**{**group_data("lab_app_local"), **changes})
    found["app1"]["pgbouncer_settings"] = {"listen_addr": ""}
    return {name: found[name] for name in ("db1", "app1", "app2")}


def fleet(**changes: Any) -> Fleet:
    return declaration.read(data(**changes), GROUPS)


def problems(found: dict[str, dict[str, Any]], groups: dict[str, list[str]] = GROUPS) -> str:
    with pytest.raises(Refused) as refused:
        declaration.read(found, groups)
    return "\n".join(f"{one.where}: {one.message} ({one.hint})" for one in refused.value.problems)


def test_a_service_is_behind_the_pooler_of_its_own_host_and_pools_are_small() -> None:
    found = fleet()
    assert {one.name: one.pooler for one in found.services if one.moves} == {
        sample.name: sample.host for sample in SERVICES if sample.name != "analytics_mcp"
    }
    assert [(one.app_local, one.hostname, one.address) for one in found.poolers.values()] == [
        (True, SOCKETS, APP),
        (True, "127.0.0.1", "192.0.2.32"),
    ]
    small = {key: found.poolers["app2"].effective(key) for key in ("default_pool_size", "max_client_conn")}
    assert small == {"default_pool_size": 4, "max_client_conn": 200}


@pytest.mark.parametrize(
    ("settings", "front"),
    [
        ({}, "127.0.0.1"),
        ({"listen_addr": "*"}, "127.0.0.1"),
        ({"listen_addr": "::"}, "::1"),
        ({"listen_addr": ["10.0.0.7", "::1"]}, "::1"),
        ({"listen_addr": "10.0.0.7"}, SOCKETS),
        ({"listen_addr": "", "unix_socket_dir": "/run/pg"}, "/run/pg"),
    ],
)
def test_services_are_pointed_at_loopback_or_else_at_the_socket(settings: dict[str, Any], front: str) -> None:
    found = data()
    found["app2"]["pgbouncer_settings"] = settings
    assert declaration.read(found, GROUPS).poolers["app2"].hostname == front


def test_what_is_wrong_with_it_is_said() -> None:
    found = data()
    found["app1"]["pgbouncer_settings"] = {"listen_addr": "", "unix_socket_dir": ""}
    found["app2"]["pgbouncer_peers"] = {"app1": 1, "app2": 2}
    said = problems(found, {**GROUPS, "apps": ["app1"]})
    assert 'app2: pgbouncer_topology = "app-local" is for a host that services run on' in said
    assert "neither by a loopback address nor by a Unix socket" in said
    assert "nothing stands in front of app-local poolers" in said
    contained = problems(data(pgbouncer_runtime="docker", pgbouncer_network="shop"))
    assert "app2: an app-local pooler runs as a package" in contained
    assert "pgbouncer_topology: Input should be 'shared' or 'app-local'" in problems(data(pgbouncer_topology="local"))


def test_a_service_cannot_go_to_the_pooler_of_another_host() -> None:
    services = [{**one, "pooler": "app1"} if one["name"] == "cron" else one for one in data()["db1"]["services"]]
    assert "`pooler` is app1, which is app-local and serves the services of app1 alone" in problems(
        data(services=services)
    )
    said = problems(data(), {**GROUPS, "poolers": ["app1"]})
    assert 'services["cron"]: `pooler` is missing (every pooler is app-local: app2 needs one of its own' in said


@pytest.mark.parametrize("sample", SERVICES, ids=lambda sample: sample.name)
def test_each_of_the_labs_services_goes_there_and_back(sample: Any) -> None:
    found = fleet()
    declared = next(one for one in found.services if one.name == sample.name)
    if not declared.moves:
        return
    content = environment_file(sample, "p@ss:w/rd 'é\\\" $`%41").encode()
    ((name, now),) = settings_of(declared, env_file.variables(content)).items()
    resolved = {"db1": [DB]}
    address = target(declared, found, now, resolved).address
    assert (address.host, address.port) == ({"app1": SOCKETS, "app2": "127.0.0.1"}[sample.host], POOLER_PORT)
    changes = moved_variables(declared, env_file.variables(content), {name: address})
    moved = env_file.replaced(content, changes)
    after = settings_of(declared, env_file.variables(moved))[name]
    assert after == dataclasses.replace(now, host=address.host, port=POOLER_PORT, database=address.database)
    assert standing(declared, env_file.variables(moved), found, resolved) == "pooled"
    assert reached(declared, env_file.variables(moved), found, resolved) == {sample.host}
    back = moved_variables(declared, env_file.variables(moved), {name: Address("db1", 5432, sample.database)})
    assert env_file.replaced(moved, back) == content


def test_one_that_still_names_the_other_way_to_its_pooler_is_not_there_yet() -> None:
    """After listen_addr was changed; on its own host every pooler's loopback is the same to nobody else."""
    found = fleet()
    cron = next(one for one in found.services if one.name == "cron")
    for host, where in (("127.0.0.1", "pooled"), ("localhost", "pooled"), (SOCKETS, "mixed"), ("app1", "unknown")):
        variables = {"PGHOST": host, "PGPORT": "6432", "PGDATABASE": "tracksolid_db", "PGUSER": "postgres"}
        assert standing(cron, variables, found, {"app1": [APP]}) == where


def test_a_jdbc_url_to_a_socket_is_refused_before_anything_is_changed() -> None:
    everything = data()
    everything["app2"]["pgbouncer_settings"] = {"listen_addr": ""}
    found = declaration.read(everything, GROUPS)
    gateway = next(one for one in found.services if one.name == "gateway")
    now = settings_of(gateway, {"JDBC_URL": "jdbc:postgresql://db1:5432/tracksolid_db?user=postgres"})
    with pytest.raises(Refused) as refused:
        targets(gateway, found, now, {"db1": [DB]})
    (said,) = refused.value.problems
    assert "A JDBC URL can name no Unix socket" in said.message
    assert "listen_addr" in said.hint


def test_its_units_wait_for_it_and_only_a_daemon_reload_tells_systemd_so() -> None:
    wanted = pooler_config(fleet(), "app2", TRIXIE)
    assert "\nBefore=cron.service gateway.service grafana.service scheduler.service\n" in wanted.service_file
    unit = wanted.service_file.split("[Service]")[0]
    assert "Before=" in unit
    services = [one for one in data()["db1"]["services"] if one["name"] != "cron"]
    fewer = pooler_config(fleet(services=services), "app2", TRIXIE)
    assert "cron.service" not in fewer.service_file
    state = dataclasses.replace(pooler_state("pool1"), service_file=fewer.service_file)
    (found,) = (one for one in apply.file_differences(wanted, state) if one.what == "the unit's drop-in")
    assert found.action == "reload"
    shared = pooler_config(declaration.read(hosts(), {**GROUPS, "poolers": ["pool1", "pool2"]}), "pool1", TRIXIE)
    assert "Before=" not in shared.service_file


def backend(pid: int, peer: Endpoint | None) -> Backend:
    return Backend(pid, "tracksolid_db", "postgres", "", peer, "idle", True, 1.0, 1.0)


def through(peer: Endpoint | None, host: str, pid: int = 0) -> PooledClient:
    return PooledClient("tracksolid_db", "postgres", peer, pid, "", False, 0.0, POOLER_PORT, host)


def seen(log: dict[str, tuple[str, ...]] | None = None) -> Seen:
    """One loopback port is taken on both hosts and on the server; app1's pooler has clients on its socket, too."""
    there, straight = Endpoint("127.0.0.1", 40000), Endpoint(APP, 41000)
    own = Endpoint(APP, 42000)
    clients = {
        "app1": (through(None, "app1", 101), through(None, "app1", 101), through(None, "app1", 999)),
        "app2": (through(there.seen_on("app2"), "app2"),),
    }
    servers = {"app1": (PooledServer("tracksolid_db", "postgres", 51, own),), "app2": ()}
    return Seen(
        {
            "app1": (
                Socket(101, "web.service", "python3 web.py", straight, Endpoint(DB, 5432)),
                Socket(90, "pgbouncer.service", "pgbouncer", own, Endpoint(DB, 5432)),
                Socket(91, "pgbouncer.service", "pgbouncer", Endpoint(APP, 42001), Endpoint(DB, 5432)),
            ),
            "app2": (
                Socket(7, "job.service", "job", there.seen_on("app2"), Endpoint("127.0.0.1", 6432).seen_on("app2")),
            ),
        },
        {
            "db1": Sessions(
                0.0,
                97,
                (backend(50, straight), backend(51, own), backend(52, there.seen_on("db1")), backend(53, None)),
            )
        },
        {name: Traffic(0.0, clients[name], servers[name], 0.0, (log or {}).get(name, ())) for name in ("app1", "app2")},
        {"app1": {101: "web.service", 102: "other.service"}, "app2": {7: "job.service"}},
    )


def test_a_session_on_the_socket_is_told_by_its_process_and_one_on_loopback_by_its_host() -> None:
    web, job = evidence.census(seen(), "app1", "web.service"), evidence.census(seen(), "app2", "job.service")
    assert (len(web.direct), len(web.pooled), web.unmatched) == (1, 2, ())
    assert (len(job.direct), len(job.pooled), job.unmatched) == (0, 1, ())
    assert not evidence.census(seen(), "app1", "other.service").pooled
    # A pid is another process on every host.
    elsewhere = dataclasses.replace(seen(), owners={"app1": {}, "app2": {101: "job.service"}})
    assert len(evidence.census(elsewhere, "app2", "job.service").pooled) == 1


def test_nobody_on_the_servers_own_loopback_is_a_bypass_and_neither_is_the_pooler() -> None:
    units = {"app1": ["web.service", "pgbouncer.service"], "app2": ["job.service"]}
    assert evidence.bypasses(seen(), units) == []
    (found,) = evidence.bypasses(seen(), {**units, "app1": ["pgbouncer.service"]})
    assert str(found) == f"pid 101 python3 web.py at {APP}:41000, backend 50 on db1 as postgres"


def test_holders_are_told_the_same_way() -> None:
    owned = holders.owners(seen(), {"web": ("app1", "web.service"), "job": ("app2", "job.service")})
    named = {one.pid: owned[holders.session_of("db1", one)].name for one in seen().sessions["db1"].backends}
    assert named == {50: "web", 51: "app1", 52: "127.0.0.1", 53: "db1 itself"}


def test_a_line_of_the_log_names_a_client_on_the_socket_by_its_process() -> None:
    lines = (
        "C-0x1: tracksolid_db/postgres@unix(101):6432 pooler error: query_wait_timeout",
        "C-0x2: tracksolid_db/postgres@unix(102):6432 pooler error: query_wait_timeout",
        "C-0x3: tracksolid_db/postgres@unix(4711):6432 login failed: db=tracksolid_db user=postgres",
        "C-0x4: tracksolid_db/postgres@127.0.0.1:40000 login failed: db=tracksolid_db user=postgres",
    )
    found = seen({"app1": lines, "app2": lines})
    # 102 is another service's process, and 4711 has ended: nobody knows whose it was.
    assert evidence.complaints(found, "app1", "web.service", ["other.service"]) == [lines[0], lines[2], lines[3]]
    assert evidence.complaints(found, "app2", "job.service", []) == list(lines)


def test_processes_are_read_with_the_unit_they_belong_to() -> None:
    read = ApplicationState.parse(
        """@clock
1.5
@service web
@unit web
Id=web.service
ActiveState=active
SubState=running
MainPID=101
ExecMainStartTimestamp=n/a
@members web
101
102
@service batch
@processes batch
102 5 1.0
103 6 1.1
@sockets
0 0 127.0.0.1:40000 127.0.0.1:6432 users:(("python3",pid=101,fd=3))
@processes
101	web.service	python3 web.py
@end""".splitlines(),
        "app1",
    )
    # A process that two services call theirs is neither's.
    assert read.owners == {101: "web.service", 102: "", 103: "processes of batch"}
    assert [(one.unit, one.local) for one in read.sockets] == [("web.service", Endpoint("127.0.0.1", 40000, "app1"))]


@dataclasses.dataclass(frozen=True)
class Looked:
    """A survey of one server, with what each pooler says it has open."""

    fleet: Fleet
    servers: dict[str, Any]
    open: dict[str, int] = dataclasses.field(default_factory=dict)

    def addresses(self, server: str) -> dict[str, str]:  # noqa: ARG002
        return {name: pooler.address for name, pooler in self.fleet.poolers.items() if pooler.address}

    def versions(self) -> dict[str, Any]:
        return dict.fromkeys(self.fleet.poolers, TRIXIE)

    def opened(self, server: str) -> dict[str, int]:  # noqa: ARG002
        return self.open


def test_of_what_comes_from_an_application_host_its_pooler_is_not_direct() -> None:
    rows = [
        {"address": APP, "role": "postgres", "count": "20"},
        {"address": APP, "role": "worker", "count": "3"},
        {"address": "192.0.2.32", "role": "postgres", "count": "2"},
        {"address": "192.0.2.99", "role": "postgres", "count": "1"},
    ]
    state = dataclasses.replace(server_state(), backends=rows)
    assert budget.direct_now(Looked(fleet(), {"db1": state}, {"app1": 5, "app2": 3}), "db1") == 18 + 0 + 1


def test_the_bill_counts_each_of_many_hosts_and_says_it_once() -> None:
    names = [f"app{number}" for number in range(1, 21)]
    everywhere = hosts(*names[2:], **{**group_data("lab_app_local"), "services": []})
    everywhere = {name: everywhere[name] for name in ("db1", *names)}
    found = declaration.read(everywhere, {"databases": ["db1"], "poolers": names, "apps": names})
    bill = budget.bill(found, "db1", server_state(), dict.fromkeys(names, TRIXIE))
    per_host = 25 + 8 + 6 + 2
    assert bill.worst_case == 20 * per_host
    assert bill.worst_case_while_rolling() == 21 * per_host
    shown = tables.bill(bill, 0)
    whats = [str(cell) for cell in shown.columns[0].cells]
    assert "20 poolers  tracksolid_db, 25 each" in whats
    assert not any(re.match(r"app\d", what) for what in whats)


def test_one_of_them_is_no_single_point_of_failure() -> None:
    alone = declaration.read(
        {name: one for name, one in data(services=[]).items() if name != "app2"},
        {"databases": ["db1"], "poolers": ["app1"], "apps": ["app1"]},
    )
    said = caveats.of(alone, "db1", server_state(), {"app1": TRIXIE}, [])
    assert not any("only pooler" in line for line in said)
