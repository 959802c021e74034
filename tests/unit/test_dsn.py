"""Connection settings read and rewritten. The authority is libpq's own parser, which psycopg hands through."""

from __future__ import annotations

import dataclasses
import re
import traceback
from contextlib import suppress
from random import Random
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from poolward.dsn import Connection, parse, rewritten
from poolward.errors import PoolwardError

any_text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)
words = st.from_regex(r"[a-z][a-z0-9_.-]{0,8}", fullmatch=True)
hosts = st.one_of(
    words, st.ip_addresses().map(str), st.sampled_from(["/var/run/postgresql", "/tmp", "db1", "Übung", "@abstract"])
)
ports = st.integers(1, 65535)
names = st.one_of(
    words, any_text.filter(bool), st.sampled_from(["it's", "a b", "shop", "100%", "a+b", "tracksolid-archive"])
)
secrets = st.one_of(
    any_text.filter(bool), st.sampled_from(["p@ss:w/rd?#", "%41", "it''s \\", " ", "+ +", "🔑", "a'b\"c"])
)
parameters = st.dictionaries(
    st.sampled_from(["sslmode", "application_name", "options", "connect_timeout", "passfile"]), any_text, max_size=3
)
connections = st.fixed_dictionaries(
    {"host": hosts, "port": ports, "dbname": names}, optional={"user": names, "password": secrets}
).flatmap(lambda known: parameters.map(lambda more: {**more, **known}))


def encoded(value: str, chance: Random) -> str:
    """Each character as it is, where it may be, or percent-encoded, in either case."""
    ways = (lambda sign: quote(sign, safe="+$!*();'"), lambda sign: "".join(f"%{byte:02x}" for byte in sign.encode()))
    return "".join(chance.choice(ways)(sign) for sign in value)


@st.composite
def urls(draw: st.DrawFn) -> str:
    """A URL, each part in one of the ways and places it may be written."""
    known, chance = draw(connections), draw(st.randoms(use_true_random=False))
    text = chance.choice(["postgres://", "postgresql://"])
    if "user" in known or "password" in known:
        user, password = known.pop("user", ""), known.pop("password", "")
        text += f"{encoded(user, chance)}{':' if password else ''}{encoded(password, chance)}@"
    if chance.random() < 0.7:
        host = known.pop("host")
        text += f"[{host}]" if ":" in host else encoded(host, chance)
        text += f":{known.pop('port')}"
    if chance.random() < 0.7:
        text += f"/{encoded(known.pop('dbname'), chance)}"
    query = [f"{name}={encoded(str(value), chance)}" for name, value in known.items()]
    chance.shuffle(query)
    return f"{text}?{'&'.join(query)}" if query else text


@st.composite
def keyword_dsns(draw: st.DrawFn) -> str:
    """A keyword DSN: quoted where it need not be, escaped where it need not be."""
    known, chance = draw(connections), draw(st.randoms(use_true_random=False))
    items = []
    for name, value in known.items():
        bare = str(value) and not re.search(r"[\s'\\]", str(value), re.ASCII) and chance.random() < 0.5
        escaped = re.sub(r"(['\\])", r"\\\1", str(value))
        items.append(name + chance.choice(["=", " = ", "= ", "\t=\n"]) + (str(value) if bare else f"'{escaped}'"))
    chance.shuffle(items)
    return chance.choice(["", " "]) + chance.choice([" ", "\n", "  \t"]).join(items)


texts = st.one_of(urls(), keyword_dsns())


def as_libpq_reads(text: str) -> dict[str, Any]:
    """What libpq takes from a text, in the form in which it will use it."""
    read = {name: str(value) for name, value in conninfo_to_dict(text).items()}
    given = {name: read.pop(name, "") for name in ("host", "port", "dbname", "user", "password")}
    hosts, ports = given["host"].split(","), [int(port or 5432) for port in given["port"].split(",")]
    return {
        "endpoints": list(zip(hosts, ports * len(hosts) if len(ports) == 1 else ports, strict=True)),
        "database": given["dbname"] or given["user"],
        "user": given["user"],
        "password": given["password"] or None,
        "parameters": read,
    }


def as_read(connection: Connection) -> dict[str, Any]:
    return {
        "endpoints": [(connection.host, connection.port), *connection.others],
        "database": connection.database,
        "user": connection.user,
        "password": connection.password.get_secret_value() if connection.password else None,
        "parameters": connection.parameters,
    }


