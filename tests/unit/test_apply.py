"""Each kind of drift against what a real host answered right after its deploy: what is seen, and what mending takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolward.apply import (
    Difference,
    action_for,
    differences,
    setting_differences,
    unfinished,
    userlist_differences,
)
from poolward.observed import ConfigValue, Console, File, PoolerState
from poolward.render import userlist_txt
from tests.unit.samples import config, pooler_state

Change = Callable[[PoolerState], PoolerState]
CONFIG, USERLIST, STAGING = "/etc/pgbouncer/pgbouncer.ini", "/etc/pgbouncer/userlist.txt", "/etc/pgbouncer/.poolward"


def console(state: PoolerState) -> Console:
    assert state.console is not None
    return state.console


def unit(**properties: str) -> Change:
    return lambda state: replace(state, unit={**state.unit, **properties})


def down(unit_file: str) -> Change:
    stopped = unit(ActiveState="inactive", UnitFileState=unit_file)
    return lambda state: stopped(replace(state, console=None, open_files=None))


def file(path: str, found: File) -> Change:
    return lambda state: replace(state, files={**state.files, path: found})


def running(key: str, value: str, *, changeable: bool | None = None) -> Change:
    def change(state: PoolerState) -> PoolerState:
        shown = console(state).config[key]
        other = ConfigValue(value, shown.default, shown.changeable if changeable is None else changeable)
        return replace(state, console=replace(console(state), config={**console(state).config, key: other}))

    return change


def entry(name: str, **columns: str) -> Change:
    def change(state: PoolerState) -> PoolerState:
        rows = [{**row, **columns} if row["name"] == name else row for row in console(state).databases]
        return replace(state, console=replace(console(state), databases=tuple(rows)))

    return change


def entries(choose: Callable[[list[Mapping[str, str]]], list[Mapping[str, str]]]) -> Change:
    return lambda state: replace(
        state, console=replace(console(state), databases=tuple(choose(list(console(state).databases))))
    )


def service_file(old: str, new: str) -> Change:
    def change(state: PoolerState) -> PoolerState:
        assert state.service_file is not None
        assert old in state.service_file
        return replace(state, service_file=state.service_file.replace(old, new))

    return change


# what was done to the host → (what is reported, the action)
DRIFT: dict[str, tuple[Change, list[str], str]] = {
    "stopped": (down("disabled"), ["pgbouncer.service"], "start"),
    "masked": (down("masked"), ["pgbouncer.service"], "start"),
    "silent": (lambda state: replace(state, console=None), ["pgbouncer.service"], "restart"),
    "disabled at boot": (unit(UnitFileState="disabled"), ["pgbouncer.service"], "reload"),
    "unit changed on disk": (unit(NeedDaemonReload="yes"), ["the unit"], "restart"),
    "too few open files": (
        lambda state: replace(state, open_files=(1024, 65536)), ["open files (LimitNOFILE)"], "reload"
    ),
    "too few and no more to have": (
        lambda state: replace(state, open_files=(1024, 1024)), ["open files (LimitNOFILE)"], "restart"
    ),
    "ini missing": (lambda state: replace(state, ini=None), ["pgbouncer.ini"], "reload"),
    "ini by hand": (lambda state: replace(state, ini=f"{state.ini}# mine\n"), ["pgbouncer.ini"], "reload"),
    "userlist open to all": (file(USERLIST, File("root", "postgres", "644")), [USERLIST], "reload"),
    "ini of the service": (file(CONFIG, File("postgres", "postgres", "640")), [CONFIG], "reload"),
    "drop-in missing": (lambda state: replace(state, service_file=None), ["the unit's drop-in"], "restart"),
    "drop-in with another limit": (service_file("LimitNOFILE=", "LimitNOFILE=1"), ["the unit's drop-in"], "reload"),
    "drop-in with another signal": (service_file("SIGINT", "SIGTERM"), ["the unit's drop-in"], "restart"),
    "SET on the console": (running("query_wait_timeout", "99"), ["query_wait_timeout"], "reload"),
    "SET of what nobody wrote": (running("server_idle_timeout", "1"), ["server_idle_timeout"], "reload"),
    "another port": (running("listen_port", "6433"), ["listen_port"], "restart"),
    "left over without a default": (running("auth_hba_file", "/etc/hba"), ["auth_hba_file"], "restart"),
    "entry missing": (
        entries(lambda rows: [row for row in rows if row["name"] != "tracksolid-archive"]),
        ["database entry tracksolid-archive"],
        "reload",
    ),
    "entry too many": (
        entries(lambda rows: [*rows, {**rows[-1], "name": "stray"}]), ["database entry stray"], "reload"
    ),
    "entry's size": (entry("tracksolid_db", pool_size="21"), ["tracksolid_db.pool_size"], "reload"),
    "entry's limit": (entry("tracksolid_db", max_connections="0"), ["tracksolid_db.max_connections"], "reload"),
    "entry's server": (entry("tracksolid_db", host="192.0.2.9"), ["tracksolid_db.host"], "reload"),
    "entry's mode": (entry("tracksolid_db_session", pool_mode=""), ["tracksolid_db_session.pool_mode"], "reload"),
    "a forced user nobody declared": (
        entry("tracksolid_db", force_user="app"), ["tracksolid_db.force_user"], "restart"
    ),
    "any database served": (
        lambda state: replace(state, ini=f"[databases]\n* = host=db1\n{state.ini}"),
        ["database entry *", "pgbouncer.ini"],
        "restart",
    ),
}  # fmt: skip

poolers = pytest.mark.parametrize("pooler", ["pool1", "pool2", "pool3"])


@pytest.mark.parametrize(
    ("set_out_to", "takes"), [("", "reload"), ("reload", "reload"), ("restart", "restart"), ("start", "reload")]
)
def test_run_that_was_cut_off_is_finished_as_it_was_meant(set_out_to: str, takes: str):
    staged = file(STAGING, File("root", "postgres", "750"))(pooler_state("pool1"))
    assert action_for(unfinished(replace(staged, unproved=set_out_to))) == takes
    assert list(unfinished(pooler_state("pool1"))) == []


@poolers
def test_host_right_after_its_deploy_does_not_differ(pooler: str):
    found = differences(config(pooler), pooler_state(pooler))
    assert (found, action_for(found)) == ([], "none")


@poolers
@pytest.mark.parametrize("kind", DRIFT)
def test_drift(pooler: str, kind: str):
    change, what, action = DRIFT[kind]
    found = differences(config(pooler), change(pooler_state(pooler)))
    assert [difference.what for difference in found] == what
    assert action_for(found) == action


def test_reserve_of_an_entry_under_both_its_names():
    for pooler, column in (("pool1", "reserve_pool_size"), ("pool2", "reserve_pool"), ("pool3", "reserve_pool_size")):
        found = differences(config(pooler), entry("tracksolid_db", **{column: "9"})(pooler_state(pooler)))
        assert [str(difference) for difference in found] == [f"tracksolid_db.{column}: 9 → 5"]


WORKER = {"pgbouncer_auth_users": {"worker": {"verifier_from": "db1"}}}


def looked_up(state: PoolerState) -> PoolerState:
    row = {**console(state).users[0], "name": "worker"}
    return replace(state, console=replace(console(state), users=(*console(state).users, row)))


@pytest.mark.parametrize(
    ("pooler", "known", "action"),
    [
        ("pool1", False, "reload"),
        ("pool1", True, "restart"),
        ("pool2", False, "restart"),  # 1.18 does not show whom it has looked up
        ("pool3", False, "reload"),
        ("pool3", True, "restart"),
    ],
)
def test_user_added_to_the_userlist_of_a_process_that_may_have_looked_him_up(pooler: str, known: bool, action: str):
    state = looked_up(pooler_state(pooler)) if known else pooler_state(pooler)
    found = [difference for difference in differences(config(pooler, **WORKER), state) if "userlist" in difference.what]
    assert [(str(difference), difference.action) for difference in found] == [
        ("userlist.txt, worker: missing → the verifier db1 has", action)
    ]


def test_user_added_to_the_userlist_of_an_old_process_that_asks_nobody():
    asks_nobody = running("auth_user", "")(pooler_state("pool2"))
    found = differences(config("pool2", **WORKER), asks_nobody)
    assert {difference.what: difference.action for difference in found}["userlist.txt, worker"] == "reload"


@poolers
def test_user_taken_out_of_the_userlist_needs_a_restart(pooler: str):
    state = replace(pooler_state(pooler), userlist=("pgbouncer_auth", "worker"))
    found = differences(config(pooler), state)
    assert [(str(difference), difference.action) for difference in found] == [
        ("userlist.txt, worker: may log in → removed", "restart")
    ]


def test_pooler_that_asked_and_shall_not_any_more_needs_a_restart():
    found = differences(config("pool1", **WORKER, pgbouncer_auth_query=False), pooler_state("pool1"))
    restart = {difference.what for difference in found if difference.action == "restart"}
    assert restart == {"auth_user", "auth_dbname", "userlist.txt, pgbouncer_auth"}


WANTED = {"pgbouncer_auth": 'canary "1"', "worker": "SCRAM-SHA-256$canary"}
AS_WRITTEN = userlist_txt(WANTED)
OTHER_SECRETS = {
    "as it should be": (AS_WRITTEN, []),
    "missing": (None, []),  # whose names are missing the host says itself
    "another password": (
        AS_WRITTEN.replace("canary", "other"),
        [
            "userlist.txt, pgbouncer_auth: another secret → the secret of the poolers",
            "userlist.txt, worker: another secret → the verifier db1 has",
        ],
    ),
    "a broken line": (
        f'{AS_WRITTEN}worker\n',
        ["userlist.txt: PgBouncer stops reading in the middle of it → as declared"],
    ),
    "a comment": (f';"old" "canary"\n{AS_WRITTEN}', ["userlist.txt: written otherwise → as Poolward writes it"]),
    "a user less": (userlist_txt({"worker": WANTED["worker"]}), []),
}  # fmt: skip


@pytest.mark.parametrize("case", OTHER_SECRETS)
def test_secrets_that_differ_are_named_and_not_shown(case: str):
    live, told = OTHER_SECRETS[case]
    found = list(userlist_differences(config("pool1", **WORKER), WANTED, live))
    assert list(map(str, found)) == told
    assert all(difference.action == "reload" for difference in found)
    assert "canary" not in "".join(map(repr, found))


# what the operator changes in the inventory → the action on a host that is as it was declared before
CHANGES: dict[str, tuple[dict[str, Any], str]] = {
    "a timeout": ({"query_wait_timeout": 10}, "reload"),
    "a fraction of a second": ({"server_login_retry": 2.5}, "reload"),
    "a list": ({"ignore_startup_parameters": ["extra_float_digits"]}, "reload"),
    "the port": ({"listen_port": 6433}, "restart"),
    "the backlog": ({"listen_backlog": 2048}, "restart"),
    "the same value spelled otherwise": ({"query_wait_timeout": "15"}, "none"),
    "the same word in capitals": ({"pool_mode": "TRANSACTION"}, "none"),
}


@poolers
@pytest.mark.parametrize("change", CHANGES)
def test_change_of_the_inventory(pooler: str, change: str):
    settings, action = CHANGES[change]
    as_before = {"pool_mode": "transaction", "default_pool_size": 20, "reserve_pool_size": 5, "max_client_conn": 2000}
    wanted = config(pooler, pgbouncer_settings=as_before | settings)
    assert action_for(differences(wanted, pooler_state(pooler))) == action


@poolers
def test_word_of_an_entry_in_capitals_is_no_difference(pooler: str):
    databases = {
        "tracksolid_db": {"host": "db1", "max_db_connections": 25},
        "tracksolid_db_session": {
            "host": "db1", "dbname": "tracksolid_db", "pool_mode": "Session", "max_db_connections": 8
        },
        "tracksolid-archive": {"host": "db1", "pool_size": 5, "max_db_connections": 6},
    }  # fmt: skip
    assert differences(config(pooler, pgbouncer_databases=databases), pooler_state(pooler)) == []


@given(st.lists(st.sampled_from(["none", "reload", "restart", "start"])))
def test_one_action_serves_all_differences(actions):
    order = ["none", "reload", "restart", "start"]
    found = action_for(Difference("x", "a", "b", action) for action in actions)
    assert found == max(actions, key=order.index, default="none")


def test_a_value_without_a_default_stays_until_a_restart():
    """RELOAD leaves `verbose` as somebody typed it on the console: PgBouncer has nothing to return it to."""
    (found,) = differences(config("pool1"), running("verbose", "2")(pooler_state("pool1")))
    assert (found.what, found.is_now, found.should_be, found.action) == ("verbose", "2", "0", "restart")
    declared = config("pool1", pgbouncer_settings={"verbose": 1})
    (of_console,) = (one for one in differences(declared, pooler_state("pool1")) if one.what == "verbose")
    assert of_console.action == "reload"


def test_another_job_name_takes_a_restart():
    declared = config("pool1", pgbouncer_settings={"job_name": "front"})
    assert action_for(differences(declared, pooler_state("pool1"))) == "restart"


@pytest.mark.parametrize(
    ("seconds", "effect"), [(30, "clients idle for longer than 30 s are closed"), (0, "clients stay")]
)
def test_a_timeout_that_ends_clients_at_once_says_so(seconds: int, effect: str):
    shown = pooler_state("pool1").console
    assert shown is not None
    now = shown.config["client_idle_timeout"]
    other = replace(shown, config={**shown.config, "client_idle_timeout": replace(now, value="60")})
    wanted = config("pool1", pgbouncer_settings={"client_idle_timeout": seconds})
    found = next(one for one in setting_differences(wanted, other) if one.what == "client_idle_timeout")
    assert effect in found.effect
