"""Services as their host tells of them, whatever runs them and wherever their settings are."""

from __future__ import annotations

import base64
from types import SimpleNamespace
from typing import cast

import pytest

from poolward import moves, steps
from poolward.errors import PoolwardError
from poolward.evidence import Census
from poolward.moves import Position
from poolward.moving import Move, Run, is_restarted, variables
from poolward.observed import ApplicationState, Unreadable
from poolward.observed.application import Process
from poolward.observed.sessions import PooledClient
from poolward.observed.sockets import run_by_commands
from poolward.service import Service
from poolward.shell import SCRIPTS, services
from tests.unit import samples

SOCKET = 'users:(("python3",pid={pid},fd=5))'


def host(*said: str, units: str = "session-1.scope") -> ApplicationState:
    """A host with a process 7 and its child 8, each with a connection."""
    sockets = [f"0 0 10.0.0.31:{41000 + pid} 10.0.0.11:5432 {SOCKET.format(pid=pid)}" for pid in (7, 8)]
    processes = [f"{pid}\t{units}\tpython3 /srv/web.py" for pid in (7, 8)]
    lines = ["@clock", "1000.5", *said, "@sockets", *sockets, "@processes", *processes]
    return ApplicationState.parse([*lines, "@ancestors", "7 1", "8 7 1", "@end"])


def by_commands(name: str, *rows: str, settings: str = "A=1\n", changed: float = 0) -> list[str]:
    encoded = base64.b64encode(settings.encode()).decode()
    return [
        *(f"@service {name}", f"@processes {name}", *rows, f"@path {name}", f"/var/lib/poolward/services/{name}"),
        *(f"@settings {name}", "- - -", str(changed), encoded, f"@unfinished {name}"),
        *(f"@before {name}", f"@unproved {name}"),
    ]


def test_a_connection_is_its_services_by_the_process_or_by_an_ancestor_of_it() -> None:
    found = host(*by_commands("web", "7 100 990.000"))
    assert {socket.unit for socket in found.sockets} == {run_by_commands("web")}
    assert {socket.unit for socket in host(*by_commands("web", "8 100 990.000")).sockets} == {
        "session-1.scope",
        run_by_commands("web"),
    }


@pytest.mark.parametrize(
    "other", [by_commands("api", "8 100 990.000"), ["@service api", "@unit api", "Id=api.service", "MainPID=0"]]
)
def test_a_process_of_two_services_is_an_error_and_no_guess(other: list[str]) -> None:
    other = [*other, "ActiveState=inactive", "SubState=dead"] if "Id=api.service" in other else other
    with pytest.raises(Unreadable, match="belongs to more than one service"):
        host(*by_commands("web", "7 100 990.000"), *other, units="api.service")


def test_it_runs_with_its_settings_when_its_oldest_process_is_younger_than_them() -> None:
    young, old = ("7 300 993.000", "8 400 994.000"), ("7 100 991.000", "8 400 994.000")
    assert host(*by_commands("web", *young, changed=992)).services["web"].runs_with_settings
    assert not host(*by_commands("web", *old, changed=992)).services["web"].runs_with_settings
    # Nobody runs: only one that lives now and then is as it should be.
    state = host(*by_commands("web", changed=992)).services["web"]
    assert not is_restarted(Service("web", "app1"), state)
    assert is_restarted(Service("web", "app1", runs="now and then"), state)


def unit(active: str, sub: str, pid: int, begun: str = "", since: str = "") -> Process:
    said = ["@service web", "@unit web", "Id=web.service", f"ActiveState={active}", f"SubState={sub}", f"MainPID={pid}"]
    stamp = "Mon 2026-11-23 09:16:{} UTC"
    said += [f"ExecMainStartTimestamp={stamp.format(begun) if begun else ''}"]
    process = host(*said, f"InactiveExitTimestamp={stamp.format(since) if since else ''}").services["web"].process
    assert process
    return process


def test_a_unit_without_a_main_process_runs_as_long_as_it_is_active() -> None:
    """A script that starts a daemon and ends (RemainAfterExit), or a daemon that systemd cannot guess."""
    first, second = (unit("active", "exited", 0, "22.1", since) for since in ("22.5", "23.5"))
    assert first.running
    assert first.started
    assert first.incarnation != second.incarnation
    assert unit("active", "running", 7, "22.5", "22.1").started == first.started
    assert not unit("failed", "failed", 0, "22.1", "22.1").running


