"""Inventories that cannot be deployed, and the whole text an operator sees: tests/unit/golden/refused/."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from poolward import declaration
from poolward.desired import pooler_config
from poolward.errors import Refused
from tests.unit.samples import FORKY, GROUPS, TRIXIE, hosts

Data = dict[str, dict[str, Any]]


def entry(**keys: Any) -> Data:
    return hosts(pgbouncer_databases={"shop": {"host": "db1", **keys}})


def settings(version: str | None = None, **keys: Any) -> Data:
    return hosts(pgbouncer_settings=keys, pgbouncer_version=version)


def databases(**entries: Any) -> Data:
    return hosts(pgbouncer_databases=entries)


WEB = {
    "name": "web",
    "host": "app1",
    "unit": "web.service",
    "env_file": "/etc/web/env",
    "url_variables": ["DATABASE_URL"],
    "pooler": "pool1",
}


def service(*without: str, **words: Any) -> Data:
    """The lab with one service, some of its words left out and others written."""
    return hosts(services=[{word: value for word, value in {**WEB, **words}.items() if word not in without}])


def without_defaults() -> Data:
    changed = hosts()
    for data in changed.values():
        del data["pgbouncer_defaults"]
    return changed


def auth_users(**users: Any) -> Data:
    return hosts(pgbouncer_auth_users=users)


def two_servers(**changes: Any) -> Data:
    """An entry on each of two servers, and no quarrel about their roles."""
    data = hosts("db2", pgbouncer_databases={"shop": {"host": "db1"}, "crm": {"host": "db2"}}, **changes)
    data["db2"]["pgbouncer_auth_role"] = "pgbouncer_auth_db2"
    return data


def with_auth_roles(*roles: str) -> Data:
    """A database host for each."""
    data = hosts("db2", "db3", "db4")
    for name, role in zip(AUTH_ROLES["databases"], roles, strict=True):
        data[name]["pgbouncer_auth_role"] = role
    return data


def asking_poolers_only() -> Data:
    """One database host whose operator said something else than the poolers'."""
    data = hosts(pgbouncer_auth_users={"worker": {"verifier_from": "db1"}})
    data["db1"]["pgbouncer_auth_query"] = False
    return data


AUTH_ROLES = {**GROUPS, "databases": ["db1", "db2", "db3", "db4"]}
SECOND_SERVER = {**GROUPS, "databases": ["db1", "db2"]}

