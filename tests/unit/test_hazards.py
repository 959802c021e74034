"""Whose a hazard is and what follows, on a fleet made by hand: services under one role, told apart by their sockets."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from poolward.assessment import Assessment, ServerLoad
from poolward.attribution import Attributed, attribute
from poolward.evidence import Seen
from poolward.hazards import (
    KINDS,
    Declared,
    Hazard,
    LostOptions,
    ServiceAssessment,
    lost_options,
    proposed_order,
    tracked,
    unsafe,
)
from poolward.holders import Presence, holders, identify, owners
from poolward.observed.scan import Counted, LoginSetting, Scan, Sign, Statements, What
from poolward.observed.sessions import Backend, PooledClient, PooledServer, Sessions, Traffic
from poolward.observed.sockets import Endpoint, Socket
from poolward.service import Service
from poolward.settings import Version
from tests.unit import samples

APP, POOL, DB = "10.0.0.31", "10.0.0.21", "10.0.0.11"
DATABASE = "tracksolid_db"


class World:
    """A fleet's sessions, each put there by a line; the services are those that were mentioned."""

    def __init__(self) -> None:
        self.declared: dict[str, Declared] = {}
        self.sockets: list[Socket] = []
        self.backends: list[Backend] = []
        self.traffic = Traffic(0.0, (), (), 0.0, ())
        self.signs: list[Sign] = []
        self.counted: list[Counted] = []
        self.login_settings: list[LoginSetting] = []

    def service(self, name: str, **changes: object) -> None:
        self.declared[name] = replace(Declared(name, "app1", f"{name}.service", "transaction"), **changes)

    def session(self, unit: str, role: str = "postgres", peer: str = APP, database: str = DATABASE) -> Backend:
        """A session of a unit's process; of nobody's that is known where the unit is empty."""
        end = Endpoint(peer, 40000 + len(self.backends))
        backend = Backend(
            100 + len(self.backends), database, role, "same", end, "idle", role == "postgres", 60.0, 900.0
        )
        self.backends.append(backend)
        if unit:
            program = f"/usr/bin/python3 /srv/{unit.partition('.')[0]}.py"
            self.sockets.append(Socket(7, unit, program, end, Endpoint(DB, 5432)))
        return backend

    def sign(self, what: What, backend: Backend, **changes: object) -> None:
        sign = Sign(what, "pg_stat_activity", backend.pid, backend.role, backend.database, backend.peer)
        self.signs.append(replace(sign, **changes))

    def count(self, what: What, role: str, calls: int = 3, detail: str = "", database: str = DATABASE) -> None:
        self.counted.append(Counted(what, detail, role, database, calls))

    @property
    def seen(self) -> Seen:
        sessions = Sessions(0.0, 97, tuple(self.backends))
        return Seen({"app1": self.sockets, "app2": []}, {"db1": sessions}, {"pool1": self.traffic})

    @property
    def scan(self) -> Scan:
        statements = Statements(tuple(self.counted), "2026-01-31", 0, True)
        return Scan((len(self.backends),), tuple(self.signs), tuple(self.login_settings), statements, True)

    def attributed(self, tracked_now: frozenset[str] | None = None) -> Attributed:
        places = {name: (service.host, service.unit) for name, service in self.declared.items()}
        identities = identify(samples.lab(), [self.seen], places)
        restored = tracked_now or tracked([Version(1, 24)])
        return attribute(list(self.declared.values()), identities, {"db1": self.scan}, tracked=restored)

    def convicted(self, tracked_now: frozenset[str] | None = None) -> dict[str, dict[str, str]]:
        """Per service its hazards and by what they are known."""
        return {s.name: {h.what: h.certainty for h in s.hazards} for s in self.attributed(tracked_now).services}


@pytest.fixture
def world() -> World:
    found = World()
    for name in ("web", "jobs", "mail"):
        found.service(name)
    return found


@given(
    st.lists(
        st.tuples(st.sampled_from("abcdefghi"), st.sampled_from(["LISTEN", "SET", "advisory lock", ""])), max_size=40
    )
)
def test_under_one_role_each_service_is_convicted_of_what_its_own_sessions_show(made: list[tuple[str, What]]) -> None:
    world = World()
    for name in "abcdefghi":
        world.service(name)
    for name, what in made:
        backend = world.session(f"{name}.service")
        if what:
            world.sign(what, backend, detail="search_path")
    expected = {name: {what: "socket" for other, what in made if other == name and what} for name in "abcdefghi"}
    assert world.convicted() == expected
    assert not world.attributed().suspicions