def test_what_comes_back_by_itself_is_not_stopped() -> None:
    assert unit("inactive", "dead", 0).stopped
    assert unit("failed", "failed", 0).stopped
    assert not unit("activating", "auto-restart", 0).stopped
    assert not unit("active", "running", 7, "22.5").stopped
    gone = host(*by_commands("web")).services["web"].process
    assert gone
    assert gone.stopped


@pytest.mark.parametrize("marked", [False, True])
def test_a_file_that_somebody_touched_restarts_nothing_and_sessions_at_the_other_end_do(marked: bool) -> None:
    """The mark of a move makes its file's time count; without one, only where its sessions are."""
    url = "DATABASE_URL=postgresql://app:x@192.0.2.11:5432/tracksolid_db\n"
    told = by_commands("web", "7 100 991.000", settings=url, changed=992)
    told += ['{"goal": "direct"}'] if marked else []
    state = host(*told).services["web"]
    declared = Service("web", "app1", url_variables=("DATABASE_URL",), processes_command=("x",), pooler="pool1")
    move = Move(cast(Run, SimpleNamespace(state=None, fleet=samples.lab())), declared, "direct", {}, {}, {})
    client = PooledClient("tracksolid_db", "app", None, 7, "", False, 0)
    assert move.position(state, Census()) == Position("direct", not marked, marked)
    assert not move.position(state, Census(pooled=(client,))).restarted
    assert moves.next_step(move.position(state, Census()), "direct") == ("restart" if marked else "done")


def test_settings_whose_write_broke_off_are_those_that_were_to_be_written() -> None:
    told = by_commands("web", "7 300 993.000", settings="torn", changed=0)
    at = told.index("@unfinished web") + 1
    told[at:at] = ["root root 600", "995.0", base64.b64encode(b"A=2\n").decode()]
    state = host(*told).services["web"]
    assert variables(Service("web", "app1", read_command=("x",)), state) == {"A": "2"}
    assert not state.runs_with_settings


def test_settings_that_a_command_does_not_print_are_unknown_and_not_empty() -> None:
    said = ["@service web", "@path web", "/x", "@unreadable web", "read_command failed", "@before web", "@unproved web"]
    with pytest.raises(PoolwardError, match="Its read_command failed"):
        variables(Service("web", "app1", read_command=("x",)), host(*said).services["web"])


@pytest.mark.parametrize(
    ("stop", "start", "seconds"),
    [("1min 30s", "1min 30s", 310), ("5min", "2min 5s", 765), ("500ms", "0", 120), ("infinity", "1min", 900)],
)
def test_a_restart_is_waited_for_as_long_as_its_unit_allows(stop: str, start: str, seconds: int) -> None:
    unit = ["Id=web.service", "ActiveState=active", "SubState=running", "MainPID=0"]
    bounds = [f"TimeoutStopUSec={stop}", f"TimeoutStartUSec={start}"]
    assert steps.restart_bound(host("@service web", "@unit web", *unit, *bounds).services["web"]) == seconds


def test_no_script_that_moves_a_service_names_a_kind_of_it() -> None:
    """The seam: what differs between kinds is in their own parts, and every kind has all of it."""
    for name in ("switch", "take_back", "restart", "finish", "run", "observe"):
        name = f"{name}_service" if name != "observe" else "observe_services"
        text = (SCRIPTS / f"{name}.sh").read_text()
        assert not [part for part in services.PARTS if part in text], name
    for half in ("settings", "process"):
        verbs = [
            {
                line.split("()")[0].strip()
                for line in (SCRIPTS / f"{part}.sh").read_text().splitlines()
                if "() {" in line
            }
            for part in services.PARTS
            if part.startswith(half)
        ]
        shared = set.intersection(*verbs)
        assert len(shared) >= 4, (half, verbs)


@pytest.mark.parametrize(
    ("printed", "errors"),
    [
        (['{"53300": 4, "08001": 0}'], {"53300": 4, "08001": 0}),
        (["{}"], {}),
        ([""], None),
        (["Traceback (most recent call last):"], None),
        (['["53300"]'], None),
        (['{"53300": "many"}'], None),
    ],
)
def test_what_its_clients_saw_fail_is_unknown_where_it_does_not_say(
    printed: list[str], errors: dict[str, int] | None
) -> None:
    unit = ("@service web", "@unit web", "Id=web.service", "MainPID=0", "ActiveState=inactive", "SubState=dead")
    found = host(*unit, "@errors web", *printed)
    assert found.services["web"].errors == errors
