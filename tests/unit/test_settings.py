"""The settings table and the sentences it refuses with, as an operator meets them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolward.errors import PoolwardError
from poolward.settings import SECTIONS, Setting, Version, check, find, same, spelling, table, text, version_problem

BOOKWORM, TRIXIE, SID = Version(1, 18, 0), Version(1, 24, 1), Version(1, 26, 1)


def known(section: str, name: str) -> Setting:
    setting = find(section, name)
    assert setting, name
    return setting


@pytest.mark.parametrize(
    ("written", "version"),
    [
        ("1.24.1", TRIXIE),
        ("1.18.0-1+deb12u1", BOOKWORM),
        ("1.24.1-1+deb13u2", TRIXIE),
        ("PgBouncer 1.26.1\n", SID),
        ("1.26", Version(1, 26, 0)),
        ("1.27.0~rc1", Version(1, 27, 0)),
    ],
)
def test_versions_as_debian_and_pgbouncer_write_them(written: str, version: Version) -> None:
    assert Version.parse(written) == version


@pytest.mark.parametrize("written", ["", "1", "latest", "v1.24", "1.24.1 or so", "17.2 (Debian)"])
def test_what_is_no_version(written: str) -> None:
    with pytest.raises(PoolwardError, match="is not a version"):
        Version.parse(written)


def test_versions_compare_as_numbers() -> None:
    assert Version.parse("1.9.0") < Version.parse("1.18.0") < Version.parse("1.18.1")
    assert str(Version.parse("1.18.0-1+deb12u1")) == "1.18.0"


def test_the_table_knows_each_version_s_own_settings() -> None:
    """Numbers of keys counted in CF_ABS of main.c at tags 1.18.0 and 1.24.1, less the Windows-only service_name."""

    def count(version: Version) -> int:
        return sum(
            row.section == "pgbouncer" and row.since <= version and not (row.until and row.until <= version)
            for row in table().values()
        )

    assert (count(BOOKWORM) - 1, count(TRIXIE) - 1) == (84, 92)


def test_every_row_is_well_formed() -> None:
    types = {"integer", "boolean", "octal", "seconds", "enum", "list", "path", "sql", "text"}
    for row in table().values():
        assert row.section in SECTIONS, row.name
        assert row.type in types, row.name
        assert row.change in {"reload", "restart"}, row.name
        assert row.legal or row.type not in {"integer", "enum"}, row.name
        assert not row.until or row.until > row.since, row.name


def test_every_default_is_itself_legal() -> None:
    for row in table().values():
        for version in (BOOKWORM, TRIXIE, SID):
            default = row.default_in(version)
            if default and row.since <= version and not row.refused and not (row.until and row.until <= version):
                assert check(row.section, row.name, default, version, "") == [], row.name


@pytest.mark.parametrize(
    ("name", "defaults"),
    [
        ("server_tls_sslmode", ("disable", "prefer", "prefer")),
        ("client_tls_ciphers", ("fast", "default", "default")),
        ("server_check_query", ("select 1", "select 1", "<empty>")),
        ("track_extra_parameters", ("IntervalStyle", "IntervalStyle", "")),
    ],
)
def test_defaults_that_changed(name: str, defaults: tuple[str, str, str]) -> None:
    setting = known("pgbouncer", name)
    assert tuple(setting.default_in(version) for version in (BOOKWORM, TRIXIE, SID)) == defaults


ACCEPTED = [
    ("pgbouncer", "pool_mode", "transaction", BOOKWORM, "transaction"),
    ("pgbouncer", "pool_mode", "Transaction", BOOKWORM, "transaction"),
    ("pgbouncer", "log_connections", True, BOOKWORM, "1"),
    ("pgbouncer", "log_connections", False, BOOKWORM, "0"),
    ("pgbouncer", "log_connections", 0, BOOKWORM, "0"),
    ("pgbouncer", "default_pool_size", "20", BOOKWORM, "20"),
    ("pgbouncer", "default_pool_size", 0, TRIXIE, "0"),
    ("pgbouncer", "query_timeout", 0.5, BOOKWORM, "0.5"),
    ("pgbouncer", "query_timeout", 1e-05, BOOKWORM, "0.00001"),
    ("pgbouncer", "query_timeout", 3, BOOKWORM, "3"),
    ("pgbouncer", "admin_users", ["anna", "ben"], BOOKWORM, "anna,ben"),
    ("pgbouncer", "admin_users", "anna, ben", BOOKWORM, "anna, ben"),
    ("pgbouncer", "admin_users", [], BOOKWORM, ""),
    ("pgbouncer", "unix_socket_mode", "0770", BOOKWORM, "0770"),
    ("pgbouncer", "unix_socket_dir", "@pgbouncer", BOOKWORM, "@pgbouncer"),
    ("pgbouncer", "server_reset_query", "SET a = 1; DISCARD ALL", BOOKWORM, "SET a = 1; DISCARD ALL"),
    ("pgbouncer", "server_check_query", "<empty>", SID, "<empty>"),
    ("pgbouncer", "auth_type", "ldap", SID, "ldap"),
    ("pgbouncer", "logfile", "", BOOKWORM, ""),
    ("pgbouncer", "max_prepared_statements", 100, None, "100"),
    ("pgbouncer", "suspend_timeout", 5, None, "5"),
    ("pgbouncer", "client_tls_ciphers", "HIGH:!aNULL", TRIXIE, "HIGH:!aNULL"),
    ("databases", "reserve_pool", 3, BOOKWORM, "3"),
    ("databases", "reserve_pool_size", 3, BOOKWORM, "3"),
    ("databases", "connect_query", "select 'x' # 1 ; select 2 ", BOOKWORM, "select 'x' # 1 ; select 2 "),
    ("databases", "host", ["db1", "db2"], BOOKWORM, "db1,db2"),
    ("users", "max_user_connections", 3, BOOKWORM, "3"),
    ("peers", "host", "/run/one", TRIXIE, "/run/one"),
]


@pytest.mark.parametrize(("section", "name", "value", "version", "written"), ACCEPTED)
def test_accepted_and_written(section: str, name: str, value: object, version: Version | None, written: str) -> None:
    assert check(section, name, value, version, "here") == []
    assert text(known(section, name), value) == written


LEGAL_ROLES = "any, trust, plain, md5, scram-sha-256, cert, hba, pam, ldap (from 1.25.0)"
# what the operator wrote → what the operator reads, and a part of the hint
GALLERY = [
    ("pgbouncer", "pool_mode", "transactoin", BOOKWORM,
     "pool_mode = 'transactoin' is not one of session, transaction, statement.", "Did you mean transaction?"),
    ("pgbouncer", "pool_mode", "transactoin", None,
     "pool_mode = 'transactoin' is not one of session, transaction, statement.", "Did you mean transaction?"),
    ("pgbouncer", "pool_mode", True, BOOKWORM, "pool_mode = True is not one of session, transaction, statement.", ""),
    ("pgbouncer", "auth_type", "ldap", TRIXIE, f"auth_type = 'ldap' is not one of {LEGAL_ROLES}.", ""),
    ("pgbouncer", "defualt_pool_size", 20, None,
     "[pgbouncer] has no setting defualt_pool_size in any PgBouncer from 1.18 to 1.26.",
     "Did you mean default_pool_size?"),
    ("databases", "default_pool_size", 20, None,
     "[databases] has no setting default_pool_size in any PgBouncer from 1.18 to 1.26.",
     "default_pool_size belongs in [pgbouncer]."),
    ("databases", "sslmode", "require", None,
     "[databases] has no setting sslmode in any PgBouncer from 1.18 to 1.26.", ""),
    ("pgbouncer", "service_name", "x", None, "service_name exists only in PgBouncer for Windows.", "job_name"),
    ("pgbouncer", "conffile", "/etc/x", None,
     "conffile is what PgBouncer reports about itself, not a setting to write.", "Remove it."),
    ("pgbouncer", "max_prepared_statements", 100, BOOKWORM,
     "max_prepared_statements in [pgbouncer] needs PgBouncer 1.21.0; this one is 1.18.0 and would not start.",
     "Leave it out."),
    ("users", "pool_size", 5, BOOKWORM,
     "pool_size in [users] needs PgBouncer 1.23.0; this one is 1.18.0 and would not start.", "Leave it out."),
    ("pgbouncer", "suspend_timeout", 5, SID,
     "suspend_timeout was removed in PgBouncer 1.26.0; this one is 1.26.1 and would not start.", "Leave it out."),
    ("pgbouncer", "pool_mode", "session", Version(1, 17, 0),
     "PgBouncer 1.17.0 is older than 1.18.0, the oldest version that Poolward supports.", "Debian 12"),
    ("pgbouncer", "default_pool_size", 0, BOOKWORM,
     "default_pool_size = 0 is out of range: 1 to 2147483647, 0 (from 1.24.0).", "starves the pool"),
    ("databases", "pool_size", 0, BOOKWORM,
     "pool_size = 0 is out of range: 1 to 2147483647, 0 (from 1.24.0).", "starves the pool"),
    ("databases", "max_db_connections", 0, TRIXIE,
     "max_db_connections = 0 is out of range: 1 to 2147483647.", "cannot opt out"),
    ("pgbouncer", "default_pool_size", "many", None, "default_pool_size = 'many' is not a whole number.", "unit"),
    ("pgbouncer", "default_pool_size", "020", None, "default_pool_size = '020' is not a whole number.", "leading zero"),
    ("pgbouncer", "default_pool_size", 20.0, None, "default_pool_size = 20.0 is not a whole number.", ""),
    ("pgbouncer", "default_pool_size", True, None, "default_pool_size = True is not a whole number.", ""),
    ("pgbouncer", "default_pool_size", None, None, "default_pool_size = None is not a whole number.", ""),
    ("pgbouncer", "default_pool_size", 3_000_000_000, SID,
     "default_pool_size = 3000000000 is out of range: 1 to 2147483647, 0 (from 1.24.0).", ""),
    ("pgbouncer", "peer_id", 20000, TRIXIE, "peer_id = 20000 is out of range: 0 to 16383.", "no peering"),
    ("pgbouncer", "listen_port", 0, None, "listen_port = 0 is out of range: 1 to 65535.", ""),
    ("pgbouncer", "log_stats", "on", None, "log_stats = 'on' is no boolean: PgBouncer reads 0 and 1.", "True or False"),
    ("pgbouncer", "log_stats", "True", None,
     "log_stats = 'True' is no boolean: PgBouncer reads 0 and 1.", "True or False"),
    ("pgbouncer", "log_stats", 1.0, None, "log_stats = 1.0 is no boolean: PgBouncer reads 0 and 1.", "True or False"),
    ("pgbouncer", "disable_pqexec", True, None, "disable_pqexec must not be 1.", "disconnect psql from the console"),
    ("pgbouncer", "query_timeout", "5s", None,
     "query_timeout = '5s' is no time: it takes a number of seconds, not negative, without a unit.", ""),
    ("pgbouncer", "query_timeout", -1, None,
     "query_timeout = -1 is no time: it takes a number of seconds, not negative, without a unit.", ""),
    ("pgbouncer", "query_timeout", float("nan"), None,
     "query_timeout = nan is no time: it takes a number of seconds, not negative, without a unit.", ""),
    ("databases", "server_lifetime", 0.5, SID, "server_lifetime = 0.5 is not a whole number of seconds.", ""),
    ("pgbouncer", "unix_socket_mode", 770, None, "unix_socket_mode = 770 is no file mode.", 'leading zero: "0770"'),
    ("pgbouncer", "unix_socket_mode", "0o770", None, "unix_socket_mode = '0o770' is no file mode.", '"0770"'),
    ("pgbouncer", "unix_socket_dir", "", None, "unix_socket_dir must not be empty.", "administers PgBouncer through"),
    ("pgbouncer", "auth_file", "userlist.txt", None,
     "auth_file is no absolute path, and under systemd PgBouncer looks from /.", "slash"),
    ("pgbouncer", "server_check_query", "<empty>", TRIXIE,
     "server_check_query = <empty> is understood from PgBouncer 1.25.0 on; this one is 1.24.1.", "sent as SQL"),
    ("pgbouncer", "auth_dbname", "pgbouncer", TRIXIE, "auth_dbname must not be pgbouncer.", "entry of [databases]"),
    ("pgbouncer", "admin_users", "anna ; and ben", None,
     "admin_users contains what looks like a comment; PgBouncer knows none behind a value and would take it as part"
     " of it.", "Remove"),
    ("pgbouncer", "admin_users", "anna\nauth_type = any", None,
     "admin_users contains a line break or another control character, which PgBouncer's file cannot hold.", "one line"),
    ("pgbouncer", "admin_users", "anna\0", None,
     "admin_users contains a line break or another control character, which PgBouncer's file cannot hold.", ""),
    ("pgbouncer", "admin_users", ["anna,ben"], None,
     "admin_users has an item that is empty or contains a comma.", "one text each"),
    ("pgbouncer", "admin_users", {"anna": 1}, None, "admin_users must be text, not dict.", ""),
    ("pgbouncer", "auth_user", ["anna"], None, "auth_user must be text, not list.", ""),
    ("pgbouncer", "auth_user", "anna ", None, "auth_user begins or ends with a blank, which PgBouncer drops.", ""),
    ("databases", "dbname", "", None, "dbname is empty, a syntax error to PgBouncer.", "Leave it out."),
    ("databases", "password", "hush", None,
     "password would put a secret in group data and in pgbouncer.ini.", "userlist.txt"),
]  # fmt: skip


@pytest.mark.parametrize(("section", "name", "value", "version", "sentence", "hint"), GALLERY)
def test_refused_with_a_sentence(
    section: str, name: str, value: object, version: Version | None, sentence: str, hint: str
) -> None:
    problems = check(section, name, value, version, "pgbouncer_settings")
    assert [problem.message for problem in problems] == [sentence]
    assert hint in problems[0].hint
    assert problems[0].where == "pgbouncer_settings"
    assert "hush" not in str(problems[0])


def test_the_right_spelling_for_each_version() -> None:
    assert spelling("databases", "reserve_pool_size", BOOKWORM) == "reserve_pool"
    assert spelling("databases", "reserve_pool", BOOKWORM) == "reserve_pool"
    assert spelling("databases", "reserve_pool_size", TRIXIE) == "reserve_pool_size"
    assert spelling("databases", "reserve_pool", TRIXIE) == "reserve_pool_size"
    assert spelling("pgbouncer", "reserve_pool_size", BOOKWORM) == "reserve_pool_size"


def test_restart_or_reload() -> None:
    """The `changeable` column of SHOW CONFIG."""
    assert {row.name for row in table().values() if row.needs_restart and not row.refused} == {
        *("disable_pqexec", "job_name", "listen_addr", "listen_backlog", "listen_port", "pidfile", "pkt_buf"),
        *("resolv_conf", "so_reuseport", "track_extra_parameters", "unix_socket_dir", "unix_socket_group"),
        *("unix_socket_mode", "user"),
    }


def test_only_too_old_a_pgbouncer_is_a_problem() -> None:
    assert version_problem(BOOKWORM, "pool1") is None
    assert version_problem(Version(1, 99), "pool1") is None
    assert version_problem(Version(1, 17, 9), "pool1") is not None


@pytest.mark.parametrize(
    ("name", "intended", "shown", "equal"),
    [
        ("unix_socket_mode", "0770", "504", True),
        ("unix_socket_mode", "0770", "0770", True),
        ("unix_socket_mode", "0770", "770", False),
        ("log_stats", True, "1", True),
        ("log_stats", False, "1", False),
        ("default_pool_size", 20, "20", True),
        ("default_pool_size", "20", "20", True),
        ("default_pool_size", 20, "", False),
        ("default_pool_size", 20, "21", False),
        ("verbose", 0, "0", True),
        ("query_timeout", 0.3, "0.3", True),
        ("query_timeout", 86400, "86400", True),
        ("query_timeout", 1234567, "1.23457e+06", True),
        ("query_timeout", 0.0000001, "0", True),
        ("query_timeout", 5, "6", False),
        ("pool_mode", "Transaction", "transaction", True),
        ("pool_mode", "session", "transaction", False),
        ("admin_users", ["anna", "ben"], "anna, ben", True),
        ("admin_users", ["anna"], "anna,ben", False),
        ("admin_users", [], "", True),
        ("server_reset_query", "DISCARD ALL", "DISCARD ALL", True),
        ("server_reset_query", "DISCARD ALL", "discard all", False),
    ],
)
def test_the_console_shows_what_was_meant(name: str, intended: object, shown: str, equal: bool) -> None:
    assert same(known("pgbouncer", name), intended, shown) is equal


@given(st.floats(0, 1e9, allow_nan=False), st.sampled_from([BOOKWORM, TRIXIE, SID]))
def test_any_time_is_written_without_an_exponent(seconds: float, version: Version) -> None:
    written = text(known("pgbouncer", "query_timeout"), seconds)
    assert check("pgbouncer", "query_timeout", seconds, version, "") == []
    assert float(written) == seconds
    assert set(written) <= set("0123456789.")
