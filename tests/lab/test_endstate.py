"""The end state suite passes on a deployed lab, and a host that differs is caught, each difference by its own test."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from lab.state import State
from lab.topology import REPOSITORY, Lab
from tests.lab.support import console, on, psql

pytestmark = pytest.mark.usefixtures("as_declared")

USERLIST, DROP_IN = "/etc/pgbouncer/userlist.txt", "/etc/systemd/system/pgbouncer.service.d/poolward.conf"
LOOKUP = "pgbouncer.user_lookup(text)"


@dataclass(frozen=True)
class Deviation:
    """A root script that makes a host differ, the one that takes it back, and the tests that must see it."""

    host: str
    plant: str
    restore: str
    seen_by: tuple[str, ...]


def sql(statement: str) -> str:
    return f"cd /; runuser -u postgres -- psql -XqAt -v ON_ERROR_STOP=1 -d tracksolid_db <<'EOF'\n{statement}\nEOF"


def on_console(statement: str) -> str:
    return f"cd /; runuser -u postgres -- psql -Xq -p 6432 -U pgbouncer -d pgbouncer -c '{statement}'"


DEVIATIONS = {
    "world-readable userlist": Deviation(
        "pool1",
        f"chmod 644 {USERLIST}",
        f"chmod 640 {USERLIST}",
        ("test_configuration_belongs_to_root_and_only_the_service_reads_it[pool1]",
         "test_no_file_beside_the_configuration_is_open_to_others[pool1]"),
    ),
    "application in userlist": Deviation(
        "pool1",
        f"""echo '"grafana" "x"' >> {USERLIST}""",
        f"sed -i '/^\"grafana\"/d' {USERLIST}; chown root:postgres {USERLIST}; chmod 640 {USERLIST}",
        ("test_userlist_holds_whom_it_should_and_nobody_else[pool1]",),
    ),
    "value set on the console": Deviation(
        "pool1",
        on_console("SET query_wait_timeout = 99"),
        on_console("SET query_wait_timeout = 15"),
        ("test_running_values_are_the_written_ones[pool1]",),
    ),
    "unfinished run": Deviation(
        "pool1",
        "mkdir /etc/pgbouncer/.poolward",
        "rmdir /etc/pgbouncer/.poolward",
        ("test_nothing_of_an_unfinished_run_is_left[pool1]",),
    ),
    "package not held": Deviation(
        "pool2",
        "apt-mark unhold pgbouncer",
        "apt-mark hold pgbouncer",
        ("test_package_is_installed_new_enough_and_held[pool2]",),
    ),
    "drop-in removed": Deviation(
        "pool2",
        f"mv {DROP_IN} /root/drop-in; systemctl daemon-reload",
        f"mv /root/drop-in {DROP_IN}; systemctl daemon-reload",
        ("test_service_is_enabled_and_running_from_the_unit_on_disk[pool2]",
         "test_configuration_belongs_to_root_and_only_the_service_reads_it[pool2]"),
    ),
    "entry disabled": Deviation(
        "pool2",
        on_console("DISABLE tracksolid_db_session"),
        on_console("ENABLE tracksolid_db_session"),
        ("test_every_entry_is_served_as_written[pool2-tracksolid_db_session]",
         "test_probe_logs_in[pool2-tracksolid_db_session]"),
    ),
    "EXECUTE granted to PUBLIC": Deviation(
        "db1",
        sql(f"GRANT EXECUTE ON FUNCTION {LOOKUP} TO PUBLIC"),
        sql(f"REVOKE EXECUTE ON FUNCTION {LOOKUP} FROM PUBLIC"),
        ("test_only_the_auth_role_may_execute_it[db1]",),
    ),
    "function without its conditions": Deviation(
        "db1",
        sql(
            f"\\o /var/lib/postgresql/lookup.sql\nSELECT pg_get_functiondef('{LOOKUP}'::regprocedure);\n\\o\n"
            "CREATE OR REPLACE FUNCTION pgbouncer.user_lookup(text) RETURNS TABLE (rolname text, rolpassword text) "
            "LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS "
            "'SELECT rolname::text, rolpassword FROM pg_authid WHERE rolname = $1'"
        ),
        sql("\\i /var/lib/postgresql/lookup.sql") + "\nrm /var/lib/postgresql/lookup.sql",
        ("test_roles_that_may_not_log_in_get_nobodys_secret_and_the_others_their_own[db1]",
         "test_unknown_names_get_nobodys_secret[db1]"),
    ),
    "probe without its limit": Deviation(
        "db1",
        sql("ALTER ROLE pgbouncer_probe CONNECTION LIMIT -1"),
        sql("ALTER ROLE pgbouncer_probe CONNECTION LIMIT 3"),
        ("test_probe_role_may_log_in_three_times_and_nothing_else[db1]",),
    ),
}  # fmt: skip


def suite(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "tests/endstate", "--inventory", "inventories/lab.py", *options]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="class")
def deviating(lab: Lab) -> Iterator[subprocess.CompletedProcess[str]]:
    """One run of the suite over all the deviations together; afterwards the hosts are as before."""
    planted: list[Deviation] = []
    try:
        for deviation in DEVIATIONS.values():
            planted.append(deviation)
            on(lab, deviation.host, deviation.plant)
        yield suite("-vv", "--showlocals")
    finally:
        for deviation in reversed(planted):
            on(lab, deviation.host, deviation.restore)


def failed(run: subprocess.CompletedProcess[str]) -> set[str]:
    return set(re.findall(r"^(?:FAILED|ERROR) \S+::(\S+)", run.stdout, re.MULTILINE))


class TestDeviations:
    @pytest.mark.parametrize("name", DEVIATIONS)
    def test_deviation_is_caught(self, deviating: subprocess.CompletedProcess[str], name: str):
        assert set(DEVIATIONS[name].seen_by) <= failed(deviating)

    def test_nothing_else_fails(self, deviating: subprocess.CompletedProcess[str]):
        assert deviating.returncode == 1
        assert failed(deviating) == {test for deviation in DEVIATIONS.values() for test in deviation.seen_by}

    def test_failures_show_no_secret(self, lab: Lab, deviating: subprocess.CompletedProcess[str]):
        said = deviating.stdout + deviating.stderr
        secrets = on(lab, "db1", "cat /var/lib/poolward/secrets/*").split()
        assert len(secrets) == 2
        for secret in (*secrets, State(lab).sudo_password.read_text()):
            assert secret not in said


def test_deployed_lab_passes(lab: Lab):
    before = console(lab, "pool1", "SHOW CONFIG"), psql(lab, "SELECT rolname, rolpassword FROM pg_authid ORDER BY 1")
    run = suite()
    assert (failed(run), run.returncode) == (set(), 0), run.stdout
    # it looked and changed nothing
    after = console(lab, "pool1", "SHOW CONFIG"), psql(lab, "SELECT rolname, rolpassword FROM pg_authid ORDER BY 1")
    assert before == after


def test_inventory_that_is_none_is_one_sentence():
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "tests/endstate", "--inventory", "inventories/nowhere.py"],
        cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert run.returncode == pytest.ExitCode.USAGE_ERROR
    assert "inventories/nowhere.py" in run.stderr
    assert "Traceback" not in run.stderr
