"""What stands in userlist.txt: whose secret it is, byte for byte, and that it stays the same from run to run."""

from __future__ import annotations

import base64

import pytest

from poolward import render, scram
from poolward.desired import pooler_config
from poolward.reparse import parse_userlist
from poolward.userlist import Secrets, entries, outdated
from tests.unit.samples import TRIXIE, lab

SALT = base64.b64encode(b"0123456789abcdef").decode()
AUTH, PROBE = "pgbouncer_auth", "pgbouncer_probe"
USERS = {"worker": {"verifier_from": "db1"}, "anna": {"password_command": ["vault"]}}
PROBES = scram.verifier("probe-canary")
WORKERS = scram.verifier("worker-canary")
SERVER = Secrets({AUTH: "auth-canary", PROBE: "probe-canary"}, {PROBE: PROBES, "worker": WORKERS})


def made(live: str | None = None, server: Secrets = SERVER, password: str = "anna-canary", **changes) -> dict[str, str]:
    config = pooler_config(lab(**{"pgbouncer_auth_users": USERS, **changes}), "pool1", TRIXIE)
    return entries(config, {"db1": server}, {"anna": password}, live)


def test_the_poolers_own_login_is_in_clear_and_a_roles_verifier_is_the_servers():
    found = made()
    assert set(found) == {AUTH, "worker", "anna"}
    assert (found[AUTH], found["worker"]) == ("auth-canary", WORKERS)


def test_without_auth_query_the_probe_is_let_in_by_the_servers_verifier():
    server = Secrets({PROBE: "probe-canary"}, SERVER.verifiers)
    found = made(server=server, pgbouncer_auth_query=False)
    assert set(found) == {PROBE, "worker", "anna"}
    assert found[PROBE] == PROBES


def test_a_password_has_a_verifier_of_its_own_that_stays_as_long_as_the_password():
    first, other = made(), made()
    assert first["anna"] != other["anna"]  # another salt
    assert scram.matches(first["anna"], "anna-canary")
    live = render.userlist_txt(first)
    assert made(live) == first
    changed = made(live, password="changed")
    assert scram.matches(changed["anna"], "changed")
    assert not scram.matches(changed["anna"], "anna-canary")


def test_a_password_of_a_role_has_the_servers_verifier_whatever_the_file_holds():
    stored = scram.verifier("anna-canary")
    live = render.userlist_txt({"anna": scram.verifier("anna-canary")})
    server = Secrets(SERVER.own, {**SERVER.verifiers, "anna": stored})
    assert made(live, server)["anna"] == stored


@pytest.mark.parametrize("live", ["", '"anna" "open', ';"anna" "x"', '"anna" "anna-canary"', f'"anna" "{SALT}"'])
def test_a_file_that_is_of_no_use_gives_a_new_verifier(live: str):
    assert scram.matches(made(live)["anna"], "anna-canary")


def test_what_is_not_known_is_left_out_and_never_empty():
    config = pooler_config(lab(pgbouncer_auth_users=USERS), "pool1", TRIXIE)
    assert entries(config, {"db1": Secrets({AUTH: None, PROBE: None}, {})}, {}, None) == {}


def test_what_the_file_needs_fits_into_it():
    awkward = 'we"ird é'
    server = Secrets(SERVER.own, {awkward: WORKERS})
    wanted = made(server=server, pgbouncer_auth_users={awkward: {"verifier_from": "db1"}})
    assert wanted[awkward] == WORKERS
    assert parse_userlist(render.userlist_txt(wanted)) == wanted


def test_only_another_secret_of_the_poolers_own_role_is_outdated():
    config = pooler_config(lab(pgbouncer_auth_users=USERS), "pool1", TRIXIE)
    wanted = made()
    assert outdated(config, wanted, render.userlist_txt(wanted)) == []
    assert outdated(config, wanted, render.userlist_txt({**wanted, "anna": "another"})) == []
    assert outdated(config, wanted, render.userlist_txt({**wanted, AUTH: "another"})) == [AUTH]
    assert outdated(config, wanted, None) == []


def test_secrets_show_none_of_themselves():
    assert "canary" not in repr(SERVER)
    assert PROBES not in repr(SERVER)
    assert SERVER.complete
    assert SERVER.differing == [AUTH]  # it has no verifier there
    assert not Secrets({AUTH: None}, {}).complete
