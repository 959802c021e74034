"""What each pooler does with what a client asks for at login, held against what Poolward says it would do."""

from __future__ import annotations

import socket
import struct

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from lab.state import State
from lab.topology import Lab, host_named
from poolward import startup
from poolward.compatibility import refusals, role_setting
from poolward.dsn import parse
from poolward.service import Service
from poolward.settings import Version
from tests.lab.support import client, on, psql, running_config

pytestmark = pytest.mark.usefixtures("as_declared")

PARAMETERS = {
    "extra_float_digits": "2", "search_path": "public", "statement_timeout": "5", "geqo": "off", "jit": "off",
    "IntervalStyle": "iso_8601", "timezone": "UTC", "datestyle": "ISO", "client_encoding": "utf8",
    "application_name": "a b", "default_transaction_read_only": "on", "scram_iterations": "4096",
    "in_hot_standby": "off",
}  # fmt: skip
OPTIONS = (
    "", "-c statement_timeout=5", "-cjit=off -c TimeZone=UTC", "--jit=off", "-c jit=off ", "-d 5", "-c jit",
    "-c a\\ b=1", "-c default_transaction_read_only=on", "  -c  jit=off",
)  # fmt: skip
CONNECTIONS = (
    {"sslmode": "require"}, {"sslmode": "prefer"}, {"channel_binding": "require"}, {"gssencmode": "require"},
    {"target_session_attrs": "read-write"}, {"target_session_attrs": "primary"}, {"replication": "database"},
    {"max_protocol_version": "latest"}, {"min_protocol_version": "3.2"}, {"options": "-c statement_timeout=5"},
    {"client_encoding": "latin1", "application_name": "a b"},
)  # fmt: skip


def version_of(lab: Lab, pooler: str) -> Version:
    return Version.parse(on(lab, pooler, "pgbouncer --version | awk 'NR == 1 { print $2 }'").strip())


def turned_away(lab: Lab, pooler: str, name: str, value: str) -> bool:
    """What it answers to a startup packet with this parameter: an error, or a question about the password."""
    words = {"user": "worker", "database": "tracksolid_db", name: value}
    packet = b"".join(f"{key}\0{text}\0".encode() for key, text in words.items()) + b"\0"
    with socket.create_connection((lab.address(host_named(pooler)), 6432), 10) as connection:
        connection.sendall(struct.pack("!II", len(packet) + 8, 196608) + packet)
        answer = connection.recv(1)
    assert answer in b"ER"
    return answer == b"E"


def test_what_is_turned_away_is_what_was_said(lab: Lab, pooler: str) -> None:
    version, settings = version_of(lab, pooler), running_config(lab, pooler)
    said = {name: startup.fate(name, version, settings) == "refused" for name in PARAMETERS}
    assert {name: turned_away(lab, pooler, name, PARAMETERS[name]) for name in PARAMETERS} == said
    said = {text: startup.fate_of_options(text, version, settings)[0] == "refused" for text in OPTIONS}
    assert {text: turned_away(lab, pooler, "options", text) for text in OPTIONS} == said


def test_what_is_kept_arrives_and_what_is_dropped_does_not(lab: Lab, pooler: str) -> None:
    asked = {
        "statement_timeout": "7s", "IntervalStyle": "iso_8601", "TimeZone": "Asia/Tokyo", "search_path": "pg_catalog",
        "default_transaction_read_only": "on", "geqo": "off",
    }  # fmt: skip
    version, settings = version_of(lab, pooler), running_config(lab, pooler)
    options = " ".join(f"-c {name}={value}" for name, value in asked.items())
    _, lost = startup.fate_of_options(options, version, settings)
    password = State(lab).role_passwords()["worker"]
    address = {"host": lab.address(host_named(pooler)), "port": 6432, "dbname": "tracksolid_db", "connect_timeout": 10}
    with (
        client(lab, pooler) as other,
        psycopg.connect(make_conninfo(**address, user="worker", password=password, options=options)) as connection,
    ):
        for _ in range(2):
            for name, value in asked.items():
                shown = connection.execute(f"SHOW {name}").fetchone()
                assert (shown == (value,)) is (name not in lost), name
                connection.commit()
            other.execute("SELECT 1")
            other.commit()


def test_a_connection_that_nothing_is_said_of_logs_in(lab: Lab, pooler: str) -> None:
    version, settings = version_of(lab, pooler), running_config(lab, pooler)
    password = State(lab).role_passwords()["worker"]
    address = {"host": lab.address(host_named(pooler)), "port": 6432, "dbname": "tracksolid_db", "user": "worker"}
    for more in CONNECTIONS:
        text = make_conninfo(**address, password=password, connect_timeout=10, **more)
        said = refusals(Service("web", "app1"), "URL", parse(text), "session", version, settings)
        if all("drops" in problem.message for problem in said):
            with psycopg.connect(text) as connection:
                assert connection.execute("SELECT 1").fetchone() == (1,)
        elif not more.keys() & {"replication", "max_protocol_version"}:
            # The one is refused whatever PgBouncer makes of it; the other 1.24 turns away until a login has succeeded.
            with pytest.raises(psycopg.OperationalError):
                psycopg.connect(text)


def test_postgresql_takes_the_commands_that_are_advised(lab: Lab) -> None:
    role, wanted = (
        'o"k \\ é',
        {"search_path": '"$user",Public,"A b"', "statement_timeout": "30s", "my.own": "it's \\ so"},
    )
    commands = "\n".join(role_setting(role, "tracksolid_db", name, value) for name, value in wanted.items())
    shown = psql(
        lab,
        f"""BEGIN;
        CREATE ROLE "o""k \\ é";
        {commands}
        SELECT unnest(setconfig) FROM pg_db_role_setting JOIN pg_roles r ON r.oid = setrole WHERE rolname LIKE 'o"k%';
        ROLLBACK;""",
    )
    assert shown.splitlines() == ['search_path="$user", public, "A b"', "statement_timeout=30s", "my.own=it's \\ so"]
