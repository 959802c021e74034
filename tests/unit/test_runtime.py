"""One pooler, two ways of running it: what differs is in the runtime, and nothing else of what is wanted."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolward import apply, declaration, render, shell, verify
from poolward.desired import PoolerConfig, pooler_config
from poolward.fleet import Server
from poolward.observed import PoolerState, Route
from poolward.runtime import Docker, postgresql
from poolward.survey import Survey
from tests.unit.samples import GROUPS, TRIXIE, config, hosts, lab, pooler_state

DOCKER = {"pgbouncer_runtime": "docker", "pgbouncer_network": "tracksolid_net"}
INI, USERLIST, PROBE = (f"/etc/pgbouncer/{name}" for name in ("pgbouncer.ini", "userlist.txt", "probe.pgpass"))


def in_a_container(**changes: Any) -> PoolerConfig:
    data = hosts(**DOCKER, **changes)
    return pooler_config(declaration.read(data, GROUPS), "pool1", TRIXIE)


def compose(**changes: Any) -> str:
    return in_a_container(**changes).service_file


def digest(text: str) -> str:
    (found,) = re.findall(r'org\.poolward\.configuration: "([0-9a-f]+)"', text)
    return str(found)


def test_the_same_words_make_the_same_configuration():
    package, container = config("pool1"), in_a_container()
    assert container.ini == package.ini
    assert (container.userlist, container.open_files) == (package.userlist, package.open_files)
    assert container.service_file != package.service_file


def test_compose_file_as_it_is_written(golden: Callable[[str, str], None]):
    golden("docker-compose.yml", compose(pgbouncer_publish=["127.0.0.1:6432:6432"]))


def test_dockerfile_as_it_is_written(golden: Callable[[str, str], None]):
    golden("Dockerfile", Docker("n", version="1.24.1").dockerfile)
    assert "pgbouncer=1.24.1-1+deb13u2 " in Docker("n", version="1.24.1-1+deb13u2").dockerfile
    assert "pgbouncer postgresql-client" in Docker("n").dockerfile


def test_the_image_is_named_by_what_it_is_built_from_or_by_the_operator():
    assert Docker("n", version="1.24.1").image_tag != Docker("n").image_tag
    assert Docker("n").image_tag == Docker("elsewhere", publish=("6432:6432",)).image_tag
    own = Docker("n", "registry.internal/pgbouncer:1.26.1")
    assert (own.image_tag, own.dockerfile) == ("registry.internal/pgbouncer:1.26.1", "")


OTHER_CONTAINERS = {
    "another network": {"pgbouncer_network": "other"},
    "another image": {"pgbouncer_image": "mine:1"},
    "another version": {"pgbouncer_version": "1.25.0"},
    "a port": {"pgbouncer_publish": ["6432:6432"]},
    "more clients": {"pgbouncer_settings": {"max_client_conn": 5000}},
    "another port to listen on": {"pgbouncer_settings": {"listen_port": 6433}},
}


@pytest.mark.parametrize("change", OTHER_CONTAINERS.values(), ids=OTHER_CONTAINERS)
def test_what_the_container_is_made_of_makes_another_one(change: dict[str, Any]):
    changed = declaration.read(hosts(**{**DOCKER, **change}), GROUPS)
    installed = changed.poolers["pool1"].declared_version or TRIXIE
    assert digest(pooler_config(changed, "pool1", installed).service_file) != digest(
        in_a_container(pgbouncer_settings={}).service_file
    )


def test_a_setting_alone_does_not():
    settings = {"query_wait_timeout": 17, "default_pool_size": 20}
    assert compose(pgbouncer_settings=settings) == compose(pgbouncer_settings={"query_wait_timeout": 15})


def deployed(wanted: PoolerConfig) -> PoolerState:
    """What a host answers that runs exactly this, as far as it differs from one with the package."""
    state = pooler_state("pool1")
    owner = replace(state.files[INI], owner="6432", group="6432", mode="600")
    return replace(
        state,
        ini=wanted.ini,
        service_file=wanted.service_file,
        files={**state.files, INI: owner, USERLIST: owner, PROBE: owner},
    )


def found(wanted: PoolerConfig, state: PoolerState) -> list[tuple[str, str]]:
    differing = [*apply.service_differences(wanted, state), *apply.file_differences(wanted, state)]
    return [(difference.what, difference.action) for difference in differing]


def test_nothing_differs_where_it_runs_as_declared():
    wanted = in_a_container()
    assert found(wanted, deployed(wanted)) == []


def test_a_changed_compose_file_and_a_container_of_an_old_one_mean_a_new_container():
    wanted, state = in_a_container(), deployed(in_a_container())
    edited = replace(state, service_file=wanted.service_file.replace("6432:6432", "0:0"))
    assert found(wanted, edited) == [("docker-compose.yml", "recreate")]
    stale = replace(state, unit={**state.unit, "NeedDaemonReload": "yes"})
    assert found(wanted, stale) == [("the container", "recreate")]
    assert "cuts every client" in apply.effect_of(list(apply.service_differences(wanted, stale)))


def test_a_password_file_others_may_read_is_put_right():
    wanted, state = in_a_container(), deployed(in_a_container())
    opened = replace(state, files={**state.files, PROBE: replace(state.files[INI], mode="644")})
    assert found(wanted, opened) == [(PROBE, "reload")]


def test_a_check_that_fails_is_a_finding():
    wanted, state = in_a_container(), deployed(in_a_container())
    for health, ok in (("healthy", True), ("starting", True), ("unhealthy", False)):
        seen = replace(state, unit={**state.unit, "Health": health})
        (finding,) = (f for f in verify.pooler_findings(wanted, seen, userlist=()) if f.what == "health check")
        assert finding.ok is ok
    assert "health check" not in {f.what for f in verify.pooler_findings(config("pool1"), state, userlist=())}


def test_a_container_that_does_not_run_is_started():
    wanted, state = in_a_container(), deployed(in_a_container())
    exited = replace(state, unit={**state.unit, "ActiveState": "exited"}, console=None)
    assert found(wanted, exited) == [("the container pgbouncer", "start")]


def test_a_recreation_that_was_cut_off_is_finished_as_one():
    state = deployed(in_a_container())
    staging = {**state.files, "/etc/pgbouncer/.poolward": state.files[INI]}
    cut_off = replace(state, files=staging, unproved="recreate")
    assert apply.action_for(apply.unfinished(cut_off)) == "recreate"


def test_the_health_check_has_its_password_in_a_file_and_nowhere_else():
    wanted = in_a_container()
    secrets = {"db1": "canary"}
    assert list(apply.probe_file_differences(wanted, secrets, wanted.probe_file(secrets))) == []
    (changed,) = apply.probe_file_differences(wanted, {"db1": "another"}, wanted.probe_file(secrets))
    assert changed.action == "reload"
    assert "canary" not in str(changed) + wanted.service_file + wanted.ini
    assert list(apply.probe_file_differences(config("pool1"), secrets, None)) == []


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1))
def test_a_password_file_reads_as_libpq_reads_it(password: str):
    """A colon ends a field unless a backslash stands before it, and so it is for a backslash."""
    login = {"port": 6432, "dbname": "shop", "user": "probe", "password": password}
    (line,) = render.pgpass([login]).removesuffix("\n").split("\n")
    fields, escaped = [""], False
    for sign in line:
        if sign == "\\" and not escaped:
            escaped = True
        elif sign == ":" and not escaped:
            fields.append("")
        else:
            fields[-1] += sign
            escaped = False
    assert fields == ["*", "6432", "shop", "probe", password]


def test_the_network_of_a_container_is_what_pg_hba_conf_lets_in():
    fleet = declaration.read(hosts(**DOCKER, postgresql_address="timescale_db"), GROUPS)
    route = Route("172.18.0.2", "172.18.0.12", "172.18.0.0/16")
    states = {"pool1": replace(pooler_state("pool1"), addresses={"timescale_db": route})}
    seen = Survey(fleet, states, {})
    assert seen.addresses("db1") == {"pool1": "172.18.0.12"}
    assert seen.networks("db1") == {"pool1": "172.18.0.0/16"}
    before_it_runs = replace(pooler_state("pool1"), addresses={"timescale_db": replace(route, source=None)})
    seen = Survey(fleet, {"pool1": before_it_runs}, {})
    assert (seen.addresses("db1"), seen.networks("db1")) == ({}, {"pool1": "172.18.0.0/16"})


def test_a_server_in_a_container_is_asked_there_and_no_secret_is_in_the_command():
    inside = shell.observe_server(Server("db1", "timescale_db", container="timescale_db"), ["shop"]).text
    outside = shell.observe_server(Server("db1", "192.0.2.11"), ["shop"]).text
    assert "docker exec" in inside
    assert "docker" not in outside
    assert postgresql(5432, None).libraries != postgresql(5432, "timescale_db").libraries


def test_a_package_is_what_it_was():
    assert lab().poolers["pool1"].runtime.place.variables == {}
    assert json.dumps(sorted(config("pool1").runtime.owner)) == '["640", "postgres", "root"]'
