"""A server by its connection string: what is refused of one, and what is said to be unseen through it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import pytest

from poolward import auth, budget, conninfo, unseen, verify
from poolward.declaration import LOOKED_AT_BY
from poolward.fleet import Fleet
from poolward.observed import ServerState
from poolward.settings import Version
from tests.unit.samples import ADDRESSES, BOOKWORM, TRIXIE, lab, recorded, server_state

DSN = "host=db1.internal user=monitor dbname=postgres"


@dataclass(frozen=True)
class Seen:
    """What a survey of the lab saw."""

    fleet: Fleet
    servers: Mapping[str, ServerState]

    def addresses(self, server: str) -> Mapping[str, str]:  # noqa: ARG002 - the survey's own signature
        return ADDRESSES

    def versions(self) -> Mapping[str, Version | None]:
        return {"pool1": TRIXIE, "pool2": BOOKWORM}

    def opened(self, server: str) -> Mapping[str, int]:  # noqa: ARG002
        return {}


def by_dsn(state: ServerState | None = None, **changes: object) -> Seen:
    monitor = ServerState.parse(recorded("postgresql-17-by-dsn.txt").splitlines())
    return Seen(lab(**{LOOKED_AT_BY: DSN}, **changes), {"db1": state or monitor})


def whats(seen: Seen) -> list[str]:
    return [f"{one.where} {one.what}" for one in unseen.of(seen)]


@pytest.mark.parametrize(
    "dsn",
    [
        "host=db1 password=canary",
        "host=db1 password = 'can ary'",
        "postgresql://me:canary@db1/postgres",
        "postgres://db1/postgres?user=me&password=canary",
        "host=db1 sslkey=/k sslpassword=canary",
        "host=db1 password=canary canary",
        "canary",
        "",
        ["host=canary"],
        None,
    ],
)
def test_a_connection_string_with_a_secret_or_that_is_none_is_refused_and_not_repeated(dsn: object):
    found = conninfo.problem(dsn)
    assert found
    assert "canary" not in " ".join(found)


@pytest.mark.parametrize(
    "dsn", [DSN, "postgresql://me@db1,db2:5433/postgres?target_session_attrs=primary", "service=prod", "host=/run/x"]
)
def test_libpqs_own_ways_of_saying_it_are_taken(dsn: str):
    assert conninfo.problem(dsn) is None
    assert lab(postgresql_dsn=dsn).servers["db1"].dsn == dsn


def test_on_the_host_everything_is_seen():
    assert unseen.of(Seen(lab(), {"db1": server_state()})) == []


def test_what_pg_monitor_did_not_see_is_said_one_by_one():
    assert whats(by_dsn()) == [
        "db1 what kind of password each role has (SCRAM, md5, none)",
        "db1 whether the stored passwords are the poolers' own",
        "db1 the rules of pg_hba.conf, whether they let the poolers in",
        "db1 pg_hba.conf itself: Poolward's own lines, and whether it was changed after PostgreSQL last read it",
        "db1 schema, lookup function and grants in tracksolid-archive",
        "pool1 userlist.txt, whether it holds the secret of pgbouncer_auth; a login through every entry",
        "pool2 userlist.txt, whether it holds the secret of pgbouncer_auth; a login through every entry",
    ]


def test_with_the_secrets_from_commands_the_poolers_are_seen_whole():
    seen = by_dsn(pgbouncer_auth_secret_command=["vault"], pgbouncer_probe_secret_command=["vault"])
    assert not [line for line in whats(seen) if line.startswith("pool")]


def test_what_a_superuser_sees_by_its_connection_string_is_not_called_unseen():
    state = replace(server_state(), hba_loaded=None, hba_block=None)
    assert [line.split(":")[0] for line in whats(by_dsn(state))] == [
        "db1 whether the stored passwords are the poolers' own",
        "db1 pg_hba.conf itself",
        "pool1 userlist.txt, whether it holds the secret of pgbouncer_auth; a login through every entry",
        "pool2 userlist.txt, whether it holds the secret of pgbouncer_auth; a login through every entry",
    ]


def test_what_was_not_seen_is_neither_a_difference_nor_a_finding():
    seen = by_dsn()
    server, state = seen.fleet.servers["db1"], seen.servers["db1"]
    assert auth.differences(server, state, ["postgres", "tracksolid-archive"]) == []
    found = verify.server_findings(seen.fleet, server, state, seen.versions(), ADDRESSES, secrets_match=None)
    assert [(finding.what, finding.ok) for finding in found] == [
        ("roles and lookup function", True), ("pgbouncer_auth has nothing else", True), ("primary", True),
    ]  # fmt: skip
    assert found[0].note == "in postgres, tracksolid_db"


def test_the_bill_by_a_connection_string_is_the_bill():
    monitor, superuser = by_dsn(), Seen(lab(), {"db1": server_state()})
    mine, whole = budget.bills(monitor)["db1"], budget.bills(superuser)["db1"]
    assert (mine.has, [line.connections for line in mine.takes]) == (
        whole.has,
        [line.connections for line in whole.takes],
    )


def test_verifiers_that_only_the_host_tells_are_named_for_each_pooler_that_needs_them():
    users = {"worker": {"verifier_from": "db1"}, "anna": {"password_command": ["vault"]}}
    commands = {"pgbouncer_auth_secret_command": ["vault"], "pgbouncer_probe_secret_command": ["vault"]}
    told = [what for what in whats(by_dsn(pgbouncer_auth_users=users, **commands)) if what.startswith("pool")]
    assert told == [
        f"{pooler} userlist.txt, whether it holds the verifiers db1 has of worker" for pooler in ("pool1", "pool2")
    ]


def test_without_auth_query_the_probe_alone_has_a_secret_to_be_had():
    users = {"worker": {"verifier_from": "db1"}}
    alone = {"pgbouncer_auth_query": False, "pgbouncer_auth_users": users}
    verifiers = "userlist.txt, whether it holds the verifiers db1 has of pgbouncer_probe, worker"
    told = [what for what in whats(by_dsn(**alone)) if what.startswith("pool1")]
    assert told == [f"pool1 {verifiers}", "pool1 a login through every entry"]
    told = [what for what in whats(by_dsn(**alone, pgbouncer_probe_secret_command=["vault"])) if "pool1" in what]
    assert told == [f"pool1 {verifiers}"]
