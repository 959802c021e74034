"""The table and the rendering against a PgBouncer binary: $POOLWARD_PGBOUNCER, or the pgbouncer of this machine.

A throwaway start in a directory of its own, on a Unix socket only, as `nobody` when the tests run as root.
"""

import csv
import io
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from poolward.render import Configuration, pgbouncer_ini, userlist_txt
from poolward.settings import Setting, Value, Version, check, same, table

BINARY = os.environ.get("POOLWARD_PGBOUNCER") or shutil.which("pgbouncer") or ""
NOBODY = 65534
AS_NOBODY = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"] if os.getuid() == 0 else []
PORT = 16432
# the start under test sets these itself, or they need what the machine may not have: a certificate, a group
LEFT_ALONE = {
    *("listen_addr", "listen_port", "unix_socket_dir", "unix_socket_group", "logfile", "pidfile", "auth_file", "user"),
    *("client_tls_sslmode", "auth_dbname", "syslog", "disable_pqexec"),
}

pytestmark = pytest.mark.skipif(not BINARY, reason="no pgbouncer binary: set POOLWARD_PGBOUNCER to one")


@pytest.fixture(scope="module")
def version() -> Version:
    shown = subprocess.run([BINARY, "--version"], capture_output=True, text=True, check=True).stdout
    return Version.parse(shown.splitlines()[0])


@pytest.fixture
def scratch() -> Iterator[Path]:
    # not tmp_path: nobody must reach it, and a socket's path has at most 107 bytes
    with tempfile.TemporaryDirectory() as name:
        if AS_NOBODY:
            os.chown(name, NOBODY, NOBODY)
        yield Path(name)


@contextmanager
def running(scratch: Path, candidate: str) -> Iterator[None]:
    """Started as a candidate is checked: settings behind the %include still belong to its [pgbouncer]."""
    (scratch / "candidate.ini").write_text(candidate)
    wrapper = scratch / "wrapper.ini"
    wrapper.write_text(
        f"%include {scratch}/candidate.ini\nlisten_addr =\nlisten_port = {PORT}\n"
        f"unix_socket_dir = {scratch}\nlogfile =\npidfile =\nauth_file = {scratch}/userlist.txt\n"
    )
    log = scratch / "log"
    with log.open("w") as output:
        process = subprocess.Popen([*AS_NOBODY, BINARY, str(wrapper)], stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + 10
        while "process up" not in (said := log.read_text()):
            assert process.poll() is None, said
            assert time.monotonic() < deadline, said
            time.sleep(0.05)
        yield
    finally:
        process.kill()
        process.wait(10)


def show(scratch: Path, what: str) -> list[dict[str, str]]:
    psql = ["psql", "-X", "--csv", "-h", str(scratch), "-p", str(PORT), "-U", "pgbouncer", "-c", f"SHOW {what}"]
    asked = subprocess.run([*AS_NOBODY, *psql, "pgbouncer"], capture_output=True, text=True)
    assert asked.returncode == 0, asked.stderr + (scratch / "log").read_text()
    return list(csv.DictReader(io.StringIO(asked.stdout)))


def settings_of(version: Version) -> list[Setting]:
    mine = [row for row in table().values() if row.section == "pgbouncer" and row.name != "service_name"]
    return [row for row in mine if row.since <= version and not (row.until and row.until <= version)]


def test_the_table_equals_show_config(scratch: Path, version: Version) -> None:
    with running(scratch, "[databases]\n[pgbouncer]\n"):
        shown = {row["key"]: (row["default"], row["changeable"]) for row in show(scratch, "CONFIG")}
    ours = {row.name: (row.default_in(version), "no" if row.needs_restart else "yes") for row in settings_of(version)}
    if version == (1, 18, 0):
        # Debian's security update gave it the auth_query of 1.24.1
        ours["auth_query"] = (table()["pgbouncer", "auth_query"].default_in(Version(1, 24, 1)), "yes")
    assert ours == shown


def another_value(setting: Setting, version: Version) -> Value:
    default = setting.default_in(version)
    match setting.type:
        case "boolean":
            return default == "0"
        case "integer":
            return 1_000_000 if setting.name == "max_packet_size" else int(default or 0) + 1
        case "seconds":
            return float(default) + 0.25
        case "octal":
            return "0750"
        case "list":
            return ["client_encoding", "TimeZone"]
        case "sql":
            return "SELECT 'a'; -- # b"
        case "path":
            # PgBouncer opens the files of TLS at once
            return "" if "_tls_" in setting.name else "/nonexistent/x"
        case "enum":
            # of sslmode neither the default nor one that needs a certificate authority
            return setting.legal[-3].text
        case _:
            return default or "ann"


def test_every_setting_is_read_as_it_was_meant(scratch: Path, version: Version) -> None:
    wanted = {
        row: another_value(row, version)
        for row in settings_of(version)
        if not row.refused and row.name not in LEFT_ALONE
    }
    wanted[table()["pgbouncer", "pool_mode"]] = "Transaction"
    wanted[table()["pgbouncer", "server_lifetime"]] = 1234567
    for row, value in wanted.items():
        assert check("pgbouncer", row.name, value, version, "") == []
    settings = {row.name: value for row, value in wanted.items()}
    with running(scratch, pgbouncer_ini(Configuration({}, settings), version)):
        shown = {row["key"]: row["value"] for row in show(scratch, "CONFIG")}
    assert {row.name: shown[row.name] for row, value in wanted.items() if not same(row, value, shown[row.name])} == {}
    unchanged = {row.name for row in wanted if same(row, row.default_in(version), shown[row.name])}
    assert all(table()["pgbouncer", name].type == "text" or "_tls_" in name for name in unchanged), unchanged


def test_awkward_names_and_secrets_arrive_whole(scratch: Path, version: Version) -> None:
    names = {"plain": "shop", "quote": "it's", "both": "'", "blank": "a b ", "back": "a\\b\\", "more": "é;#=x"}
    (scratch / "userlist.txt").write_text(userlist_txt({'ann "x"': 'a "b" c', "ben": ""}))
    databases = {entry: {"dbname": name, "reserve_pool_size": 7} for entry, name in names.items()}
    with running(scratch, pgbouncer_ini(Configuration(databases, {}), version)):
        shown = {row["name"]: row for row in show(scratch, "DATABASES") if row["name"] != "pgbouncer"}
        users = {row["name"] for row in show(scratch, "USERS")}
    assert {name: row["database"] for name, row in shown.items()} == names
    assert {row.get("reserve_pool_size") or row.get("reserve_pool") for row in shown.values()} == {"7"}
    assert {'ann "x"', "ben"} <= users