def test_what_a_role_did_convicts_the_only_one_seen_under_it(world: World) -> None:
    world.session("web.service", "web")
    world.session("jobs.service", "jobs")
    world.count("LISTEN", "web")
    assert world.convicted() == {"web": {"LISTEN": "role"}, "jobs": {}, "mail": {}}


def test_what_a_shared_role_did_is_one_of_several_and_convicts_nobody(world: World) -> None:
    for name in ("web", "jobs"):
        world.session(f"{name}.service")
    world.session("mail.service", "mail")
    world.count("LISTEN", "postgres", calls=14)
    assert world.convicted() == {"web": {}, "jobs": {}, "mail": {}}
    (suspicion,) = world.attributed().suspicions
    assert (suspicion.candidates, suspicion.count) == (("web", "jobs"), 14)


def test_a_stranger_under_the_same_role_leaves_room_for_doubt(world: World) -> None:
    world.session("web.service", "web")
    world.session("cron.service", "web")
    world.count("LISTEN", "web")
    assert world.convicted()["web"] == {}
    (suspicion,) = world.attributed().suspicions
    assert (suspicion.candidates, suspicion.others) == (("web",), ("cron.service on app1",))


def test_the_same_role_in_another_database_is_no_candidate(world: World) -> None:
    world.session("web.service", "web", database="tracksolid-archive")
    world.count("LISTEN", "web")
    (suspicion,) = world.attributed().suspicions
    assert suspicion.candidates == ()


def test_who_is_convicted_by_socket_is_named_among_those_the_role_points_at(world: World) -> None:
    world.sign("LISTEN", world.session("web.service"))
    world.session("jobs.service")
    world.count("LISTEN", "postgres")
    assert world.convicted() == {"web": {"LISTEN": "socket"}, "jobs": {}, "mail": {}}
    assert world.attributed().suspicions[0].known == ("web",)


def test_a_process_that_is_gone_is_sought_among_the_services_of_its_host(world: World) -> None:
    world.service("elsewhere", host="app2")
    world.session("web.service", "app")
    gone = Backend(999, DATABASE, "app", "", Endpoint(APP, 51000), "idle", False, 1.0, 1.0)
    world.sign("SET", gone, detail="search_path")
    assert world.convicted()["web"] == {"SET": "role"}
    assert world.convicted()["elsewhere"] == {}


def test_a_session_from_an_unknown_address_is_a_strangers_whatever_its_role(world: World) -> None:
    world.session("web.service", "app")
    world.sign("advisory lock", world.session("", "app", peer="192.0.2.9"))
    assert world.convicted()["web"] == {}
    assert [stranger.who for stranger in world.attributed().strangers] == ["192.0.2.9"]


def test_a_process_that_was_not_declared_is_named_with_its_unit(world: World) -> None:
    world.sign("temporary table", world.session("report.service"), source="pg_class", count=2)
    (stranger,) = world.attributed().strangers
    assert stranger.who == "report.service on app1"
    assert stranger.hazard.evidence == "2 outlived a transaction (pg_class, backend 100)"


def test_behind_the_pooler_only_the_role_is_left(world: World) -> None:
    end, client = Endpoint(POOL, 50000), Endpoint(APP, 41000)
    world.sockets.append(Socket(7, "web.service", "python3 /srv/web.py", client, Endpoint(POOL, 6432)))
    backend = Backend(300, DATABASE, "web", "same", end, "idle", False, 1.0, 1.0)
    world.backends.append(backend)
    world.traffic = Traffic(
        0.0,
        (PooledClient(DATABASE, "web", client, 0, "same", False, 0.0),),
        (PooledServer(DATABASE, "web", 300, end),),
        0.0,
        (),
    )
    world.sign("advisory lock", backend, source="pg_locks")
    assert world.convicted()["web"] == {"advisory lock": "role"}
    presence = world.attributed().services[0].presence
    assert (presence.direct, presence.pooled) == (0, 1)


def test_a_temporary_table_of_which_only_the_owner_is_known_is_its_roles(world: World) -> None:
    world.session("web.service", "web")
    world.signs.append(Sign("temporary table", "pg_class", 0, "web", DATABASE, None, count=2))
    assert world.convicted()["web"] == {"temporary table": "role"}


