"""What a server's scan printed, read back: half of it is nothing, and a sign that stays is one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from poolward.observed import Endpoint, Unreadable
from poolward.observed.scan import LoginSetting, Scan, Statements


def sign(**changes: Any) -> dict[str, Any]:
    row = {"pid": 7, "database": "shop", "role": "web", "address": "::ffff:10.0.0.31", "port": 40000, "seconds": 1.5}
    return {**row, "what": "LISTEN", "detail": "", "source": "pg_stat_activity", "count": 1, **changes}


def printed(
    samples: list[list[dict[str, Any]]], temporary: list[dict[str, Any]] | None = None, statements: str = ""
) -> list[str]:
    settings = {"track_activities": True, "login_settings": [{"role": "web", "database": "", "name": "work_mem"}]}
    return [
        "@temporary",
        json.dumps(temporary or []),
        "@samples",
        *(json.dumps({"sessions": 40 + number, "signs": signs}) for number, signs in enumerate(samples)),
        "@temporary",
        json.dumps([]),
        "@login_settings",
        json.dumps(settings),
        "@statements",
        *([statements] if statements else []),
        "@end",
    ]


def test_a_sign_in_many_samples_is_one_as_it_was_when_largest() -> None:
    still = sign(what="idle in transaction")
    scan = Scan.parse(printed([[{**still, "seconds": 3.0}], [{**still, "seconds": 12.0}], []]), 3)
    (found,) = scan.signs
    assert (found.seconds, found.peer) == (12.0, Endpoint("10.0.0.31", 40000))
    assert (scan.peak, scan.statements) == (42, None)
    assert scan.login_settings == (LoginSetting("web", "", "work_mem"),)


def test_statements_are_there_only_where_the_server_let_them_be_read() -> None:
    row = {"what": "SET", "detail": "search_path", "role": "web", "database": "shop", "calls": 7}
    info = {"dealloc": 2, "stats_reset": "2026-01-31T10:00:00+00:00"}
    read = Scan.parse(printed([[]], statements=json.dumps({"info": info, "track_utility": True, "counted": [row]})), 1)
    assert read.statements is not None
    assert (read.statements.since, read.statements.evictions, read.statements.counted[0].calls) == ("2026-01-31", 2, 7)
    before_14 = Scan.parse(
        printed([[]], statements=json.dumps({"info": None, "track_utility": False, "counted": []})), 1
    )
    assert before_14.statements == Statements((), "", 0, False)


def test_poolwards_own_roles_can_be_left_out() -> None:
    own = [sign(role="pgbouncer_auth"), sign()]
    assert [one.role for one in Scan.parse(printed([own]), 1).without({"pgbouncer_auth"}).signs] == ["web"]


@pytest.mark.parametrize(
    "lines",
    [
        printed([[]])[:-1],
        printed([[], []]),
        [line for line in printed([[]]) if line != "@login_settings"],
        printed([[sign(what="LISTEN to me")]]),
        printed([[sign(address="app1")]]),
    ],
    ids=["broken off", "a sample too many", "no settings", "no known sign", "no address"],
)
def test_half_an_answer_is_none(lines: list[str]) -> None:
    with pytest.raises(Unreadable):
        Scan.parse(lines, 1)
