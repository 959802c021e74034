"""Services of Docker Compose's: what is told of them, whose their sockets are, what is written."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import replace

import pytest

from poolward import env_file, evidence, recreation, rewriting
from poolward.acceptance import Terms, sample
from poolward.dsn import Connection
from poolward.errors import PoolwardError
from poolward.evidence import Seen
from poolward.observed import ApplicationState
from poolward.observed.sessions import Backend, PooledClient, Sessions, Traffic
from poolward.observed.sockets import Endpoint, run_by_commands
from poolward.service import Address, Service
from poolward.shell import services
from poolward.target import standing, target
from tests.unit.samples import docker

OWNER = run_by_commands("web")
DECLARED = Service(
    "web", "dock1", compose_file="/srv/c.yml", compose_service="web", host_variable="DB_HOST", pooler="dock1"
)
THROUGH = {"DB_HOST": Address("pgbouncer", 5432, "")}
FILE = b"services:\n  web:\n    environment: {DB_HOST: db, PASSWORD: a$$b}\n"


NOBODY = Sessions(0.0, 97, ())


def encoded(text: bytes) -> str:
    return base64.b64encode(text).decode()


def told(rendered: Mapping[str, str | None], made_with: list[str], *more: str, status: str = "running") -> list[str]:
    container = {
        "Id": "c0ffee",
        "Name": "/stack-web-1",
        "State": {"Status": status, "StartedAt": "2026-11-23T09:16:22.5Z"},
        "Env": made_with,
        "StopTimeout": None,
        "Networks": {"stack_default": {}},
        "Compose": {"project": "stack", "directory": "/srv", "files": "/srv/c.yml,/srv/o.yml", "variables": None},
    }
    config = {
        "services": {"cache": {"environment": None}, "web": {"environment": rendered, "networks": {"default": None}}},
        "networks": {"default": {"name": "stack_default"}},
    }
    return [
        *("@service web", "@containers web", encoded(json.dumps(container).encode()), "@processes web", "7 1 9.0"),
        *("@path web", "/srv/c.yml", "@written web", "root root 600", "99999999999.0", encoded(FILE)),
        *(f"@rendered web\nweb {encoded(json.dumps(config).encode())}".splitlines()),
        *more,
    ]


def host(*said: str) -> ApplicationState:
    sockets = [
        'db-client\t0 0 172.18.0.9:40001 172.18.0.2:5432 users:(("web",pid=7,fd=5))',
        'db-client\t0 0 172.18.0.9:40002 10.0.0.21:6432 users:(("web",pid=7,fd=6))',
        'other\t0 0 172.18.0.8:40003 172.18.0.2:5432 users:(("x",pid=9,fd=5))',
    ]
    processes = ["7\tdocker-c0ffee.scope\t/srv/web", "9\tdocker-b0b.scope\t/srv/other"]
    return ApplicationState.parse(
        [
            *("@clock", "1000.5", *said, "@sockets", "@container sockets", *sockets),
            *("@translated", "172.18.0.9 40002 10.0.0.21 6432 10.0.0.41 61234"),
            *("@processes", *processes, "@ancestors", "7 1", "9 1", "@end"),
        ],
        "dock1",
    )


def test_its_settings_are_what_compose_reads_and_it_runs_with_what_its_container_was_made_with() -> None:
    made_with = ["PATH=/bin", "DB_HOST=db", "PASSWORD=a$b"]
    state = host(*told({"DB_HOST": "db", "PASSWORD": "a$$b", "UNSET": None}, made_with)).services["web"]
    assert state.text
    assert env_file.variables(state.text.content) == {"DB_HOST": "db", "PASSWORD": "a$b"}
    assert state.runs_with_settings  # although the file was changed long after: other services are in it, too
    assert state.process
    assert state.process.told == "the container stack-web-1 is running"
    assert not host(*told({"DB_HOST": "pgbouncer"}, made_with)).services["web"].runs_with_settings
    assert not host(*told({"DB_HOST": "db"}, made_with, status="restarting")).services["web"].runs_with_settings


def test_its_sockets_are_its_own_and_those_of_other_containers_theirs() -> None:
    found = host(*told({}, []))
    assert [(one.unit, one.container, str(one.local)) for one in found.sockets] == [
        (OWNER, "db-client", "172.18.0.9:40001"),
        (OWNER, "db-client", "10.0.0.41:61234"),  # as the pooler sees it
        ("docker-b0b.scope", "other", "172.18.0.8:40003"),
    ]


def looked(found: ApplicationState, *log: str) -> Seen:
    ends = [one.local for one in found.sockets if one.peer.port == 5432]
    backends = [Backend(n, "shop", "app", "", end, "idle", False, 1, 1) for n, end in enumerate(ends)]
    traffic = Traffic(0.0, (), (), 0.0, log)
    return Seen({"dock1": found.sockets}, {"db1": Sessions(0.0, 97, tuple(backends))}, {"pool1": traffic})


def test_whoever_goes_past_the_pooler_is_named_with_its_container() -> None:
    (bypass,) = evidence.bypasses(looked(host(*told({}, []))), {"dock1": [OWNER]})
    assert "pid 9 /srv/other in the container other at 172.18.0.8:40003" in str(bypass)


def test_a_pooler_s_complaint_about_another_container_is_not_its_own() -> None:
    def complaints(address: str) -> list[str]:
        look = looked(host(*told({}, [])), f"C-0x1: shop/app@{address}:5 closing because: no such database")
        return evidence.complaints(look, "dock1", OWNER, [])

    assert complaints("172.18.0.9")
    assert not complaints("172.18.0.8")


def test_what_it_is_made_from_must_be_what_it_was_made_with() -> None:
    state = host(*told({"DB_HOST": "db", "MODE": "new"}, ["DB_HOST=db", "MODE=old"])).services["web"]
    assert list(recreation._differences(state)) == [
        "its files say another MODE than the container stack-web-1 was made with"
    ]
    fine = [" DRY-RUN MODE -  Container stack-web-1  Running"]
    anew = [" DRY-RUN MODE -  Container creator-1  Recreate", " DRY-RUN MODE -  Container creator-1  Starting"]
    assert list(recreation._would_do(fine, DECLARED)) == []
    assert list(recreation._would_do([fine[0].replace("stack-web", "creator")], DECLARED)) == []
    assert "changed since its container was made" in next(iter(recreation._would_do(anew, DECLARED)))
    assert "cannot tell" in next(iter(recreation._would_do([], DECLARED)))
    scaled = ['time=x level=warning msg="orphan containers (stack-builder-1)"', *fine]
    assert list(recreation._would_do(scaled, DECLARED)) == []
    assert list(recreation._would_do([*scaled, " Container stack-web-2  Stopping"], DECLARED))
    assert (
        list(recreation._would_do([" Container stack-web-1  Created", " Container stack-web-1  Starting"], DECLARED))
        == []
    )
    assert "too old" in next(iter(recreation._would_do(["unknown flag: --dry-run"], DECLARED)))


def test_a_network_that_somebody_gave_it_by_hand_is_not_lost_unsaid() -> None:
    state = host(*told({}, [])).services["web"]
    assert not list(recreation._differences(state))
    by_hand = replace(state.containers[0], networks=frozenset({"stack_default", "tracksolid_net"}))
    (said,) = recreation._differences(replace(state, containers=(by_hand,)))
    assert said == "the container stack-web-1 is on tracksolid_net by hand, and a new one would not be"


def test_what_to_do_by_hand_calls_compose_as_it_was_called() -> None:
    (container,) = host(*told({}, [])).services["web"].containers
    assert container.compose == "docker compose -p stack --project-directory /srv -f /srv/c.yml -f /srv/o.yml"
    (_, up, _) = services.by_hand(DECLARED, "/srv/c.yml", container.compose)
    assert up == f"{container.compose} up -d --no-deps web"


def test_a_connection_to_the_server_that_it_does_not_know_is_no_proof() -> None:
    """A second, undeclared setting behind a translated address: what the pooler has of it proves nothing."""
    found = host(*told({}, []))
    client = PooledClient("shop", "app", Endpoint("10.0.0.41", 61234), 0, "", False, 0.0)
    look = replace(looked(found), traffic={"pool1": Traffic(0.0, (client,), (), 0.0, ())}, sessions={"db1": NOBODY})
    census = evidence.census(look, "dock1", OWNER)
    assert (len(census.direct), len(census.pooled), len(census.unmatched)) == (0, 1, 1)
    home, entries = frozenset({("172.18.0.2", 5432)}), frozenset({("", "shop")})
    terms = Terms("pooled", 5.0, has_health=False, home=home, entries=entries)
    (problem,) = sample(0.0, terms, found.services["web"], census, NOBODY, ()).problems
    assert problem.startswith("1 of its connections lead to the server, which does not know")


def test_a_complaint_from_an_address_that_two_hosts_have_is_its_own_host_s() -> None:
    found = host(*told({}, []))
    look = looked(found, "C-0x1: shop/app@172.18.0.9:5 closing because: no such database")
    both = replace(look, sockets={**look.sockets, "dock2": found.sockets})
    assert evidence.complaints(look, "dock1", OWNER, [])
    assert not evidence.complaints(both, "dock1", OWNER, [])
    beside = replace(both, traffic={"dock1": look.traffic["pool1"]})
    assert evidence.complaints(beside, "dock1", OWNER, [])
    assert not evidence.complaints(beside, "dock2", OWNER, [])


def lines(text: str) -> list[bytes]:
    return [base64.b64decode(line) for line in text.splitlines()]


def test_the_way_back_is_its_own_words_in_a_file_that_others_share() -> None:
    state = host(*told({"DB_HOST": "db", "PASSWORD": "a$$b"}, [])).services["web"]
    there, moved, values = lines(rewriting.switched(DECLARED, state, {"DB_HOST": "pgbouncer"}))
    assert (there, moved) == (FILE, FILE.replace(b"db", b"pgbouncer"))
    assert env_file.variables(values) == {"DB_HOST": "db", "PASSWORD": "a$b"}

    others = b"# somebody was here\n"
    way_back = ["@before web", "root root 600", "1.0", encoded(values), "@original web", "root root 600", "1.0"]
    rendered = told({"DB_HOST": "pgbouncer", "PASSWORD": "a$$b"}, [], *way_back, encoded(FILE))
    later = host(*(encoded(others + moved) if line == encoded(FILE) else line for line in rendered[:-1]), encoded(FILE))
    for text in (
        rewriting.taken_back(DECLARED, later.services["web"], THROUGH),
        rewriting.switched(DECLARED, later.services["web"], {"DB_HOST": "db"}),
    ):
        assert lines(text)[:2] == [others + moved, others + FILE]


def test_what_a_move_added_goes_and_what_compose_never_read_comes_back() -> None:
    """Told by the file: Compose may read a value elsewhere, and the one in the file is nobody's."""
    declared = replace(DECLARED, env_file="/srv/web.env", port_variable="DB_PORT")
    original, moved = b"DB_HOST=db # here\n", b"DB_HOST=pgbouncer # here\nDB_PORT=6432\n"
    for rendered in ({"DB_HOST": "pgbouncer", "DB_PORT": "6432"}, {"DB_HOST": "db"}):
        said = told(rendered, [], "@before web", "root root 600", "1.0", encoded(b"DB_HOST=db\n"))
        said = [encoded(moved) if line == encoded(FILE) else line for line in said]
        state = host(*said, "@original web", "root root 600", "1.0", encoded(original)).services["web"]
        through = {"DB_HOST": Address("pgbouncer", 6432, "")}
        assert lines(rewriting.taken_back(declared, state, through)) == [moved, original]
    back = [encoded(original) if line == encoded(moved) else line for line in said]
    state = host(*back, "@original web", "root root 600", "1.0", encoded(original)).services["web"]
    assert rewriting.taken_back(declared, state, through) == ""


