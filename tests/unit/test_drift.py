"""Drift by name: what somebody changed in a file, for a role, in the unit or in our block of pg_hba.conf."""

from __future__ import annotations

from dataclasses import replace

import pytest

from poolward import apply, edits, verify
from poolward.desired import USERLIST
from poolward.observed import Console, ServerState
from poolward.settings import Version
from tests.unit.samples import ADDRESSES, BOOKWORM, TRIXIE, config, lab, pooler_state, server_state

INI = config("pool1").ini
HALF = "a RELOAD of it takes only what stands above"
UNKNOWN = "which PgBouncer does not know"

# what was edited in pgbouncer.ini → (how it is now, how it should be)
EDITS: dict[str, tuple[str, tuple[str, str]]] = {
    "a setting": (
        INI.replace("reserve_pool_timeout = 3", "reserve_pool_timeout = 7"),
        ("reserve_pool_timeout = 7", "reserve_pool_timeout = 3"),
    ),
    "a setting left out": (
        INI.replace("reserve_pool_timeout = 3\n", ""),
        ("no reserve_pool_timeout", "reserve_pool_timeout = 3"),
    ),
    "a setting beside": (INI + "server_lifetime = 60\n", ("server_lifetime = 60", "as declared")),
    "a name misspelt": (
        INI.replace("query_wait_timeout", "query_wait_timout"),
        (f"query_wait_timout, {UNKNOWN}; no query_wait_timeout; {HALF}", "query_wait_timeout = 15"),
    ),
    "a line that is none": (
        INI.replace("query_wait_timeout =", "query_wait_timeout"),
        (f"line 24 cannot be read; no query_wait_timeout; {HALF}", "query_wait_timeout = 15"),
    ),
    "a key of an entry": (
        INI.replace("max_db_connections=25", "max_db_connections=99"),
        ("tracksolid_db.max_db_connections = 99", "tracksolid_db.max_db_connections = 25"),
    ),
    "a role's limit": (
        "[users]\nworker = max_user_connections=7\n" + INI, ("[users] worker.max_user_connections = 7", "as declared")
    ),
    "comments": (f"# mine\n{INI}", ("differs in comments or order", "as declared")),
}  # fmt: skip


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_is_named_with_its_old_and_new_value(edit: str):
    found, told = EDITS[edit]
    assert edits.of_ini(found, INI) == told


@pytest.mark.parametrize(
    "found",
    [
        INI.replace("max_db_connections=25", "max_db_connections=25 password=canary"),
        INI.replace("max_db_connections=25", "max_db_connections=25 pasword=canary"),
        INI + "auth_ldap_options = ldapbindpasswd=canary\n",
        INI + "pasword = canary\n",
        INI + "canary\n",
    ],
)
def test_what_may_be_a_secret_is_named_and_not_shown(found: str):
    now, then = edits.of_ini(found, INI)
    assert now != "differs in comments or order"
    assert "canary" not in now + then


def test_many_edits_are_counted():
    now, then = edits.of_ini("[pgbouncer]\n", INI)
    assert now.count(";") == then.count(";") == 6
    assert "more" in now


def test_lines_of_a_file_are_named():
    was = "host all app 10.0.0.0/8 scram-sha-256\nhost all all 0.0.0.0/0 trust\n"
    meant = "# ours\nhost all app 10.0.0.0/8 scram-sha-256\nhost all all 10.0.0.0/8 scram-sha-256\n"
    assert edits.of_lines(was, meant) == (
        "'host all all 0.0.0.0/0 trust'",
        "'host all all 10.0.0.0/8 scram-sha-256'",
    )
    assert edits.of_lines("", "x\n") == ("without 'x'", "'x'")


def console(**limits: dict[str, str]) -> Console:
    """What 1.24 says of these roles, in the order of its rows; sizes come padded to nine places."""
    found = pooler_state("pool1").console
    assert found is not None
    nothing = {"pool_size": "", "reserve_pool_size": "", "pool_mode": "", "max_user_connections": "0"}
    return replace(found, users=tuple({"name": name, **nothing, **shown} for name, shown in limits.items()))


def told(shown: Console, **users: dict[str, object]) -> list[str]:
    return [str(one) for one in apply.user_differences(config("pool1", pgbouncer_users=users), shown)]


def test_a_size_comes_padded_and_is_repeated_for_the_roles_below():
    nine, five = "        9", "        5"
    shown = console(app={"pool_size": nine}, etl={"pool_size": nine}, web={"pool_size": five})
    assert told(shown, app={"pool_size": 9}, web={"pool_size": 5}) == []
    assert told(shown, app={"pool_size": 9}) == ["web.pool_size: 5 → (none)"]
    assert told(shown, app={"pool_size": 8}) == ["app.pool_size: 9 → 8", "web.pool_size: 5 → (none)"]
    assert told(replace(shown, version=Version(1, 26, 1)), app={"pool_size": 9}, web={"pool_size": 5}) == [
        "etl.pool_size: 9 → (none)"
    ]