@settings(max_examples=1000, deadline=None)
@given(texts)
def test_is_read_as_libpq_reads_it(text: str) -> None:
    assert as_read(parse(text)) == as_libpq_reads(text)


pieces = st.sampled_from(
    ["postgresql://", "postgres://", "@", ":", "/", "?", "&", "=", ",", "[", "]", "%", "%2F", "%40", "%00", "%zz",
     "host", "host=", "port=", "dbname=", "user=", "password=", "options=", "sslmode=", "ssl=true", "db1", "5432", "0",
     "x", "'", "\\", "\\'", " ", "\t", "\n", "#", "+", "\u00a0", "é", "/tmp", "::1", "hostaddr=10.0.0.1", "service=s"]
)  # fmt: skip
# Parameters of other drivers are none to libpq; nothing else may be read that libpq does not read.
OTHER_DRIVERS = (
    "invalid URI query parameter|extra key/value|missing key/value|unexpected spaces|invalid connection option"
)


@settings(max_examples=2000, deadline=None)
@given(st.one_of(st.lists(pieces, max_size=14), st.lists(pieces, max_size=10).map(lambda p: ["postgresql://", *p])))
@example(["host=", " ", "port=", "5432"])
@example(["host=", " ", "'", "host="])
@example(["postgresql://", "x", ":", "0", "@", "[", "::1", "]", ":", "5432", "/", "x", "?", "host=", "db1"])
def test_whatever_it_reads_means_the_same_to_libpq(parts: list[str]) -> None:
    """It may refuse what libpq takes, as a host named twice, but not read it otherwise."""
    text = "".join(parts)
    with suppress(PoolwardError):
        connection = parse(text)
        try:
            meant = as_libpq_reads(text)
        except UnicodeDecodeError:
            return  # libpq reads it, psycopg cannot show it
        except ProgrammingError as refused:
            meant, reason = None, str(refused)
        assert re.search(OTHER_DRIVERS, reason) if meant is None else as_read(connection) == meant


@settings(max_examples=300, deadline=None)
@given(texts, hosts, ports, st.none() | names)
def test_only_host_port_and_database_change(text: str, host: str, port: int, database: str | None) -> None:
    before, after = as_libpq_reads(text), as_libpq_reads(rewritten(text, host, port, database))
    assert after["endpoints"] == [(host, port)]
    assert after["database"] == (before["database"] if database is None else database)
    assert {**after, "endpoints": 0, "database": 0} == {**before, "endpoints": 0, "database": 0}


@st.composite
def plainly_written(draw: st.DrawFn) -> tuple[str, str, int, str]:
    """A text that names host, port and database, each as one writes it by hand, and what they are."""
    host, port, database = draw(words), draw(ports), draw(words)
    user, password, name = draw(words), draw(secrets), draw(any_text)
    login, secret, app = quote(user), quote(password, safe=""), quote(name, safe="")
    text = draw(
        st.sampled_from(
            [
                f"postgresql://{login}:{secret}@{host}:{port}/{database}?application_name={app}",
                f"postgres://{login}:{secret}@/{database}?host={host}&port={port}",
                f"postgresql+psycopg2://{login}:{secret}@{host}:{port}/{database}?application_name={app}",
                f"jdbc:postgresql://{host}:{port}/{database}?user={login}&password={secret}&ApplicationName={app}",
                make_conninfo(host=host, port=port, dbname=database, user=user, password=password),
                make_conninfo(password=password, user=user) + f" dbname='{database}'  port='{port}' host = '{host}' ",
            ]
        )
    )
    return text, host, port, database


@settings(max_examples=200, deadline=None)
@given(plainly_written(), words, ports, words)
def test_there_and_back_gives_the_same_bytes(
    written: tuple[str, str, int, str], host: str, port: int, database: str
) -> None:
    text, *home = written
    assert rewritten(rewritten(text, host, port, database), *home) == text


@settings(max_examples=200, deadline=None)
@given(plainly_written(), st.sampled_from(["/run/postgresql", "/srv/pg+b"]), ports, words)
def test_to_a_unix_socket_and_back_gives_the_same_bytes(
    written: tuple[str, str, int, str], directory: str, port: int, database: str
) -> None:
    text, *home = written
    if text.startswith("jdbc:"):
        with pytest.raises(PoolwardError, match="can name no Unix socket"):
            rewritten(text, directory, port, database)
        return
    there = rewritten(text, directory, port, database)
    if "+psycopg2" not in text:
        assert as_libpq_reads(there)["endpoints"] == [(directory, port)]
    assert rewritten(there, *home) == text


