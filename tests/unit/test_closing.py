"""The direct path after a cutover: closed only where nobody needs it, and by lines that are found again."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolward import closing
from poolward.closing import Path
from poolward.direct_path import _staying
from poolward.observed import ApplicationState, Endpoint, HbaRule, PooledServer
from poolward.watch import Look
from tests.unit import samples
from tests.unit.test_evidence import APP, DB, POOL, backend, client, seen, socket

PATH = Path("db1", "postgres", APP, ("web",))
MOVED = socket("web.service", 40002, POOL)
HBA = "# mine\nlocal all all peer\nhost all all samenet scram-sha-256\n"
NAMES = st.text(st.characters(blacklist_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1)
PATHS = st.builds(
    Path,
    st.just("db1"),
    NAMES,
    st.ip_addresses().map(str),
    st.lists(st.from_regex(r"\w[\w.@-]*", fullmatch=True), min_size=1, unique=True).map(tuple),
)


def rule(user: str, method: str, *, line: int = 1, address: str = APP) -> HbaRule:
    return HbaRule(line, "host", ("all",), (user,), address, "255.255.255.255", method, None)


def test_nobody_needs_it():
    assert closing.needed(PATH, seen([MOVED], [], [client(40002)], []), {}) == ""


def test_a_service_that_is_still_direct_needs_it():
    look = seen([MOVED], [], [client(40002)], [])
    assert closing.needed(PATH, look, {("db1", "postgres"): "cron"}) == "cron is direct, with the same role"
    assert closing.needed(PATH, look, {("db1", "other"): "cron", ("db2", "postgres"): "cron"}) == ""


def test_a_service_that_stays_direct_needs_it_though_it_is_not_connected_now():
    path = Path("db1", "postgres", APP, ("web",))
    assert closing.needed_later(path, {"mcp": {"other"}, "audit": {"one", "two"}}) == ""
    assert closing.needed_later(path, {"mcp": {"other", "postgres"}}) == "mcp stays direct, with the same role"
    assert "mcp stays direct, and its role is not known" in closing.needed_later(path, {"mcp": ()})


def test_the_roles_of_what_stays_direct_are_read_from_its_settings_and_its_sessions():
    fleet = samples.lab()  # analytics_mcp stays direct on app2
    url = base64.b64encode(b"DATABASE_URL=postgresql://mcp_ro:x@192.0.2.11/shop\n").decode()
    told = ["@service analytics_mcp", "@settings analytics_mcp", "root root 600", "1", url, "@sockets", "@processes"]

    def roles(lines, sockets, backends):
        application = ApplicationState.parse(["@clock", "1000", *lines, "@end"])
        look = seen(sockets, backends, [], [])
        look = replace(look, sockets={"app2": look.sockets["app1"]})
        return _staying(fleet, Look({"app2": application}, look), "app2")

    here = socket("analytics-mcp.service", 40001, DB)
    assert roles(told, [], []) == {"analytics_mcp": {"mcp_ro"}}
    assert roles(told, [here], [backend(2, here.local)]) == {"analytics_mcp": {"mcp_ro", "postgres"}}
    assert roles([told[0], *told[5:]], [], []) == {"analytics_mcp": set()}
    assert _staying(fleet, Look({}, seen([], [], [], [])), "app1") == {}


def test_whoever_is_connected_needs_it_and_a_pooled_session_does_not():
    stranger = socket("other.service", 40001, DB)
    look = seen([MOVED, stranger], [backend(2, stranger.local)], [client(40002)], [])
    assert closing.needed(PATH, look, {}) == "backend 2 (same) is connected on it"
    assert closing.needed(Path("db1", "other", APP, ("web",)), look, {}) == ""


def test_a_pooler_on_the_application_host_needs_it():
    end = Endpoint(APP, 50000)
    look = seen([], [backend(7, end)], [], [PooledServer("shop", "somebody", 7, end)])
    assert closing.needed(PATH, look, {}) == "a pooler connects from this address"


@given(st.lists(PATHS, max_size=4))
def test_what_is_closed_is_found_again_and_goes_without_a_trace(paths: list[Path]):
    text = closing.with_closed(HBA, paths)
    assert list(closing.closed_in(text, "db1")) == closing.together(paths)
    assert text.endswith(HBA)
    assert closing.with_closed(text, ()) == HBA
    assert closing.with_closed(text, paths) == text


def test_the_line_closes_that_role_from_that_address_and_comes_first():
    text = closing.with_closed(HBA, [Path("db1", 'odd"role', "2001:db8::1", ("web", "cron"))])
    assert text.splitlines()[2] == 'host all "odd""role" 2001:db8::1/128 reject  # cron, web'


def test_services_that_share_a_path_share_its_line():
    first, second = Path("db1", "app", APP, ("web",)), Path("db1", "app", APP, ("cron",))
    assert closing.together([first, second]) == [Path("db1", "app", APP, ("cron", "web"))]


@pytest.mark.parametrize(
    ("rules", "is_open"),
    [
        ([rule("postgres", "reject"), rule("all", "scram-sha-256", line=9)], False),
        ([rule("all", "scram-sha-256"), rule("postgres", "reject", line=9)], True),
        ([rule("other", "reject"), rule("all", "scram-sha-256", line=9)], True),
        ([], False),
    ],
)
def test_postgresql_takes_the_first_line_that_matches(rules: list[HbaRule], is_open: bool):
    assert closing.still_open(rules, PATH, "shop") is is_open


def test_our_lines_are_no_rules_of_the_operators():
    mine, theirs = rule("postgres", "reject"), rule("audit", "reject", line=2)
    assert closing.others([mine, theirs], [PATH.line]) == [theirs]
    assert closing.others([mine, theirs], []) == [mine, theirs]


def test_clients_per_server_connection():
    look = seen([], [], [client(1), client(2), client(3)], [])
    assert closing.multiplexing(look) == {}
    look = seen([], [], [client(1), client(2), client(3)], [PooledServer("shop", "web", 7, None)] * 2)
    assert closing.multiplexing(look) == {"pool1": 1.5}


def test_a_role_that_pg_hba_conf_would_take_for_a_pattern_stays():
    assert "a pattern" in closing.needed(Path("db1", "/web", APP, ("web",)), seen([], [], [], []), {})
