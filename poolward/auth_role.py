"""What speaks against setting the role the poolers look verifiers up with: it is somebody else's, or in use. Pure."""

from __future__ import annotations

from collections.abc import Collection

from poolward import auth
from poolward.errors import Problem
from poolward.fleet import Fleet, Server
from poolward.observed import ServerState
from poolward.userlist import Secrets


def made_by_a_deploy(server: Server, state: ServerState) -> bool:
    """Whether the auth role is known by the lookup function, as only a deploy writes it, which it may execute."""
    functions = [found.inside.function for found in state.databases.values() if found.inside and found.inside.function]
    return any(server.auth_role in function.grantees and auth.NOBODY in function.source for function in functions)


def unknown(server: Server, state: ServerState) -> bool:
    """Whether the server has a role of the auth role's name that does not show that a deploy made it."""
    return server.auth_query and server.auth_role in state.roles and not made_by_a_deploy(server, state)


def somebody_elses(server: Server, state: ServerState, own: Secrets | None) -> list[Problem]:
    """Why the auth role cannot be had, where it is one that no deploy made.

    A deploy changes its password and takes its rights, which would cost the cluster a superuser, or another pooler its
    way in. A secret of it on the host says that it is ours, and so does one of the operator's that is the role's
    already. `own` is None where the server's owner alone changes it.
    """
    if not unknown(server, state):
        return []
    name = server.auth_role
    another = 'pgbouncer_auth_role = "…" names one that nothing else uses'
    if state.roles[name].superuser:
        return [Problem(server.name, f"its role {name} is a superuser, and no deploy made it", another)]
    if own is None or (own.own[name] and not (server.auth_secret_command and name in own.differing)):
        return []
    return [
        Problem(
            server.name,
            f"has a role {name} that no deploy made: it would get another password and lose its rights",
            f"{another}; or pgbouncer_auth_secret_command prints the password it has, and it is taken over with that",
        )
    ]


def served_from_outside(fleet: Fleet, server: Server, run: Collection[str]) -> list[str]:
    """The poolers of a server that a run does not configure; `run` are those it does."""
    return [
        name
        for name, pooler in fleet.poolers.items()
        if name not in run and any(entry.server == server.name for entry in pooler.entries)
    ]


def left_behind(server: Server, own: Secrets, outside: Collection[str]) -> list[Problem]:
    """Why a run cannot change the auth role's password: poolers outside of it would go on with the old one.

    A role that is still to be made leaves nobody behind, and the probe's password serves no client.
    """
    name = server.auth_role
    if not (server.auth_query and outside and name in own.differing and own.verifiers.get(name)):
        return []
    return [
        Problem(
            server.name,
            f"{name} would get another password, and {', '.join(outside)}, outside this run, would go on with the old "
            "one: soon nobody could log in there",
            "deploy every pooler of this server in one run, without --limit",
        )
    ]
