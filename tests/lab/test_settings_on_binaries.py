"""The table and the rendering against the binaries of the poolers: 1.24, 1.18 and 1.26.

A throwaway start on the pooler, in a directory of its own, on a Unix socket only, as `nobody`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from lab.docker import file_script
from lab.topology import Lab
from poolward.render import Configuration, pgbouncer_ini, userlist_txt
from poolward.settings import Setting, Value, Version, check, same, table
from tests.lab.support import on

FOLDER, PORT = "/run/settings-on-binaries", 16432
AS_NOBODY = "setpriv --reuid=65534 --regid=65534 --clear-groups"
# the start under test sets these itself, or they need what the machine may not have: a certificate, a group
LEFT_ALONE = {
    *("listen_addr", "listen_port", "unix_socket_dir", "unix_socket_group", "logfile", "pidfile", "auth_file", "user"),
    *("client_tls_sslmode", "auth_dbname", "syslog", "disable_pqexec"),
}
# Started as a candidate is checked: settings behind the %include still belong to its [pgbouncer].
WRAPPER = f"""\
%include {FOLDER}/candidate.ini
listen_addr =
listen_port = {PORT}
unix_socket_dir = {FOLDER}
logfile =
pidfile =
auth_file = {FOLDER}/userlist.txt
"""
START = f"""
cd {FOLDER}
setsid {AS_NOBODY} /usr/sbin/pgbouncer {FOLDER}/wrapper.ini >log 2>&1 </dev/null &
echo $! >pid
for _ in $(seq 200); do
    if grep -q 'process up' log; then exit 0; fi
    kill -0 "$(cat pid)" 2>/dev/null || break
    sleep 0.05
done
cat log >&2
exit 1
"""

pytestmark = pytest.mark.usefixtures("as_declared")


@dataclass(frozen=True)
class Binary:
    """The PgBouncer of one pooler."""

    lab: Lab
    pooler: str
    version: Version

    @contextmanager
    def running(self, candidate: str, userlist: str = "") -> Iterator[None]:
        """It runs on these files for a while."""
        files = {"candidate.ini": candidate, "wrapper.ini": WRAPPER, "userlist.txt": userlist}
        written = "".join(file_script(f"{FOLDER}/{name}", text, "0644") for name, text in files.items())
        on(self.lab, self.pooler, f"install -d -o 65534 -g 65534 {FOLDER}\n{written}\n{START}")
        try:
            yield
        finally:
            on(self.lab, self.pooler, f'kill -KILL "$(cat {FOLDER}/pid)"; rm -rf {FOLDER}')

    def show(self, what: str) -> list[dict[str, str]]:
        """One of its SHOW commands."""
        psql = f"psql -X --csv -h {FOLDER} -p {PORT} -U pgbouncer -c 'SHOW {what}' pgbouncer"
        return list(csv.DictReader(io.StringIO(on(self.lab, self.pooler, f"cd /; {AS_NOBODY} {psql}"))))


@pytest.fixture
def binary(lab: Lab, pooler: str) -> Binary:
    return Binary(lab, pooler, Version.parse(on(lab, pooler, "pgbouncer --version").splitlines()[0]))


def settings_of(version: Version) -> list[Setting]:
    mine = [row for row in table().values() if row.section == "pgbouncer" and row.name != "service_name"]
    return [row for row in mine if row.since <= version and not (row.until and row.until <= version)]


def test_the_table_equals_show_config(binary: Binary) -> None:
    version = binary.version
    with binary.running("[databases]\n[pgbouncer]\n"):
        shown = {row["key"]: (row["default"], row["changeable"]) for row in binary.show("CONFIG")}
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


def test_every_setting_is_read_as_it_was_meant(binary: Binary) -> None:
    version = binary.version
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
    with binary.running(pgbouncer_ini(Configuration({}, settings), version)):
        shown = {row["key"]: row["value"] for row in binary.show("CONFIG")}
    assert {row.name: shown[row.name] for row, value in wanted.items() if not same(row, value, shown[row.name])} == {}
    unchanged = {row.name for row in wanted if same(row, row.default_in(version), shown[row.name])}
    assert all(table()["pgbouncer", name].type == "text" or "_tls_" in name for name in unchanged), unchanged


def test_awkward_names_and_secrets_arrive_whole(binary: Binary) -> None:
    names = {"plain": "shop", "quote": "it's", "both": "'", "blank": "a b ", "back": "a\\b\\", "more": "é;#=x"}
    userlist = userlist_txt({'ann "x"': 'a "b" c', "ben": ""})
    databases = {entry: {"dbname": name, "reserve_pool_size": 7} for entry, name in names.items()}
    with binary.running(pgbouncer_ini(Configuration(databases, {}), binary.version), userlist):
        shown = {row["name"]: row for row in binary.show("DATABASES") if row["name"] != "pgbouncer"}
        users = {row["name"] for row in binary.show("USERS")}
    assert {name: row["database"] for name, row in shown.items()} == names
    assert {row.get("reserve_pool_size") or row.get("reserve_pool") for row in shown.values()} == {"7"}
    assert {'ann "x"', "ben"} <= users
