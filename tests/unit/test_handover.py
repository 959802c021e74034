"""What is handed over to the owner of a server that is known by its connection string alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from poolward import auth, scram, templates, userlist
from poolward.declaration import LOOKED_AT_BY
from poolward.desired import pooler_config
from poolward.errors import PoolwardError, Refused
from poolward.fleet import Fleet
from poolward.handover import Handover
from poolward.observed import ServerState
from poolward.userlist import Secrets
from tests.unit.samples import TRIXIE, lab, recorded, server_state

DSN = "host=db1.internal user=monitor dbname=postgres"
COMMANDS = {"pgbouncer_auth_secret_command": ["vault", "auth"], "pgbouncer_probe_secret_command": ["vault", "probe"]}
BY_FILE = {"pgbouncer_auth_query": False, "pgbouncer_auth_users": {"shop": {"password_command": ["vault", "shop"]}}}
LOOKUPS = ("postgres", "tracksolid_db")
NETWORKS = {"pool1": "192.0.2.21", "pool2": "192.0.2.22"}


def hostless(**changes: Any) -> Fleet:
    return lab(postgresql_dsn=DSN, **{**COMMANDS, **changes})


def by_dsn() -> ServerState:
    """What a role with pg_monitor saw of a server that has everything; one database it may not enter."""
    return ServerState.parse(recorded("postgresql-17-by-dsn.txt").splitlines())


def without_roles(state: ServerState) -> ServerState:
    return replace(state, roles={name: role for name, role in state.roles.items() if not name.startswith("pgbouncer_")})


def handover(state: ServerState | None = None, lookups: tuple[str, ...] = LOOKUPS, **changes: Any) -> Handover:
    fleet = hostless(**changes)
    return Handover(fleet, fleet.servers["db1"], state or by_dsn(), lookups, NETWORKS)


def test_what_is_as_it_should_be_needs_nobody():
    found = handover()
    assert (found.lacking, found.problems()) == ([], [])


def test_everything_that_lacks_is_said_at_once_with_who_mends_it():
    state, closed = without_roles(by_dsn()), by_dsn().databases["tracksolid-archive"]
    found = replace(handover(state, (*LOOKUPS, "tracksolid-archive")), wrong_passwords=("pgbouncer_auth",))
    assert found.lacking == [
        "role pgbouncer_auth is missing",
        "role pgbouncer_probe is missing",
        f"tracksolid-archive: monitor cannot look into it ({closed.unread})",
        "pgbouncer_auth has another password than pgbouncer_auth_secret_command prints",
    ]
    (problem,) = found.problems()
    assert all(one in problem.message for one in found.lacking)
    assert "poolward handover" in problem.hint


def test_without_commands_nobody_knows_the_poolers_own_secrets():
    (problem,) = handover(pgbouncer_auth_secret_command=None, pgbouncer_probe_secret_command=None).problems()
    assert "pgbouncer_auth_secret_command and pgbouncer_probe_secret_command are not given" in problem.message
    (problem,) = handover(lookups=(), **BY_FILE, pgbouncer_probe_secret_command=None).problems()
    assert "pgbouncer_probe_secret_command is not given" in problem.message


def test_a_database_that_is_closed_to_the_probe_is_the_owners_to_open():
    state = by_dsn()
    inside = state.databases["tracksolid_db"].inside
    assert inside
    closed = replace(inside, may_connect={"pgbouncer_probe": False})
    databases = {**state.databases, "tracksolid_db": replace(state.databases["tracksolid_db"], inside=closed)}
    found = handover(replace(state, databases=databases), (), **BY_FILE)
    assert found.lacking == ["tracksolid_db: pgbouncer_probe may not connect"]
    assert 'GRANT CONNECT ON DATABASE "tracksolid_db" TO "pgbouncer_probe";' in found.script


def test_a_database_that_is_not_there_is_an_error():
    with pytest.raises(PoolwardError, match="no database 'elsewhere'"):
        _ = handover(lookups=("elsewhere",)).lacking


def test_the_script_is_the_deploys_own_sql_in_one_transaction_each():
    script = handover().script
    assert script.count("\nBEGIN;\n") == script.count("\nCOMMIT;\n") == 3
    assert script.count(templates.text("probe_setup.sql")) == 1
    before, after = templates.text("auth_setup.sql").split(":'lookup_source'")
    assert script.count(before) == script.count(after) == len(LOOKUPS)
    assert script.count(templates.sql_literal(auth.lookup_source(hostless().servers["db1"]))) == len(LOOKUPS)
    assert [line for line in script.splitlines() if line.startswith("\\connect")] == [
        f'\\connect -reuse-previous=on "dbname={name}"' for name in LOOKUPS
    ]
    assert "more_rights 1" not in script
    assert "IF NOT (SELECT rolsuper FROM" in script
    assert "-- Superusers that may log in there: postgres, other_superuser." in script


def owning(what: str) -> ServerState:
    """The server, whose auth role holds something it should not in the database postgres."""
    state = by_dsn()
    inside = state.databases["postgres"].inside
    assert inside
    owns = replace(state.databases["postgres"], inside=replace(inside, other_rights=(what,)))
    return replace(state, databases={**state.databases, "postgres": owns})


def test_rights_the_auth_role_should_not_have_are_taken_in_that_database_alone():
    script = handover(owning("table x")).script
    assert script.count("\\set more_rights 1") == script.count("\\unset more_rights") == 1
    assert script.index('"dbname=postgres"') < script.index("more_rights 1") < script.index('"dbname=tracksolid_db"')


def test_a_name_of_somebody_elses_ends_no_comment():
    """A superuser runs the script, and anybody may name a table and grant it to the auth role."""
    script = handover(owning("table x\r\nDROP TABLE y; --\n")).script
    assert script.count("DROP TABLE y") == 1
    assert next(line for line in script.splitlines() if "DROP TABLE y" in line).startswith("--   postgres: ")


def test_who_looks_on_gets_into_a_database_that_was_closed_to_it():
    state = by_dsn()
    script = handover(state, ("tracksolid-archive",)).script
    assert f'GRANT CONNECT ON DATABASE "tracksolid-archive" TO {state.read_as};' in script


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("a=b", '"dbname=a=b"'),
        ("it's", r'"dbname=it\'s"'),
        ('q"x', '"dbname=q""x"'),
        ("two words", "\"dbname='two words'\""),
    ],
)
def test_a_database_of_any_name_is_connected_to(name: str, written: str):
    state = by_dsn()
    state = replace(state, databases={**state.databases, name: state.databases["postgres"]})
    assert f"\\connect -reuse-previous=on {written}\n" in handover(state, (name,)).script


def test_without_auth_query_createrole_is_enough_and_there_is_no_function():
    script = handover(without_roles(by_dsn()), (), **BY_FILE).script
    assert "IF NOT (SELECT rolsuper OR rolcreaterole FROM" in script
    assert "user_lookup" not in script
    assert "pgbouncer_auth " not in script
    assert 'GRANT CONNECT ON DATABASE "tracksolid_db" TO "pgbouncer_probe";' in script
    assert [line for line in script.splitlines() if "\\password" in line] == [
        r"""\echo '  \\password "pgbouncer_probe"    (what pgbouncer_probe_secret_command prints)'"""
    ]


def test_lines_of_pg_hba_conf_are_said_where_they_lack_or_cannot_be_seen():
    unseen, seen = handover(), handover(server_state())
    assert '--   host "postgres","tracksolid-archive","tracksolid_db" all 192.0.2.21/32 scram-sha-256' in unseen.script
    assert "cannot be read from here" in unseen.script
    shut = replace(seen, state=replace(server_state(), hba=()))
    assert "pg_hba.conf lacks these lines" in shut.script
    assert (unseen.pending, seen.pending, shut.pending) == (False, False, True)


def test_the_way_back_is_for_what_is_there():
    back = handover().way_back
    assert back.count(templates.text("auth_remove.sql")) == 2
    assert back.count(templates.text("roles_remove.sql")) == 1
    assert handover().removable
    nothing = replace(without_roles(by_dsn()), databases={})
    assert not handover(nothing).removable


def test_the_owner_of_a_managed_server_cannot_quieten_its_log():
    state = by_dsn()
    loud = replace(state, roles=state.roles | {"pgbouncer_probe": replace(state.roles["pgbouncer_probe"], settings=())})
    other = replace(state.roles["pgbouncer_probe"], settings=("work_mem=1GB",))
    assert auth.differences(hostless().servers["db1"], loud, ()) == []
    assert auth.differences(lab().servers["db1"], loud, ()) != []
    assert auth.differences(
        hostless().servers["db1"], replace(state, roles=state.roles | {"pgbouncer_probe": other}), ()
    )


def test_a_connection_string_of_the_inventory_is_all_there_is_and_one_of_a_run_only_looks():
    alone, looked_at = hostless().servers["db1"], lab(**{LOOKED_AT_BY: DSN}).servers["db1"]
    assert (alone.dsn, alone.hostless, alone.deployable, alone.manage_hba) == (DSN, True, True, False)
    assert (looked_at.dsn, looked_at.hostless, looked_at.deployable, looked_at.manage_hba) == (DSN, False, False, True)
    both = lab(postgresql_dsn="service=prod", **{LOOKED_AT_BY: DSN}).servers["db1"]
    assert (both.dsn, both.hostless) == (DSN, True)


def test_verifiers_nobody_can_read_are_refused():
    with pytest.raises(Refused, match="nobody can read the verifiers of db1 by its connection string"):
        hostless(pgbouncer_auth_users={"shop": {"verifier_from": "db1"}})


def test_a_password_stands_as_it_is_where_the_servers_verifier_cannot_be_had():
    """PgBouncer could let a client in by another verifier, and then not log in to the server."""
    config = pooler_config(hostless(**BY_FILE), "pool1", TRIXIE)
    own = {"db1": Secrets({"pgbouncer_probe": "the probe's"}, {})}
    assert userlist.entries(config, own, {"shop": "sesame"}, None) == {
        "pgbouncer_probe": "the probe's",
        "shop": "sesame",
    }
    assert config.userlist == {"pgbouncer_probe": "the secret of the poolers", "shop": "its password"}
    with_host = pooler_config(lab(**BY_FILE), "pool1", TRIXIE)
    verifier = userlist.entries(with_host, own, {"shop": "sesame"}, None)["shop"]
    assert scram.matches(verifier, "sesame")


def test_the_lease_is_kept_where_a_rollback_comes_anyway():
    assert lab().keeper == "db1"
    assert hostless().keeper == "app1"
    assert hostless(services=[]).keeper == "pool1"


def test_a_run_for_some_hosts_keeps_the_lease_where_any_other_looks_for_it():
    for fleet in (lab(), hostless()):
        narrowed = fleet.with_services_on(["app2"])
        assert narrowed.keeper == fleet.keeper
        assert {one.host for one in narrowed.services} == {"app2"} | ({"app1"} if fleet.keeper == "app1" else set())
        assert (narrowed.poolers, narrowed.servers) == (fleet.poolers, fleet.servers)