@settings(max_examples=200, deadline=None)
@given(plainly_written())
def test_every_byte_but_host_port_and_database_stays(written: tuple[str, str, int, str]) -> None:
    """Seen without any parser: three marks that are in the text once, and the text itself once they are taken out."""
    text, host, port, name = written
    marked = rewritten(text, "marked-host", 65000, "marked-database")
    for mark, value in (("marked-host", host), ("65000", str(port)), ("marked-database", name)):
        assert marked.count(mark) == 1
        marked = marked.replace(mark, value)
    assert marked == text


def everything_it_says(text: str) -> str:
    """What a person could get to see of a setting: a Connection printed, or an error with its whole traceback."""
    try:
        connection = parse(text)
        rewritten(text, "pool1", 6432)
    except PoolwardError as error:
        return f"{error!r} {error} {error.hint} {''.join(traceback.format_exception(error))}"
    return f"{connection!r} {connection} {dataclasses.replace(connection, password=None)}"


MARK = "c4n4ry"


signs = st.lists(st.sampled_from([*"@:/?&=%#+ '\\[],", "%4", "12"]), max_size=4).map("".join)
SHAPES = [
    "postgresql://u:{}@h:5432/d",
    "postgresql://u:{}@",
    "postgresql://u:{}@h:5432,h:5433/d",
    "postgresql://u:{}@h/d?sslpassword={}",
    "postgresql://h/d?password={}&user=u",
    "postgresql+asyncpg://u:{}@h/d?ssl=require",
    "host=h user=u password={} dbname=d",
    "host=h password='{}' user=u",
    "jdbc:postgresql://h/d?user=u&password={}",
    "jdbc:postgresql://u:{}@h/d",
    "mysql://u:{}@h/d",
    "{}",
]


