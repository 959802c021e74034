"""What real hosts printed, read; and that half of it, or something else, is never taken for an answer."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolward.errors import PoolwardError
from poolward.observed import PoolerState, Route, ServerState, Unreadable
from poolward.settings import Version
from tests.unit.samples import pooler_state, recorded, server_state

POOLER_OUTPUTS = ("pooler-1.18.txt", "pooler-1.24.txt", "pooler-1.26.txt", "pooler-bare.txt")
PARSERS = [(name, PoolerState.parse) for name in POOLER_OUTPUTS] + [
    (name, ServerState.parse) for name in ("postgresql-17.txt", "postgresql-17-by-dsn.txt")
]
parsers = pytest.mark.parametrize(("name", "parse"), PARSERS, ids=[name for name, _ in PARSERS])


def test_deployed_pooler():
    state = pooler_state("pool2")
    assert (state.os, state.package_version, state.version) == ("debian 12", "1.18.0-1+deb12u1", Version(1, 18, 0))
    assert (state.installed, state.held, state.active, state.masked) == (True, True, True, False)
    assert state.candidate == "1.18.0-1+deb12u1"
    assert state.open_files == (2692, 20000)
    assert state.listeners == ("0.0.0.0:6432", "[::]:6432", "/var/run/postgresql/.s.PGSQL.6432")
    assert state.socket == ("/var/run/postgresql", 6432)
    assert state.addresses == {"192.0.2.11": Route("192.0.2.11", "192.0.2.22")}
    assert state.files["/etc/pgbouncer/userlist.txt"].mode == "640"
    assert not state.files["/etc/pgbouncer/.poolward"].exists
    assert state.ini is not None
    assert "\nmax_client_conn = 2000\n" in state.ini


def test_console_of_a_deployed_pooler():
    console = pooler_state("pool1").console
    assert console is not None
    assert console.version == Version(1, 24, 1)
    assert (console.config["query_wait_timeout"].value, console.config["query_wait_timeout"].default) == ("15", "120")
    assert console.config["query_wait_timeout"].changeable
    assert not console.config["listen_port"].changeable
    limits = {row["name"]: row["max_connections"] for row in console.databases}
    assert limits["tracksolid_db"] == "25"
    assert {row["database"] for row in console.pools} >= {"pgbouncer", "tracksolid_db"}


def test_host_without_pgbouncer():
    state = PoolerState.parse(recorded("pooler-bare.txt").splitlines())
    assert (state.installed, state.held, state.active) == (False, False, False)
    assert (state.version, state.package_version, state.open_files, state.console) == (None, None, None, None)
    assert (state.ini, state.service_file, state.socket, state.listeners) == (None, None, None, ())


def test_postgresql():
    state = server_state()
    assert (state.version_num, state.max_connections, state.superuser_reserved_connections) == (170012, 100, 3)
    assert (state.in_recovery, state.ssl, state.hba_loaded) == (False, True, True)
    assert state.roles["expired_role"].expires
    assert state.roles["nopassword_role"].password == "none"
    assert state.roles["other_superuser"].superuser
    assert state.roles["pgbouncer_probe"].connection_limit == 3
    assert "o'brien-reports" in state.roles
    inside = state.databases["tracksolid_db"].inside
    assert inside is not None
    assert inside.function is not None
    assert inside.function.grantees == ("pgbouncer_auth",)
    assert [rule.method for rule in state.hba][:2] == ["peer", "peer"]
    assert sum(row["count"] for row in state.backends if row["application"] == "webhook_receiver") == 8


@parsers
def test_answer_cut_anywhere_is_no_answer(name, parse):
    text = recorded(name).rstrip("\n")
    for cut in range(len(text)):
        with pytest.raises(Unreadable):
            parse(text[:cut].splitlines())


@parsers
def test_answer_without_one_of_its_parts_is_no_answer(name, parse):
    parts = ("\n" + recorded(name)).split("\n@")[1:]
    # what may be missing: apt was not asked; nothing runs
    optional = {"candidate", "listeners", "console"}
    checked = 0
    for number, part in enumerate(parts):
        if part.split("\n")[0] not in optional and not part.startswith("database "):
            rest = [line for other in (*parts[:number], *parts[number + 1 :]) for line in f"@{other}".splitlines()]
            with pytest.raises(Unreadable):
                parse(rest)
            checked += 1
    assert checked >= 3


@parsers
@given(data=st.data())
def test_garbage_is_refused_or_read_but_never_a_crash(name, parse, data):
    lines = recorded(name).splitlines()
    where = data.draw(st.integers(0, len(lines) - 1))
    junk = st.one_of(
        st.text(max_size=30), st.just(""), st.sampled_from(["[]", "1", "null", "{}", '"', "@", "a,b", "a\rb"])
    )
    lines[where] = data.draw(junk)
    with suppress(PoolwardError):
        parse(lines)


@pytest.mark.parametrize("what", ["version", "config", "databases"])
def test_console_with_a_header_and_no_rows_is_no_answer(what: str):
    before, _, rest = recorded("pooler-1.24.txt").partition(f"@{what}\n")
    header, _, rows = rest.partition("\n")
    after = rows[rows.index("@") :]
    with pytest.raises(Unreadable, match=f"SHOW {what.upper()}"):
        PoolerState.parse(f"{before}@{what}\n{header}\n{after}".splitlines())


def test_console_that_failed_is_unknown_and_not_empty():
    text = recorded("pooler-1.24.txt")
    start = text.index("@version\n")
    state = PoolerState.parse(f"{text[:start]}@console_failed\n@end\n".splitlines())
    assert state.console is None
    assert state.active


def test_database_that_was_not_asked_about_is_unknown_and_not_empty():
    lines = recorded("postgresql-17.txt").splitlines()
    at = lines.index("@database tracksolid-archive")
    state = ServerState.parse(lines[:at] + lines[at + 2 :])
    assert state.databases["tracksolid-archive"].inside is None
    assert "template0" not in state.databases


def test_what_pg_monitor_may_not_see_is_unknown_and_not_empty():
    state = ServerState.parse(recorded("postgresql-17-by-dsn.txt").splitlines())
    assert state.read_as == "monitor"
    assert {role.password for role in state.roles.values()} == {None}
    assert (state.hba, state.hba_loaded, state.hba_block) == (None, None, None)
    assert state.databases["tracksolid-archive"].inside is None
    assert "no pg_hba.conf entry" in state.databases["tracksolid-archive"].unread


def test_what_pg_monitor_sees_is_what_a_superuser_sees():
    state, whole = ServerState.parse(recorded("postgresql-17-by-dsn.txt").splitlines()), server_state()
    assert (state.max_connections, state.superuser_reserved_connections) == (100, 3)
    assert state.roles["pgbouncer_probe"] == replace(whole.roles["pgbouncer_probe"], password=None)
    assert {name for name, role in state.roles.items() if role.superuser} == {"postgres", "other_superuser"}
    assert state.databases["tracksolid_db"] == whole.databases["tracksolid_db"]
    assert sum(row["count"] for row in state.backends if row["application"] == "webhook_receiver") == 8


def test_nobody_connected_is_counted_as_nobody():
    lines = recorded("postgresql-17.txt").splitlines()
    end = lines.index("@passwords")
    server = json.loads("".join(lines[1:end])) | {"backends": None}
    assert ServerState.parse(["@server", json.dumps(server), *lines[end:]]).backends == ()