def test_what_compose_cannot_read_is_no_settings() -> None:
    said = [line for line in told({}, []) if not line.startswith(("@rendered", "web "))]
    state = host(*said, "@unreadable web", "docker compose config fails for it").services["web"]
    assert (state.text, state.written, state.unreadable) == (None, None, "docker compose config fails for it")
    assert not state.runs_with_settings


def test_a_container_calls_a_pooler_beside_it_by_its_name_and_itself_localhost() -> None:
    def connected(host: str, port: int) -> Connection:
        return Connection(shape="variables", host=host, port=port, database="tracksolid_db", user="postgres")

    docker_fleet = docker()
    declared = next(one for one in docker_fleet.services if one.name == "grafana")
    assert target(declared, docker_fleet, connected("timescale_db", 5432)).address[:2] == ("pgbouncer", 6432)
    variables = {"DB_HOST": "pgbouncer", "DB_PORT": "6432", "DB_NAME": "tracksolid_db", "DB_USER": "grafana_ro"}
    assert standing(declared, variables, docker_fleet) == "pooled"
    assert standing(declared, {**variables, "DB_HOST": "localhost"}, docker_fleet) == "unknown"
    with pytest.raises(PoolwardError, match="neither a server nor a pooler"):
        target(declared, docker_fleet, connected("127.0.0.1", 5432))
    assert Endpoint("172.18.0.9", 1).host == ""