def test_what_the_pooler_restores_is_no_hazard(world: World) -> None:
    backend = world.session("web.service", "web")
    for detail in ("timezone", "time", "names", "application_name"):
        world.sign("SET", backend, detail=detail)
    world.count("SET", "web", detail="intervalstyle")
    assert world.convicted()["web"] == {}
    assert world.convicted(tracked([Version(1, 24), Version(1, 18)]))["web"] == {"SET": "role"}
    assert world.convicted(tracked([None]))["web"] == {"SET": "role"}


def test_a_transaction_is_left_open_for_long_or_not_at_all(world: World) -> None:
    world.sign("idle in transaction", world.session("web.service"), seconds=9.9)
    world.sign("idle in transaction", world.session("jobs.service"), seconds=340.0)
    assert world.convicted() == {"web": {}, "jobs": {"idle in transaction": "socket"}, "mail": {}}
    assert "340 s at the longest" in world.attributed().services[1].hazards[0].evidence


def test_settings_of_a_role_or_database_are_kept_in_a_pool(world: World) -> None:
    world.session("web.service", "web")
    world.login_settings += [LoginSetting("web", "", "search_path"), LoginSetting("other", "", "work_mem")]
    assert world.convicted()["web"] == {"login settings": "socket"}
    world.login_settings[:] = [LoginSetting("", DATABASE, "idle_session_timeout")]
    assert world.convicted()["web"].keys() == {"login settings", "idle_session_timeout"}
    assert world.attributed().services[0].verdict == "transaction"


@pytest.mark.parametrize(
    ("fate", "pinned", "what"),
    [
        ("dropped", ["search_path", "Work_Mem"], "options of its role"),
        ("dropped", ["search_path"], "options"),
        ("refused", ["search_path", "work_mem"], "options"),
    ],
)
def test_options_are_no_hindrance_where_the_role_has_the_same(
    world: World, fate: Literal["dropped", "refused"], pinned: list[str], what: str
) -> None:
    world.service("web", options=(LostOptions("DATABASE_URL", "web", DATABASE, ("search_path", "work_mem"), fate),))
    world.login_settings += [LoginSetting("web", DATABASE, name) for name in pinned]
    assert world.convicted()["web"] == {what: "settings"}


@pytest.mark.parametrize(
    ("variables", "names"),
    [
        ({"DATABASE_URL": "postgresql://u:secret@db1/shop"}, []),
        ({"DATABASE_URL": "postgresql://u:secret@db1/shop?options=-c%20search_path%3Dsecret"}, ["search_path"]),
        ({"DATABASE_URL": "host=db1 options='-c work_mem=secret --jit=off'"}, ["jit", "work_mem"]),
        ({"DATABASE_URL": "postgresql://u:secret@db1/shop", "PGOPTIONS": "-c search_path=secret"}, ["search_path"]),
        ({"DATABASE_URL": "jdbc:postgresql://db1/shop?options=-c%20jit%3Dsecret"}, ["jit"]),
        ({"DATABASE_URL": "postgresql://u:secret@db1/shop?options=-c%20TimeZone%3DUTC"}, []),
    ],
)
def test_options_that_a_pooler_does_not_hand_on_are_told_by_name(variables: dict[str, str], names: list[str]) -> None:
    web = Service("web", "app1", url_variables=("DATABASE_URL",))
    refusing, dropping = (Version(1, 24, 1), {}), (Version(1, 24, 1), {"ignore_startup_parameters": ["options"]})
    for poolers, fate in (([dropping], "dropped"), ([dropping, refusing], "refused")):
        lost = lost_options(web, variables, poolers)
        assert [name for one in lost for name in one.names] == names
        assert {one.fate for one in lost} <= {fate}
        assert "secret" not in repr(lost)


def test_evidence_of_one_kind_is_one_hazard_as_sure_as_its_best(world: World) -> None:
    backend = world.session("web.service", "web")
    world.sign("advisory lock", backend, source="pg_locks", count=2)
    world.count("advisory lock", "web", calls=7)
    (hazard,) = world.attributed().services[0].hazards
    assert (hazard.certainty, hazard.count) == ("socket", 1)
    assert hazard.evidence == (
        "one session held 2 while idle, outside a transaction (pg_locks, backend 100); "
        "advisory lock × 7 since 2026-01-31 (pg_stat_statements)"
    )


