"""Whose the poolers' role is, and whom another password of it would leave behind."""

from __future__ import annotations

from dataclasses import replace

import pytest

from poolward import auth_role, scram
from poolward.fleet import Server
from poolward.observed import ServerState
from poolward.userlist import Secrets
from tests.unit.samples import lab, server_state

AUTH = "pgbouncer_auth"
MINE, OTHERS = scram.verifier("mine"), scram.verifier("theirs")


def server(**changes: object) -> Server:
    return replace(lab().servers["db1"], **changes)


def without_function(**attributes: object) -> ServerState:
    """What the lab answered, the lookup function gone, the role with other attributes."""
    state = server_state()
    roles = {**state.roles, AUTH: replace(state.roles[AUTH], **attributes)}
    databases = {
        name: replace(found, inside=found.inside and replace(found.inside, function=None))
        for name, found in state.databases.items()
    }
    return replace(state, roles=roles, databases=databases)


def told(wanted: Server, state: ServerState, own: Secrets | None) -> str:
    return "\n".join(map(str, auth_role.somebody_elses(wanted, state, own)))


NO_SECRET = Secrets({AUTH: None}, {AUTH: OTHERS})


def test_a_role_whose_function_a_deploy_wrote_is_ours_whatever_became_of_it():
    state = server_state()
    raised = replace(state, roles={**state.roles, AUTH: replace(state.roles[AUTH], superuser=True)})
    assert told(server(), raised, NO_SECRET) == ""


def test_a_role_that_is_not_there_yet_is_nobodys():
    assert told(server(auth_role="new"), server_state(), Secrets({"new": None}, {})) == ""


def test_a_hand_made_role_is_not_taken_over():
    """Another pooler logs in with it."""
    assert "has a role pgbouncer_auth that no deploy made" in told(server(), without_function(), NO_SECRET)
    # A hand-made lookup function has the very name of PgBouncer's documentation.
    state = server_state()
    by_hand = {
        name: replace(
            found,
            inside=found.inside
            and replace(
                found.inside,
                function=found.inside.function and replace(found.inside.function, source="SELECT … FROM pg_shadow"),
            ),
        )
        for name, found in state.databases.items()
    }
    assert "that no deploy made" in told(server(), replace(state, databases=by_hand), NO_SECRET)


def test_an_application_role_is_not_taken_over():
    assert "has a role worker that" in told(
        server(auth_role="worker"), server_state(), Secrets({"worker": None}, {"worker": OTHERS})
    )


@pytest.mark.parametrize("own", [NO_SECRET, Secrets({AUTH: "mine"}, {AUTH: MINE}), None])
def test_a_superuser_never_is(own: Secrets | None):
    assert "is a superuser" in told(server(), without_function(superuser=True), own)
    assert "is a superuser" in told(server(auth_role="postgres"), server_state(), own)


def test_a_secret_on_the_host_says_it_is_ours():
    assert told(server(), without_function(), Secrets({AUTH: "mine"}, {AUTH: OTHERS})) == ""


def test_the_operators_secret_takes_over_only_the_role_that_has_it():
    wanted = server(auth_secret_command=("cat", "secret"))
    assert told(wanted, without_function(), Secrets({AUTH: "mine"}, {AUTH: MINE})) == ""
    assert "that no deploy made" in told(wanted, without_function(), Secrets({AUTH: "mine"}, {AUTH: OTHERS}))


def test_a_new_password_is_for_all_poolers_or_for_none():
    fleet, wanted = lab(), server()
    assert auth_role.served_from_outside(fleet, wanted, ["pool1", "pool2"]) == []
    outside = auth_role.served_from_outside(fleet, wanted, ["pool1"])
    assert outside == ["pool2"]
    rotated = Secrets({AUTH: "mine"}, {AUTH: OTHERS})
    (problem,) = auth_role.left_behind(wanted, rotated, outside)
    assert "pgbouncer_auth would get another password, and pool2, outside this run" in str(problem)
    assert "another password" in str(auth_role.left_behind(wanted, NO_SECRET, outside)[0])
    assert auth_role.left_behind(wanted, rotated, []) == []
    assert auth_role.left_behind(wanted, Secrets({AUTH: "mine"}, {AUTH: MINE}), outside) == []
    assert auth_role.left_behind(wanted, Secrets({AUTH: None}, {AUTH: ""}), outside) == []
