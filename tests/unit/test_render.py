"""The two files, against golden copies and against texts written by hand in PgBouncer's own rules."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolward.errors import PoolwardError, Refused
from poolward.render import (
    Configuration,
    entry_name_problem,
    parse_ini,
    parse_userlist,
    pgbouncer_ini,
    problems,
    rendered_equals_intent,
    userlist_txt,
)
from poolward.settings import Value, Version

GOLDEN = Path(__file__).parent / "golden"
BOOKWORM, TRIXIE = Version(1, 18, 0), Version(1, 24, 1)

COMMON: dict[str, Value] = {
    "listen_addr": ["127.0.0.1", "10.0.0.5"],
    "listen_port": 6432,
    "unix_socket_dir": "/run/postgresql",
    "unix_socket_mode": "0770",
    "auth_type": "scram-sha-256",
    "auth_file": "/etc/poolward/userlist.txt",
    "auth_query": "SELECT role, secret FROM poolward.login($1)",
    "pool_mode": "transaction",
    "default_pool_size": 20,
    "reserve_pool_size": 5,
    "max_client_conn": 2000,
    "server_login_retry": 2.5,
    "log_connections": False,
    "logfile": "",
    "ignore_startup_parameters": ["extra_float_digits", "options"],
}
SHOP: dict[str, Value] = {"host": ["db1", "db2"], "max_db_connections": 25, "reserve_pool_size": 3}
SESSION: dict[str, Value] = {
    "host": "db1",
    "dbname": "shop",
    "connect_query": "set a = 'it''s'",
    "pool_mode": "session",
}

WANTED = {
    "1.18": (Configuration({"shop": SHOP, "shop_session": SESSION}, COMMON), BOOKWORM),
    "1.24": (
        Configuration(
            {"shop": SHOP, "shop_session": SESSION, "poolward_auth": {"host": "/run/postgresql", "dbname": "postgres"}},
            {**COMMON, "auth_dbname": "poolward_auth", "max_prepared_statements": 200, "peer_id": 1},
            users={"reports": {"pool_mode": "session", "pool_size": 4}},
            peers={"1": {"host": "/run/poolward/1"}, "2": {"host": "/run/poolward/2", "pool_size": 5}},
        ),
        TRIXIE,
    ),
}


@pytest.mark.parametrize("release", WANTED)
def test_golden(release: str) -> None:
    """To accept a change: delete the file and look at what the next run writes in its place."""
    golden = GOLDEN / f"pgbouncer-{release}.ini"
    rendered = pgbouncer_ini(*WANTED[release])
    if not golden.exists():
        golden.write_text(rendered)
        pytest.fail(f"{golden.name} was missing and is written now: read it before you commit it.")
    assert rendered == golden.read_text()


def test_the_order_of_the_inventory_does_not_change_a_byte() -> None:
    wanted, version = WANTED["1.24"]
    reordered = Configuration(*(dict(reversed(part.items())) for part in (wanted.databases, wanted.settings)))
    assert pgbouncer_ini(Configuration(wanted.databases, wanted.settings), version) == pgbouncer_ini(reordered, version)


def test_one_pgbouncer_header_and_it_is_the_last_section() -> None:
    lines = pgbouncer_ini(*WANTED["1.24"]).splitlines()
    headers = [line for line in lines if line.startswith("[")]
    assert headers == ["[databases]", "[users]", "[peers]", "[pgbouncer]"]
    assert lines[0].startswith("; Managed by Poolward")
    assert [line for line in pgbouncer_ini(*WANTED["1.18"]).splitlines() if line.startswith("[")] == [
        "[databases]",
        "[pgbouncer]",
    ]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("shop", None),
        ("Shop_2.test-x", None),
        ("*", "'*' would let any database name through"),
        ("pgbouncer", "'pgbouncer' is PgBouncer's own console"),
        ("my shop", "'my shop' is no name PgBouncer can read"),
        ('"shop"', "is no name PgBouncer can read"),
        ("bücher", "'bücher' is no name PgBouncer can read"),
        ("shop\n", "is no name PgBouncer can read"),
        ("", "'' is no name PgBouncer can read"),
        ("x" * 63, None),
        ("x" * 64, "The name has 64 bytes; PgBouncer takes at most 63."),
    ],
)
def test_entry_names(name: str, sentence: str | None) -> None:
    problem = entry_name_problem(name)
    assert (problem is None) if sentence is None else (problem and sentence in problem)


@pytest.mark.parametrize(("name", "fine"), [("1", True), ("16383", True), ("0", False), ("16384", False), ("a", False)])
def test_peer_names(name: str, fine: bool) -> None:
    assert (entry_name_problem(name, "peers") is None) is fine


def test_every_problem_at_once_and_no_secret_among_them() -> None:
    wanted = Configuration(
        databases={"*": {"password": "hush"}, "shop": {"reserve_pool": 1, "reserve_pool_size": 2}},
        settings={"pol_mode": "session"},
        peers={"1": {"port": 6432}},
    )
    with pytest.raises(Refused) as refused:
        pgbouncer_ini(wanted, BOOKWORM)
    assert [(problem.where, problem.message.split(";")[0]) for problem in refused.value.problems] == [
        ("pgbouncer_settings", "[pgbouncer] has no setting pol_mode in any PgBouncer from 1.18 to 1.26."),
        ("pgbouncer_databases.*", "'*' would let any database name through, and a RELOAD cannot remove it"),
        ("pgbouncer_databases.*", "password would put a secret in group data and in pgbouncer.ini."),
        ("pgbouncer_databases.shop", "reserve_pool_size is given twice, by its old and its new name."),
        ("pgbouncer_peers.1", "port in [peers] needs PgBouncer 1.19.0"),
        ("pgbouncer_peers.1", "A peer without host stops PgBouncer's start."),
    ]
    assert "hush" not in str(refused.value)


def test_too_old_a_pgbouncer_is_one_problem() -> None:
    assert len(problems(WANTED["1.18"][0], Version(1, 17, 0))) == 1
    assert problems(WANTED["1.18"][0], None) == []


NAMES = st.text(st.sampled_from("abcXYZ019_.-"), min_size=1, max_size=20).filter(lambda name: name != "pgbouncer")
WRITABLE = st.characters(exclude_categories=["Cc", "Cs"])
TEXTS = st.text(WRITABLE | st.sampled_from("' \\=;#\"%[]"), min_size=1, max_size=30)


@given(st.dictionaries(NAMES, st.dictionaries(st.sampled_from(["dbname", "user", "connect_query"]), TEXTS), max_size=4))
def test_whatever_stands_in_an_entry_reads_back(databases: dict[str, dict[str, str]]) -> None:
    rendered = pgbouncer_ini(Configuration(databases, {}), BOOKWORM)
    assert parse_ini(rendered).databases == databases


@pytest.mark.parametrize(
    ("line", "entry"),
    [
        ("shop =", {}),
        ("shop= host=db1   port = 5433", {"host": "db1", "port": "5433"}),
        ("shop = user='a b' dbname='it''s'", {"user": "a b", "dbname": "it's"}),
        ("shop = user='a'  dbname=b'c", {"user": "a", "dbname": "b'c"}),
        ("shop = connect_query='x # y ; z \\'", {"connect_query": "x # y ; z \\"}),
        ("shop = user=ann ; the owner=x", None),
        ("shop = user=''", None),
        ("shop = user=", None),
        ("shop = user='ann", None),
        ("shop = user='ann''", None),
        ("shop = user", None),
        ("shop = user=a user=b", None),
        ('"shop" = user=a', None),
        ("shop user=a", None),
        ("%include /etc/more.ini", None),
        ("[pgbouncer]", None),
        ("[nonsense]", None),
        ("[databases", None),
    ],
)
def test_connection_strings_as_pgbouncer_reads_them(line: str, entry: Mapping[str, str] | None) -> None:
    """Expected by hand from cstr_get_pair() in loader.c and the ini parser in cfparser.c."""
    ini = f"[databases]\n{line}\n[pgbouncer]\n"
    if entry is None:
        with pytest.raises(PoolwardError, match=r"Line [23] of this pgbouncer.ini is wrong"):
            parse_ini(ini)
    else:
        assert parse_ini(ini).databases == {"shop": entry}


def test_settings_as_pgbouncer_reads_them() -> None:
    ini = parse_ini("; c\n#c\n\n[databases]\n\n[pgbouncer]\n  a = b ; c\t\nd=\n\te\t=\t f g\r\n")
    assert ini.settings == {"a": "b ; c", "d": "", "e": "f g"}


@pytest.mark.parametrize(
    "ini", ["", "[pgbouncer]\n[databases]\n", "a = b\n[pgbouncer]\n", "[pgbouncer]\na = 1\na = 2\n"]
)
def test_files_that_would_not_say_what_was_meant(ini: str) -> None:
    with pytest.raises(PoolwardError):
        parse_ini(ini)


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ("pool_mode = transaction", "pool_mode = session", "[pgbouncer] pool_mode"),
        ("reserve_pool=3", "reserve_pool=4", "[databases] shop"),
        ("log_connections = 0\n", "", "[pgbouncer] log_connections"),
    ],
)
def test_a_file_that_says_something_else_is_noticed(old: str, new: str, place: str) -> None:
    wanted, version = WANTED["1.18"]
    rendered = pgbouncer_ini(wanted, version)
    assert old in rendered
    with pytest.raises(PoolwardError) as noticed:
        rendered_equals_intent(rendered.replace(old, new), wanted, version)
    assert noticed.value.message.endswith(f": {place}.")


def test_userlist_by_hand() -> None:
    rendered = userlist_txt({"zoe": "", "ann": 'a "b" \\ c'})
    assert rendered.splitlines()[1:] == ['"ann" "a ""b"" \\ c"', '"zoe" ""']
    assert rendered.startswith("; Managed by Poolward")


@given(st.dictionaries(st.text(WRITABLE | st.just('"'), min_size=1, max_size=20), st.text(WRITABLE | st.just('"'))))
def test_any_secret_reads_back(entries: dict[str, str]) -> None:
    assert parse_userlist(userlist_txt(entries)) == entries


@pytest.mark.parametrize(
    ("text", "entries"),
    [
        ("", {}),
        ('; "a" "b"\n\n  "c" "d" trailing "words"\n', {"c": "d"}),
        ('"a"\t"b"', {"a": "b"}),
        ('"a""b" "c"""\n', {'a"b': 'c"'}),
        ('a "b"\n', None),
        ('"a"\n', None),
        ('"a" "b\n', None),
        ('"a" "b"\n"a" "c"\n', None),
    ],
)
def test_userlist_as_pgbouncer_reads_it(text: str, entries: Mapping[str, str] | None) -> None:
    """Expected by hand from load_auth_file() in loader.c."""
    if entries is None:
        with pytest.raises(PoolwardError):
            parse_userlist(text)
    else:
        assert parse_userlist(text) == entries


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [
        ({"ann": "hush\nhush"}, "The secret of 'ann' in userlist.txt contains a line break"),
        ({"ann": "hush\0"}, "The secret of 'ann' in userlist.txt contains a line break, a NUL"),
        ({"ann": "hush\ud800"}, "what is no valid text"),
        ({"ann": "hush" * 512}, "The secret of 'ann' in userlist.txt is longer than 2047 bytes"),
        ({"ann": '"hush' * 342}, "is longer than 2047 bytes"),
        ({"ann": "hushé" * 342}, "is longer than 2047 bytes"),
        ({"a" * 128: "hush"}, "is longer than 127 bytes"),
        ({"a\n": "hush"}, "contains a line break"),
        ({"": "hush"}, "is empty"),
    ],
)
def test_secrets_pgbouncer_would_lose_are_refused_and_not_shown(entries: dict[str, str], sentence: str) -> None:
    with pytest.raises(PoolwardError) as refused:
        userlist_txt(entries)
    assert sentence in str(refused.value)
    assert "hush" not in str(refused.value)


def test_the_longest_names_and_secrets_fit() -> None:
    entries = {"a" * 127: "x" * 2047}
    assert parse_userlist(userlist_txt(entries)) == entries