def service(
    name: str, *needs: str, direct: int = 1, superuser: bool = False, declared: str = "transaction"
) -> ServiceAssessment:
    hazards = tuple(Hazard.of(what, "seen", 1, "socket") for what in needs)
    # `declared` comes as a plain text from the tests' parameters.
    return ServiceAssessment(name, "app1", declared, Presence(direct, 0, superuser), hazards)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("found", "verdict", "in_transaction", "in_session"),
    [
        (service("clean"), "transaction", 0, 0),
        (service("idle", "idle in transaction", "login settings"), "transaction", 0, 0),
        (service("locks", "advisory lock", "SET"), "session", 2, 0),
        (service("options", "options", "SET"), "direct", 2, 1),
        (service("absent", direct=0), "unknown", 1, 1),
        (service("absent", "options", direct=0), "direct", 1, 1),
    ],
)
def test_a_pool_is_unsafe_for_whoever_needs_more(
    found: ServiceAssessment, verdict: str, in_transaction: int, in_session: int
) -> None:
    assert found.verdict == verdict
    assert len(unsafe(found, "transaction")) == in_transaction
    assert len(unsafe(found, "session")) == in_session


def test_a_reason_says_what_was_seen_and_what_to_do_instead() -> None:
    (reason,) = unsafe(service("a", "LISTEN"), "transaction")
    assert reason == f"LISTEN: seen. Instead: {KINDS['LISTEN'].remedy}."


def test_the_heaviest_superuser_pools_go_first_and_what_stays_direct_is_not_in_the_order() -> None:
    found = [
        service("light", direct=2, superuser=True),
        service("listener", "LISTEN", direct=30, superuser=True),
        service("plain", direct=20),
        service("absent", direct=0),
        service("heavy", direct=9, superuser=True),
        service("options", "options", direct=50, superuser=True),
        service("declared", direct=50, superuser=True, declared="direct"),
    ]
    assert proposed_order(found) == ["heavy", "light", "plain", "listener", "absent"]


def assessment(world: World, versions: dict[str, Version | None] | None = None, scan: Scan | None = None) -> Assessment:
    scan = scan or world.scan
    places = {name: (service.host, service.unit) for name, service in world.declared.items()}
    owned = owners(world.seen, places)
    load = ServerLoad("db1", len(world.backends), 41, 97, tuple(holders("db1", world.backends, owned)))
    return Assessment.of(world.attributed(), [load], {"db1": scan}, versions or {}, 60.0, 0.5)


def test_what_cannot_be_seen_is_said_for_this_server_and_these_poolers(world: World) -> None:
    world.session("web.service")
    world.service("jobs", options=None)
    blind = replace(world.scan, statements=None, track_activities=False)
    said = "\n".join(assessment(world, {"pool2": Version(1, 18), "pool1": Version(1, 24, 1)}, blind).cannot_see)
    for words in (
        "db1: track_activities is off",
        "db1: pg_stat_statements cannot be read",
        "pool2 has 1.18",
        "jobs, mail",
    ):
        assert words in said
    assert "pool1" not in said
    assert "`options` of jobs" in said
    forgetful = replace(world.scan, statements=Statements((), "", 12, False))
    said = "\n".join(assessment(world, scan=forgetful).cannot_see)
    assert "track_utility is off" in said
    assert "full 12 times" in said


def test_a_declaration_that_does_not_fit_what_was_seen_is_not_clean(world: World) -> None:
    del world.declared["jobs"], world.declared["mail"]
    world.sign("LISTEN", world.session("web.service"))
    assert assessment(world).differs
    world.service("web", pool="session")
    assert not assessment(world).differs
    world.service("web", pool="direct")
    assert not assessment(world).differs


def test_a_person_reads_it_at_the_terminal(world: World, golden: Callable[[str, str], None]) -> None:
    for unit, number in (("web.service", 8), ("jobs.service", 2), ("[bold].service", 1)):
        backends: Sequence[Backend] = [world.session(unit) for _ in range(number)]
        world.sign("LISTEN" if number == 2 else "advisory lock", backends[0], source="pg_stat_activity")
    world.service("mail", options=(LostOptions("DATABASE_URL", "mail", DATABASE, ("search_path",), "dropped"),))
    world.count("LISTEN", "postgres", calls=14)
    console = Console(file=io.StringIO(), width=120, force_terminal=False)
    assessment(world, {"pool2": Version(1, 18)}).show(console)
    assert isinstance(console.file, io.StringIO)
    golden("assessment.txt", "\n".join(line.rstrip() for line in console.file.getvalue().splitlines()) + "\n")