def test_limits_of_roles_are_named_with_both_values():
    shown = console(app={"max_user_connections": "7", "pool_mode": "session"})
    assert told(shown, app={"max_user_connections": 5}) == [
        "app.pool_mode: session → (none)",
        "app.max_user_connections: 7 → 5",
    ]
    assert told(shown, etl={"pool_size": 2})[0] == "limits of role etl: none → as declared"


def service(**properties: str) -> tuple[str, ...]:
    state = pooler_state("pool1")
    changed = replace(state, unit={**state.unit, **properties})
    findings = verify.pooler_findings(config("pool1"), changed, userlist=[])
    return next(finding.wrong for finding in findings if finding.what == "service")


OVERRIDE = "/etc/systemd/system/pgbouncer.service.d/zz.conf"
OURS = "/etc/systemd/system/pgbouncer.service.d/poolward.conf"


def test_an_override_of_the_unit_is_named_with_its_file():
    by = f"({OVERRIDE}: remove it, then systemctl daemon-reload)"
    starts = "{ path=/usr/sbin/pgbouncer ; argv[]=/usr/sbin/pgbouncer -v /tmp/mine.ini ; ignore_errors=no }"
    assert service(DropInPaths=f"{OURS} {OVERRIDE}", ExecStart=starts) == (
        f"ExecStart: /usr/sbin/pgbouncer -v /tmp/mine.ini → /usr/sbin/pgbouncer /etc/pgbouncer/pgbouncer.ini {by}",
    )
    assert service(DropInPaths=f"{OURS} {OVERRIDE}", LimitNOFILESoft="1024") == (
        f"LimitNOFILE at the next start: 1024 → 2692 {by}",
    )


def test_an_override_of_something_else_is_the_operators():
    assert service(DropInPaths=f"{OURS} {OVERRIDE}", LimitNOFILESoft="infinity") == ()


def access(*block: str) -> list[str]:
    state: ServerState = replace(server_state(), hba_block=block)
    versions = {"pool1": TRIXIE, "pool2": BOOKWORM}
    fleet = lab()
    found = verify.server_findings(fleet, fleet.servers["db1"], state, versions, ADDRESSES, secrets_match=True)
    return [wrong for finding in found if finding.what == "pg_hba.conf" for wrong in finding.wrong]


def test_our_block_in_pg_hba_conf_is_compared_line_by_line():
    block = server_state().hba_block
    assert block is not None
    assert access(*block) == []
    stray = "host all all 0.0.0.0/0 trust"
    assert access(*block, stray) == [f"Poolward's block has a line that no pooler needs: {stray}"]
    assert access(*block[:-1]) == [f"Poolward's block lacks the line: {block[-1]}"]


def test_another_package_than_the_declared_one_is_found() -> None:
    state = pooler_state("pool1")
    declared = config("pool1", pgbouncer_version="1.24.1-1+deb13u9")
    found = verify.pooler_findings(declared, state, userlist=[])
    assert f"pgbouncer_version: {state.package_version} → 1.24.1-1+deb13u9" in found[0].wrong


@pytest.mark.parametrize(
    ("declared", "bound", "said"),
    [
        ("10.0.0.5, 10.0.0.6", ("10.0.0.5:6432",), ("nothing listens on 10.0.0.6 port 6432",)),
        ("10.0.0.5, ::1", ("10.0.0.5:6432",), ("nothing listens on ::1 port 6432",)),
        ("10.0.0.5", ("0.0.0.0:6432",), ()),
        ("::1", ("[::1]:6432",), ()),
        ("localhost", ("127.0.0.1:6432",), ()),
        ("*", ("10.0.0.5:6433",), ("nothing listens on TCP port 6432",)),
    ],
)
def test_every_declared_address_has_its_listener(declared: str, bound: tuple[str, ...], said: tuple[str, ...]):
    wanted = config("pool1", pgbouncer_settings={"listen_addr": declared})
    state = replace(pooler_state("pool1"), listeners=(*bound, "/var/run/postgresql/.s.PGSQL.6432"))
    (found,) = (one for one in verify.pooler_findings(wanted, state, userlist=()) if one.what == "listeners")
    assert found.wrong == said


def test_a_rules_file_that_the_pooler_cannot_read_is_named():
    wanted = config("pool1", pgbouncer_hba=["host all all 10.0.0.0/8 scram-sha-256"])
    path = "/etc/pgbouncer/pg_hba.conf"
    state = pooler_state("pool1")
    shut = replace(state, files={**state.files, path: replace(state.files[USERLIST], owner="root", group="root")})
    assert any(one.what == path and one.is_now.startswith("root:root") for one in apply.file_differences(wanted, shut))