GALLERY: dict[str, tuple[Data, dict[str, list[str]]]] = {
    "word misspelt": (settings(pool_mode="transactoin"), GROUPS),
    "setting misspelt": (settings(default_pol_size=20), GROUPS),
    "setting in the wrong section": (settings(connect_query="SET x = 1"), GROUPS),
    "settings of poolwards own": (settings(auth_query="SELECT 1", auth_user="me"), GROUPS),
    "abstract socket": (settings(unix_socket_dir="@pgbouncer"), GROUPS),
    "number with a unit": (settings(query_wait_timeout="15s"), GROUPS),
    "negative number": (settings(max_client_conn=-1), GROUPS),
    "setting newer than the declared version": (settings("1.18.0", max_prepared_statements=100), GROUPS),
    "version that is none": (settings("latest"), GROUPS),
    "comment behind a value": (settings(logfile="/var/log/pgbouncer.log ; ours"), GROUPS),
    "knob misspelt": (hosts(pgbouncer_setings={"pool_mode": "session"}), GROUPS),
    "knob of another type": (hosts(pgbouncer_databases=["shop"]), GROUPS),
    "host outside the group": (databases(shop={"host": "app1"}), GROUPS),
    "host given as a list": (databases(shop={"host": ["db1"]}), GROUPS),
    "host left out": (databases(shop={"dbname": "shop"}), GROUPS),
    "no database": (databases(), GROUPS),
    "fallback entry": (databases(**{"*": {"host": "db1"}}), GROUPS),
    "console name": (databases(pgbouncer={"host": "db1"}), GROUPS),
    "auth role as entry": (databases(pgbouncer_auth={"host": "db1"}), GROUPS),
    "blank in an entry's name": (databases(**{"my shop": {"host": "db1"}}), GROUPS),
    "pool without a size and without a limit": (
        hosts(pgbouncer_version="1.24.1", pgbouncer_databases={"shop": {"host": "db1", "pool_size": 0}}),
        GROUPS,
    ),
    "port in an entry": (entry(port=5433), GROUPS),
    "port that is none": (hosts(postgresql_port="fivefourthreetwo"), GROUPS),
    "connection string with a password": (hosts(postgresql_dsn="host=db1 user=me password=canary"), GROUPS),
    "connection string of something else": (hosts(postgresql_dsn="jdbc:canary//db1"), GROUPS),
    "forced user": (entry(user="app"), GROUPS),
    "password in an entry": (entry(password="hunter2-canary"), GROUPS),
    "users of an old pooler": (
        hosts(pgbouncer_version="1.18.0", pgbouncer_users={"app": {"max_user_connections": 4}}),
        GROUPS,
    ),
    "group missing": (hosts(), {"databases": ["db1"], "apps": ["app1", "app2"]}),
    "both groups missing": (hosts(), {"apps": GROUPS["apps"]}),
    "defaults not loaded": (without_defaults(), GROUPS),
    "defaults replaced": (hosts(pgbouncer_defaults={"listen_port": 6432, "max_client_conn": 500}), GROUPS),
    "two servers with one auth role": (hosts("db2"), SECOND_SERVER),
    "auth role that cannot be one": (with_auth_roles("", "../x", "pgbouncer_probe", "r" * 64), AUTH_ROLES),
    "auth role of a service": (
        hosts(pgbouncer_auth_role="shop", services=[{**WEB, "role": "shop", "database": "shop"}]), GROUPS
    ),
    "service misspelt": (service(unti="web.service", pool_mode="session"), GROUPS),
    "service half declared": (service("unit", "env_file", "url_variables", "pooler"), GROUPS),
    "service without a host": (service("host", "name"), GROUPS),
    "service on a host outside the group": (service(host="pool1", pooler="pool9"), GROUPS),
    "service with two answers": (
        service(restart_command=["true"], read_command=["cat", "/e"], host_variable="DB_HOST", database="shop"),
        GROUPS,
    ),
    "service with halves": (
        service("env_file", "url_variables", write_command=["tee"], port_variable="DB_PORT", user_variable="DB_USER"),
        GROUPS,
    ),
    "service without its database": (service("url_variables", host_variable="DB_HOST"), GROUPS),
    "service with words of another type": (
        service(url_variables="DATABASE_URL", soak="long", prepared_statements=True, health=5, connections=2.5),
        GROUPS,
    ),
    "service with wrong values": (
        service(
            unit="web", env_file="etc/env", health="localhost/health", soak=-1, max_wait=0, connections=0,
            pooler="pool1:port", url_variables=["DATABASE URL"], restart_command=[""]
        ),
        GROUPS,
    ),
    "service whose processes nobody finds": (service("unit", restart_command=["web-ctl", "restart"]), GROUPS),
    "service whose processes two find": (service(processes_command=["pgrep", "web"], runs="nightly"), GROUPS),
    "service that always runs and is run": (service(run_command=["web\tnow"], run_timeout=0), GROUPS),
    "job with words of another type": (service(runs="now and then", run_command="web", run_timeout="long"), GROUPS),
    "job without its processes": (service("unit", runs="now and then", restart_command=["web-ctl"]), GROUPS),
    "services of one command": (
        hosts(services=[
            {**{word: value for word, value in WEB.items() if word != "env_file"}, "name": name,
             "unit": f"{name}.service", "read_command": ["vault", "read", "web"], "write_command": ["vault", "put"]}
            for name in ("web", "api")
        ]),
        GROUPS,
    ),
    "service direct without a reason": (service(direct=True), GROUPS),
    "service that is none": (hosts(services=["web"]), GROUPS),
    "services that are no list": (hosts(services={"web": WEB}), GROUPS),
    "services of one name": (hosts(services=[WEB, {**WEB, "unit": "b.service", "env_file": "/b"}]), GROUPS),
    "services of one file": (hosts(services=[WEB, {**WEB, "name": "api", "direct": "LISTEN"}]), GROUPS),
    "services without a group": (service(), {**GROUPS, "apps": []}),
    "auth users": (
        auth_users(
            nothing={},
            both={"verifier_from": "db1", "password_command": ["true"]},
            misspelt={"verifier": "db1"},
            elsewhere={"verifier_from": "db9"},
            text={"password_command": "vault kv get"},
            pgbouncer_auth={"verifier_from": "db1"},
            pgbouncer_probe={"verifier_from": "db1"},
            **{name: {"verifier_from": "db1"} for name in ("two\nlines", "", "é" * 64)},
        ),
        GROUPS,
    ),
    "no auth query and nobody declared": (hosts(pgbouncer_auth_query=False), GROUPS),
    "no auth query for the server alone": (asking_poolers_only(), GROUPS),
    "no auth query and two servers": (
        two_servers(pgbouncer_auth_query=False, pgbouncer_auth_users={"worker": {"verifier_from": "db1"}}),
        SECOND_SERVER,
    ),
    "console users in no userlist": (
        hosts(
            pgbouncer_auth_query=False,
            pgbouncer_auth_users={"worker": {"verifier_from": "db1"}},
            pgbouncer_settings={"admin_users": ["worker", "anna", "pgbouncer"], "stats_users": "ben , carla"},
        ),
        GROUPS,
    ),
    "console users of an old pooler": (settings("1.18.0", admin_users="anna"), GROUPS),
    "container without a network": (hosts(pgbouncer_runtime="docker"), GROUPS),
    "superuser of a host": (hosts(postgresql_superuser="app"), GROUPS),
    "image for a package": (hosts(pgbouncer_image="mine:1", pgbouncer_publish=["6432:6432"]), GROUPS),
    "port published that is none": (
        hosts(
            pgbouncer_runtime="docker",
            pgbouncer_network="n",
            pgbouncer_publish=["6432", "6432:6433", "10.0.0.5:6432:6432", "6432:6432/tcp"],
        ),
        GROUPS,
    ),
    "container with what only a host has": (
        hosts(
            pgbouncer_runtime="docker",
            pgbouncer_network="n",
            pgbouncer_settings={"listen_addr": ["10.0.0.5", "127.0.0.1"], "logfile": "/var/log/pgbouncer.log"},
        ),
        GROUPS,
    ),
    "runtime misspelt": (hosts(pgbouncer_runtime="podman"), GROUPS),
    "everything at once": (
        hosts(
            pgbouncer_settings={"pool_mode": "transactoin", "max_client_con": 5},
            pgbouncer_databases={"*": {"host": "db9"}, "shop": {"host": "db1", "pool_size": 0.5}},
            pgbouncer_maintain_hba=True,
            services=[{"name": "web", "host": "app9", "direct": "LISTEN"}],
        ),
        GROUPS,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", GALLERY)
def test_refused_with_these_words(case: str, golden: Callable[[str, str], None]):
    data, groups = GALLERY[case]
    with pytest.raises(Refused) as caught:
        declaration.read(data, groups)
    assert len(set(caught.value.problems)) == len(caught.value.problems)
    golden(f"refused/{re.sub('[^a-z]+', '-', case)}.txt", f"{caught.value}\n")


@pytest.mark.parametrize("case", GALLERY)
def test_words_repeat_no_password(case: str):
    data, groups = GALLERY[case]
    with pytest.raises(Refused) as caught:
        declaration.read(data, groups)
    assert "canary" not in str(caught.value)


def test_settings_that_only_the_installed_version_refuses(golden: Callable[[str, str], None]):
    """Undeclared, they pass the inventory; the version found on the host decides."""
    fleet = declaration.read(
        hosts(pgbouncer_settings={"max_prepared_statements": 100, "client_tls13_ciphers": "x"}), GROUPS
    )
    assert pooler_config(fleet, "pool1", FORKY).settings["client_tls13_ciphers"] == "x"
    with pytest.raises(Refused) as caught:
        pooler_config(fleet, "pool1", TRIXIE)
    golden("refused/installed-version-is-older.txt", f"{caught.value}\n")


def test_what_the_lab_declares_is_not_refused():
    fleet = declaration.read(hosts(), GROUPS)
    assert sorted(fleet.poolers) == ["pool1", "pool2"]
    assert fleet.pooled_databases == {"db1": ("tracksolid-archive", "tracksolid_db")}
