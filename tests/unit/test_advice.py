"""What stops a deploy on the database side, and what an operator hears before it: on the answers of a real server."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from poolward import advice
from poolward.observed import HbaRule, ServerState
from tests.unit.samples import ADDRESSES, lab, server_state

POOLERS = ["pool1", "pool2"]
ONLY_POOLERS = {name: ADDRESSES[name] for name in POOLERS}


def problems(state: ServerState, **changes: Any) -> list[str]:
    fleet = lab(**changes)
    return [str(found) for found in advice.problems(fleet, fleet.servers["db1"], state, ONLY_POOLERS, POOLERS)]


def notes(state: ServerState, **changes: Any) -> list[str]:
    return list(advice.notes(lab(**changes).servers["db1"], state, ONLY_POOLERS))


def hba(*rules: HbaRule) -> ServerState:
    return replace(server_state(), hba=rules)


def rule(kind: str = "host", address: str = "192.0.2.0", mask: str = "255.255.255.0", **others: Any) -> HbaRule:
    return HbaRule(
        **{"line": 1, "type": kind, "databases": ("all",), "users": ("all",), "address": address, "netmask": mask,
           "method": "scram-sha-256", "error": None} | others
    )  # fmt: skip


def test_deployed_server_has_no_problem():
    assert problems(server_state()) == []


def test_standby():
    (said,) = problems(replace(server_state(), in_recovery=True))
    assert "is a standby" in said
    assert "name the primary" in said


def test_every_missing_database_is_named():
    fewer = {name: found for name, found in server_state().databases.items() if not name.startswith("tracksolid")}
    said = problems(replace(server_state(), databases=fewer))
    assert [sentence.splitlines()[0] for sentence in said] == [
        "db1: has no database 'tracksolid-archive' that accepts connections",
        "db1: has no database 'tracksolid_db' that accepts connections",
    ]


def test_broken_line_of_pg_hba():
    (said,) = problems(replace(server_state(), hba=(*server_state().hba, rule(line=9, error="invalid IP mask"))))
    assert "line 9 cannot be read by PostgreSQL: invalid IP mask" in said


def test_lines_are_not_asked_for_where_the_deploy_writes_them():
    assert problems(hba(), pgbouncer_manage_hba=True) == []


def test_missing_lines_are_given_to_be_copied():
    (said,) = problems(hba(rule("local")), pgbouncer_manage_hba=False)
    assert f"all {ADDRESSES['pool1']}/32 scram-sha-256  # pool1" in said
    assert f"all {ADDRESSES['pool2']}/32 scram-sha-256  # pool2" in said
    assert '"tracksolid-archive"' in said


def test_given_lines_are_enough():
    """Lines as printed, read back by hand: the same preflight has nothing left to say."""
    databases = ("postgres", "tracksolid-archive", "tracksolid_db")
    full = {"databases": databases, "mask": "255.255.255.255"}
    rules = [rule(address=ADDRESSES[name], **full) for name in POOLERS]
    assert problems(hba(*rules), pgbouncer_manage_hba=False) == []
    (said,) = problems(hba(rules[0]), pgbouncer_manage_hba=False)
    assert "# pool2" in said
    assert "# pool1" not in said


@pytest.mark.parametrize(
    ("sslmode", "kind", "stops"),
    [
        ("disable", "hostssl", True),
        ("prefer", "hostssl", False),
        ("disable", "host", False),
        ("require", "hostssl", False),
    ],
)
def test_server_that_wants_tls(sslmode, kind, stops):
    said = problems(hba(rule(kind)), pgbouncer_manage_hba=False, pgbouncer_settings={"server_tls_sslmode": sslmode})
    assert ["server_tls_sslmode is disable" in sentence for sentence in said] == ([True, True] if stops else [])


def test_pooler_whose_address_nobody_knows():
    fleet = lab(pgbouncer_manage_hba=False)
    found = advice.problems(fleet, fleet.servers["db1"], server_state(), {}, ["pool1"])
    assert 'give pool1 an "address"' in str(found[0])


def test_superuser_that_may_pass_is_a_warning():
    said = notes(server_state())
    assert any("postgres may pass through the pooler as superuser" in note for note in said)
    assert not any("as superuser" in note for note in notes(server_state(), pgbouncer_allow_superusers=[]))


def test_named_superuser_that_does_not_exist():
    assert any("names 'root'" in note for note in notes(server_state(), pgbouncer_allow_superusers=["root"]))


def test_roles_on_md5():
    state = server_state()
    md5 = replace(state, roles={**state.roles, "worker": replace(state.roles["worker"], password="md5")})
    said = [note for note in notes(md5) if "md5" in note]
    assert len(said) == 1
    assert "db1: worker still have md5 hashes" in said[0]
    assert [note for note in notes(state) if "md5" in note] == []


def test_rules_that_tell_applications_apart_by_address():
    (said,) = [note for note in notes(server_state()) if "by address" in note]
    assert "192.0.2.31" in said
    assert "192.0.2.32" in said
    assert ADDRESSES["pool1"] not in said