@settings(max_examples=500, deadline=None)
@given(signs, signs, st.sampled_from(SHAPES))
@example("123/", "", SHAPES[0])
@example("p@@", "@", SHAPES[0])
@example("/", "?12=", SHAPES[0])
@example("@", "?12=", SHAPES[0])
@example("/", "?12=", "jdbc:postgresql://u:{}@h/d")
def test_nothing_of_a_password_is_said_however_wrongly_it_is_written(before: str, after: str, shape: str) -> None:
    said = everything_it_says(shape.replace("{}", f"{before}{MARK}{after}"))
    assert MARK not in said


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgresql://app@db1/shop", "postgresql://app@pool1:6432/shop"),
        ("postgresql://app@db1", "postgresql://app@pool1:6432"),
        ("postgresql://app@db1:/", "postgresql://app@pool1:6432/"),
        ("postgresql:///shop", "postgresql://pool1:6432/shop"),
        ("postgresql://", "postgresql://pool1:6432"),
        ("postgresql://:5433/shop", "postgresql://pool1:6432/shop"),
        ("postgresql://app@[2001:db8::1]:5432/shop", "postgresql://app@pool1:6432/shop"),
        ("postgresql://app@%2Fvar%2Frun%2Fpostgresql/shop", "postgresql://app@pool1:6432/shop"),
        ("postgresql:///shop?host=/tmp&user=app", "postgresql:///shop?host=pool1&port=6432&user=app"),
        ("postgresql://db1/shop?host=db1&port=5432", "postgresql://pool1/shop?host=pool1&port=6432"),
        ("postgresql://app:a%2Fb@db1?pool_max=5&x", "postgresql://app:a%2Fb@pool1:6432?pool_max=5&x"),
        ("postgresql://db1/shop?options=-c search_path=a", "postgresql://pool1:6432/shop?options=-c search_path=a"),
        ("postgresql+asyncpg://app:50%off@db1/shop", "postgresql+asyncpg://app:50%off@pool1:6432/shop"),
        ("host=db1 password=a\\", "port=6432 host=pool1 password=a\\"),
        ("host='db1'port=5432 dbname = 'it\\'s'", "host='pool1'port=6432 dbname = 'it\\'s'"),
        ("dbname=shop", "host=pool1 port=6432 dbname=shop"),
        ("jdbc:postgresql://db1/shop", "jdbc:postgresql://pool1:6432/shop"),
        ("jdbc:postgresql:///shop?user=a", "jdbc:postgresql://pool1:6432/shop?user=a"),
    ],
)
def test_rewritten_to_a_pooler(text: str, expected: str) -> None:
    assert rewritten(text, "pool1", 6432) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgresql://app:p%40@db1:5432/shop", "postgresql://app:p%40@/shop?port=6432&host=/run/pg%2Bb"),
        ("postgresql://app@db1/shop?sslmode=x", "postgresql://app@/shop?port=6432&host=/run/pg%2Bb&sslmode=x"),
        ("postgresql://db1:5432/shop?port=5432", "postgresql:///shop?port=6432&host=/run/pg%2Bb"),
        ("postgresql://", "postgresql://?port=6432&host=/run/pg%2Bb"),
        ("postgresql+psycopg://a:p@db1/shop", "postgresql+psycopg://a:p@/shop?port=6432&host=/run/pg%2Bb"),
        ("postgresql://a@/shop?host=db1&port=5432", "postgresql://a@/shop?host=/run/pg%2Bb&port=6432"),
        ("host=db1 dbname=shop", "port=6432 host=/run/pg+b dbname=shop"),
    ],
)
def test_rewritten_to_a_unix_socket(text: str, expected: str) -> None:
    assert rewritten(text, "/run/pg+b", 6432) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgresql://app@db1", "postgresql://app@[::1]:6432/s%2F1"),
        ("postgresql://app@db1/?sslmode=require", "postgresql://app@[::1]:6432/s%2F1?sslmode=require"),
        ("postgresql://db1?dbname=shop", "postgresql://[::1]:6432?dbname=s/1"),
        ("user=app", "host=::1 port=6432 dbname=s/1 user=app"),
        ("host=db1 dbname='shop'", "port=6432 host=::1 dbname='s/1'"),
        ("jdbc:postgresql://db1:5432/?user=app", "jdbc:postgresql://[::1]:6432/s%2F1?user=app"),
    ],
)
def test_rewritten_to_an_entry_of_another_name(text: str, expected: str) -> None:
    assert rewritten(text, "::1", 6432, "s/1") == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is no PostgreSQL URL"),
        ("mysql://u@h/d", "is no PostgreSQL URL"),
        ("jdbc:postgresql:shop", "is no PostgreSQL URL"),
        ("host=db1 port", "an = is missing"),
        ("host='db1", "an = is missing"),
        ("postgresql://u:50%off@h/d", "begins no percent-encoded"),
        ("postgresql://u:p@ss@h/d", "does not belong there"),
        ("postgresql://u:p/ss@h/d", "does not belong there"),
        ("postgresql://u@h:port/d", "does not belong there"),
        ("postgresql://u@h:65536/d", "does not belong there"),
        ("jdbc:postgresql://u:p@h/d", "does not belong there"),
        ("postgresql://[::1/d", "cannot be told from its port"),
        ("postgresql://db1/shop?host=db2", "names host twice"),
        ("host=db1 host=db2", "names host twice"),
        ("postgresql://a,b:1,c:2/d?port=1,2", "names port twice"),
        ("host=a,b,c port=1,2", "3 hosts and 2 ports"),
        ("postgresql://a,b/d", "names 2 hosts, to be tried in turn"),
        ("host=db1 hostaddr=10.0.0.1", "led elsewhere by hostaddr"),
        ("service=shop", "led elsewhere by service"),
        ("jdbc:postgresql:///d?PGHOST=db1", "its address from PGHOST"),
        ("postgresql:// db1/d", "has a blank"),
        ("postgresql+asyncpg://db1/50%25", "drivers differ"),
        ("postgresql+asyncpg://db1/shop?a=x@db2", "does not belong there"),
    ],
)
def test_refused_with_a_reason(text: str, reason: str) -> None:
    with pytest.raises(PoolwardError, match=reason) as caught:
        rewritten(text, "pool1", 6432)
    assert caught.value.hint


def test_what_the_text_leaves_open_is_taken_from_the_environment_but_not_by_jdbc() -> None:
    environment = {"host": "db1", "port": "5433", "user": "app", "options": "-c x=1"}
    found = parse("postgresql:///shop?options=-c%20y=2", environment)
    assert (found.host, found.port, found.user, found.parameters) == ("db1", 5433, "app", {"options": "-c y=2"})
    assert parse("jdbc:postgresql:///shop", environment).host == "localhost"


@pytest.mark.parametrize("password", ["p+w", "50%off", "a b", "é"])
def test_a_driver_named_behind_a_plus_reads_the_password_as_written_or_encoded(password: str) -> None:
    for written in {password, quote(password)}:
        found = parse(f"postgresql+psycopg2://app:{written}@db1/shop?application_name=a+b")
        assert found.password
        assert found.password.get_secret_value() == password
        assert found.parameters == {"application_name": "a b"}
