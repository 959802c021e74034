"""What a pooler would turn away or drop of a connection. The verdicts are held against real poolers in tests/lab."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import Any

import pytest

from poolward.compatibility import refusals, role_setting
from poolward.dsn import Connection, parse
from poolward.service import LIBPQ_VARIABLES, Service
from poolward.settings import Version
from poolward.startup import Options, split_options
from tests.unit.samples import BOOKWORM, FORKY, TRIXIE, group_data, lab

DEFAULTS = lab().poolers["pool1"].defaults
BARE = {"ignore_startup_parameters": []}
BETWEEN = Version(1, 20, 1)


def said(
    found: Connection | str, version: Version = TRIXIE, settings: Any = DEFAULTS, mode: str = "session", **more: Any
) -> str:
    """Everything that is said of a connection, as one text; empty when it may move."""
    connection = parse(found) if isinstance(found, str) else found
    service = Service("web", "app1", **more.pop("words", {}))
    return "\n".join(map(str, refusals(service, "URL", connection, mode, version, settings, **more)))


URL = "postgresql://app@db1/shop"
JDBC = "jdbc:postgresql://db1/shop?user=app"


@pytest.mark.parametrize("version", [BOOKWORM, BETWEEN, TRIXIE, FORKY], ids=str)
@pytest.mark.parametrize(
    "text",
    [
        URL,
        f"{URL}?application_name=x&client_encoding=utf8&connect_timeout=5&sslmode=prefer&pool_max_conns=5&keepalives=1",
        f"{URL}?target_session_attrs=read-write",
        f"{URL}?gssencmode=prefer&channel_binding=prefer&max_protocol_version=3.0",
        f"{JDBC}&ApplicationName=x&prepareThreshold=0&sslmode=prefer",
        "host=db1 user=app application_name='a b' options=''",
    ],
)
def test_an_ordinary_connection_may_move(text: str, version: Version) -> None:
    assert said(text, version) == ""


OPTIONS = f"{URL}?options=-c%20statement_timeout%3D30000%20-c%20TimeZone%3DUTC"


@pytest.mark.parametrize(
    ("version", "settings", "expected"),
    [
        (BOOKWORM, BARE, "turns the login away: unsupported startup parameter statement_timeout, TimeZone"),
        (BOOKWORM, DEFAULTS, "drops statement_timeout, TimeZone without a word"),
        (BETWEEN, BARE, "turns the login away: unsupported startup parameter statement_timeout\n"),
        (TRIXIE, DEFAULTS, "drops statement_timeout without a word"),
        (TRIXIE, {"ignore_startup_parameters": "extra_float_digits, statement_timeout"}, "drops statement_timeout"),
        (Version(1, 20, 0), {"ignore_startup_parameters": ["options"]}, "turns the login away"),
        (FORKY, DEFAULTS, "drops statement_timeout without a word"),
    ],
)
def test_options_are_dropped_or_turned_away_as_the_version_has_it(
    version: Version, settings: Any, expected: str
) -> None:
    text = said(OPTIONS, version, settings)
    assert expected in text
    assert "options in URL" in text
    assert 'ALTER ROLE "app" IN DATABASE "shop" SET "statement_timeout" TO \'30000\';' in text


def test_what_the_role_has_of_itself_may_be_dropped_but_not_be_turned_away() -> None:
    assert said(OPTIONS, pinned={"statement_timeout"}) == ""
    assert "drops TimeZone without" in said(OPTIONS, BOOKWORM, pinned={"Statement_Timeout"})
    assert "turns the login away" in said(OPTIONS, BOOKWORM, BARE, pinned={"statement_timeout", "TimeZone"})
    schema, ignoring = f"{URL}?search_path=a", {"ignore_startup_parameters": "search_path"}
    assert said(schema, settings=ignoring, pinned={"search_path"}) == ""
    assert "turns the login away" in said(schema, pinned={"search_path"})


@pytest.mark.parametrize("options", ["-d 5", "-c jit=off -e", "-c", "-c jit", "-c jit=off ", "--=x", "x"])
def test_switches_in_options_are_turned_away(options: str) -> None:
    connection = Connection("url", "db1", 5432, "shop", "app", parameters={"options": options})
    assert "turns the login away because of" in said(connection)
    assert "drops" in said(connection, BOOKWORM) or not split_options(options).settings


def test_options_from_the_environment_are_called_by_their_variable() -> None:
    connection = parse(URL, {"options": "-c geqo=off", "geqo": "off"})
    text = said(connection, settings={"ignore_startup_parameters": "options"})
    assert "PGOPTIONS: PgBouncer 1.24.1 drops geqo" in text
    assert "PGGEQO: PgBouncer 1.24.1 turns the login away: unsupported startup parameter geqo" in text


@pytest.mark.parametrize(
    ("text", "version", "settings", "expected"),
    [
        (f"{JDBC}&currentSchema=app,public", TRIXIE, DEFAULTS, "currentSchema in URL: .* parameter search_path"),
        (f"{JDBC}&currentSchema=app", FORKY, DEFAULTS, None),
        (f"{URL}?search_path=app", TRIXIE, DEFAULTS, "search_path in URL: .* unsupported"),
        (f"{URL}?search_path=app", FORKY, DEFAULTS, None),
        (f"{URL}?search_path=app", FORKY, {"ignore_startup_parameters": "search_path"}, "drops search_path"),
        (f"{URL}?search_path=app", TRIXIE, {"track_extra_parameters": ["search_path"]}, None),
        (f"{URL}?statement_timeout=5s", TRIXIE, DEFAULTS, "unsupported startup parameter statement_timeout"),
        (f"{URL}?IntervalStyle=iso_8601", BOOKWORM, DEFAULTS, "unsupported startup parameter IntervalStyle"),
        (f"{URL}?IntervalStyle=iso_8601", TRIXIE, DEFAULTS, None),
        (JDBC, TRIXIE, BARE, "unsupported startup parameter extra_float_digits, which JDBC always sends"),
        (f"{JDBC}&gssEncMode=require", TRIXIE, DEFAULTS, "gssEncMode in URL is require"),
        (f"{URL}?gssencmode=require", TRIXIE, DEFAULTS, "gssencmode in URL is require"),
        (f"{URL}?channel_binding=require", TRIXIE, DEFAULTS, "offers no channel binding"),
        (f"{URL}?sslmode=verify-full", TRIXIE, DEFAULTS, "takes no TLS from clients"),
        (f"{URL}?sslmode=verify-full", TRIXIE, {"client_tls_sslmode": "prefer"}, None),
        (f"{URL}?sslmode=disable", TRIXIE, {"client_tls_sslmode": "require"}, "lets nobody in without TLS"),
        (f"{JDBC}&ssl=true", TRIXIE, DEFAULTS, "ssl in URL is true, and the pooler takes no TLS"),
        (f"{URL}?sslnegotiation=direct", TRIXIE, {"client_tls_sslmode": "allow"}, "PgBouncer knows from 1.25"),
        (f"{URL}?replication=database", TRIXIE, DEFAULTS, "leave this service direct"),
        (f"{URL}?max_protocol_version=latest", TRIXIE, DEFAULTS, "max_protocol_version in URL asks for"),
        (f"{URL}?max_protocol_version=latest", FORKY, DEFAULTS, None),
        (f"{URL}?min_protocol_version=3.2", FORKY, DEFAULTS, "min_protocol_version in URL asks for a protocol newer"),
    ],
)  # fmt: skip
def test_what_a_pooler_turns_away(text: str, version: Version, settings: Any, expected: str | None) -> None:
    found = said(text, version, {**DEFAULTS, **settings})
    assert re.search(expected, found) if expected else found == ""


@pytest.mark.parametrize(
    ("version", "settings", "mode", "prepared", "expected"),
    [
        (BOOKWORM, DEFAULTS, "transaction", "on", "1.18.0 loses prepared statements"),
        (BOOKWORM, DEFAULTS, "transaction", "off", None),
        (BOOKWORM, DEFAULTS, "session", "on", None),
        (Version(1, 21), {}, "transaction", "on", "max_prepared_statements = 0"),
        (Version(1, 21), DEFAULTS, "transaction", "on", None),
        (TRIXIE, {"max_prepared_statements": 0}, "transaction", "on", "max_prepared_statements = 0"),
        (TRIXIE, {}, "transaction", "on", None),
        (TRIXIE, {"max_prepared_statements": "0"}, "statement", "on", "max_prepared_statements = 0"),
    ],
)
def test_prepared_statements_need_a_pooler_that_keeps_them(
    version: Version, settings: Any, mode: str, prepared: str, expected: str | None
) -> None:
    found = said(URL, version, settings, mode, words={"prepared_statements": prepared})
    assert expected in found if expected else found == ""


def test_everything_is_said_at_once_and_nothing_of_a_password() -> None:
    text = f"{URL}?password=canary&options=-c%20app.api_key%3Dcanary%20-c%20jit%3Doff&gssencmode=require"
    found = said(text, BOOKWORM, BARE, "transaction")
    for part in (
        "unsupported startup parameter app.api_key, jit",
        "GSSAPI",
        "prepared statements",
        "SET \"jit\" TO 'off'",
    ):
        assert part in found
    assert "canary" not in found
    assert 'SET "app"."api_key" TO \'…\';' in found


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("statement_timeout", "30s", "\"statement_timeout\" TO '30s'"),
        ("statement-timeout", "30s", "\"statement_timeout\" TO '30s'"),
        ("search_path", 'app, "$user","A ""b""" ,Public', "\"search_path\" TO 'app', '$user', 'A \"b\"', 'public'"),
        ("my.name", "it's \\", "\"my\".\"name\" TO E'it''s \\\\'"),
        ("DateStyle", "ISO, DMY", "\"DateStyle\" TO 'ISO, DMY'"),
    ],
)
def test_a_setting_given_to_a_role(name: str, value: str, expected: str) -> None:
    command = role_setting('o"k', "my db", name, value)
    assert command == f'ALTER ROLE "o""k" IN DATABASE "my db" SET {expected};'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Options(())),
        ("-c a=1  -cb=2 --c-d=3", Options((("a", "1"), ("b", "2"), ("c-d", "3")), long=True)),
        ("-c a=x\\ y\\\\ -c b=c=d", Options((("a", "x y\\"), ("b", "c=d")))),
        ("-c a=1 -e -c b=2", Options((("a", "1"), ("b", "2")), "-e")),
    ],
)
def test_options_are_read_as_pgbouncer_reads_them(text: str, expected: Options) -> None:
    assert split_options(text) == expected


def test_the_environment_variables_are_libpqs() -> None:
    """By libpq's own table; what it holds beside that are settings it sends to the server."""
    from psycopg.pq import Conninfo

    theirs = {option.envvar.decode(): option.keyword.decode() for option in Conninfo.get_defaults() if option.envvar}
    beyond = {"PGDATESTYLE": "datestyle", "PGTZ": "timezone", "PGGEQO": "geqo"}
    assert LIBPQ_VARIABLES.items() <= {**theirs, **beyond}.items()


def test_every_word_of_a_service_is_described() -> None:
    described = (lab.__globals__["ROOT"] / "group_data" / "all.py").read_text().rpartition("# The services that")[2]
    assert [field.name for field in fields(Service) if not re.search(rf"\b{field.name}\b", described)] == []
    assert group_data("all")["services"] == []
