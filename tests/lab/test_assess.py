"""`poolward assess` finds what was planted: by the socket where it can, by the role where it must, in nobody clean."""

from __future__ import annotations

import json
import secrets
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lab.docker import file_script
from lab.state import State
from lab.topology import SERVICES, Lab, host_named
from lab.wait import until
from poolward import shell
from poolward.shell.psql import with_variables
from tests.lab.support import on, psql
from tests.lab.test_plan import poolward

pytestmark = pytest.mark.usefixtures("as_declared")

CANARY = "canary4711"
"""Stands wherever a literal can, and must come back nowhere."""
LONG_IDLE = 10
PROGRAM = """
import json, pathlib, signal, sys
import psycopg
plant = json.loads(pathlib.Path(sys.argv[1]).read_text())
connection = psycopg.connect(autocommit=True, **plant["connection"])
for statement in plant["statements"]:
    connection.execute(statement)
pathlib.Path(sys.argv[1] + ".ready").touch()
signal.pause()
"""
LISTEN = [f"/* plant */ LISTEN {CANARY}"]
HOLD = [f"/* plant */ DECLARE plant CURSOR WITH HOLD FOR SELECT '{CANARY}' FROM generate_series(1, 9)"]
PREPARE = [f"/* plant */ PREPARE plant AS SELECT '{CANARY}'"]
SET = [f"/* plant */ SET search_path = '{CANARY}'"]
LOCK = ["/* plant */ SELECT pg_advisory_lock_shared(4711)"]
TEMPORARY = [f"/* plant */ CREATE TEMPORARY TABLE plant (a text DEFAULT '{CANARY}')"]
IDLE = ["BEGIN", "SELECT 1"]
QUIET = ["SELECT 1"]
"""What a service does for the rest of its days, so that its last statement tells nothing."""
WITHIN_TRANSACTIONS = [
    "/* plant */ SELECT pg_advisory_xact_lock_shared(4711)",
    "/* plant */ CREATE TEMPORARY TABLE plant ON COMMIT DROP AS SELECT 1 AS a",
    "/* plant */ SET TimeZone = 'UTC'",
    "BEGIN",
    "/* plant */ SET LOCAL work_mem = '4MB'",
    "/* plant */ DECLARE plant CURSOR FOR SELECT 1",
    "/* plant */ FETCH 1 FROM plant",
    "COMMIT",
    "DISCARD ALL",
    "/* plant */ SELECT 'LISTEN x; SET y = 1', 'pg_advisory_lock(1)' -- ; LISTEN z",
]


@dataclass(frozen=True)
class Plant:
    """A service with one habit."""

    name: str
    role: str
    statements: list[str]
    found: dict[str, str]
    """The hazards it must be convicted of, and by what."""
    options: str = ""
    pooled: bool = False

    @property
    def unit(self) -> str:
        return f"plant-{self.name}.service"

    @property
    def environment(self) -> str:
        """Its settings file, as a service has one; its process is told its connection elsewhere."""
        entry = "pool1:6432/tracksolid_db_session" if self.pooled else "db1/tracksolid_db"
        return f"DATABASE_URL=postgresql://{self.role}:{CANARY}@{entry}{self.options}\n"


def own(name: str, statements: list[str], what: str, by: str, options: str = "") -> Plant:
    return Plant(name, f"plant_{name}", statements, {what: by}, options)


def shared(name: str, statements: list[str], what: str, by: str = "socket", options: str = "") -> Plant:
    return Plant(f"shared_{name}", "postgres", statements, {what: by}, options)


PLANTS = [
    own("lock", LOCK + QUIET, "advisory lock", "socket"),
    own("listen", LISTEN + QUIET, "LISTEN", "role"),
    own("temporary", TEMPORARY + QUIET, "temporary table", "socket"),
    own("hold", HOLD + QUIET, "WITH HOLD cursor", "role"),
    own("prepare", [*PREPARE, "EXECUTE plant", *QUIET], "SQL PREPARE", "role"),
    own("set", SET + QUIET, "SET", "role"),
    own("settings", QUIET, "login settings", "socket"),
    own("options", QUIET, "options", "settings", f"\nPGOPTIONS='-c search_path={CANARY}'"),
    own("idle", IDLE, "idle in transaction", "socket"),
    shared("lock", LOCK, "advisory lock"),
    shared("listen", LISTEN, "LISTEN"),
    shared("temporary", TEMPORARY, "temporary table"),
    shared("hold", [*HOLD, "/* plant */ FETCH 1 FROM plant"], "WITH HOLD cursor"),
    shared("prepare", [*PREPARE, "EXECUTE plant"], "SQL PREPARE"),
    shared("set", SET, "SET"),
    shared("options", QUIET, "options", "settings", f"?options=-c%20work_mem%3D{CANARY}"),
    shared("idle", IDLE, "idle in transaction"),
    Plant("shared_settings_1", "plant_pair", QUIET, {"login settings": "socket"}),
    Plant("shared_settings_2", "plant_pair", QUIET, {"login settings": "socket"}),
    Plant("shared_quiet", "postgres", [*LISTEN, *HOLD, *PREPARE, "EXECUTE plant", *SET, *QUIET], {}),
    Plant("clean", "plant_clean", WITHIN_TRANSACTIONS + QUIET, {}),
    Plant("pooled", "plant_pooled", LOCK + QUIET, {"advisory lock": "role"}, pooled=True),
]
HOSTS = {plant.name: f"app{1 + number % 2}" for number, plant in enumerate(PLANTS)}
OWN_ROLES = sorted({plant.role for plant in PLANTS} - {"postgres"})
CLEAN = [service.name for service in SERVICES if service.name != "analytics_mcp"]
CLEARING = r"""
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename LIKE 'plant\_%';
SELECT pg_stat_statements_reset(userid, dbid, queryid) FROM pg_stat_statements WHERE query LIKE '/* plant */%';
"""


def quietly(lab: Lab, sql: str) -> None:
    """As superuser, with nothing of it in the server's log or statistics."""
    options = "-c log_statement=none -c log_min_error_statement=panic -c pg_stat_statements.track=none"
    on(lab, "db1", f"cd /; PGOPTIONS='{options}' runuser -u postgres -- psql -Xqv ON_ERROR_STOP=1 <<'END'\n{sql}\nEND")


def planting(plants: list[Plant], password: dict[str, str]) -> str:
    """The script that starts these plants on their host."""
    script = "install -d -m 0755 /run/plants\n" + file_script("/run/plants/plant.py", PROGRAM)
    for plant in plants:
        connection = {
            "host": "pool1" if plant.pooled else "db1",
            "port": 6432 if plant.pooled else 5432,
            "dbname": "tracksolid_db_session" if plant.pooled else "tracksolid_db",
            "user": plant.role,
            "password": password[plant.role],
            "application_name": plant.name,
        }
        habit = json.dumps({"connection": connection, "statements": plant.statements})
        script += file_script(f"/run/plants/{plant.name}", habit, "0600", "app:app")
        script += file_script(f"/run/plants/{plant.name}.env", plant.environment, "0640")
        command = f"/usr/bin/python3 /run/plants/plant.py /run/plants/{plant.name}"
        script += f"systemd-run --quiet --collect --unit={plant.unit} --uid=root {command}\n"
    return script


def inventory(folder: Path) -> str:
    """The lab's own inventory, with the plants declared beside its services."""
    declared = [
        {
            "name": plant.name,
            "host": HOSTS[plant.name],
            "unit": plant.unit,
            "pooler": "pool1",
            "env_file": f"/run/plants/{plant.name}.env",
            "url_variables": ["DATABASE_URL"],
            **({"pool": "session"} if plant.pooled else {}),
        }
        for plant in PLANTS
    ]
    path = folder / "plants.py"
    path.write_text(
        "import runpy\n"
        "from lab.inventory import lab_hosts\n"
        "_wanted = {k: v for k, v in runpy.run_path('group_data/lab.py').items() if not k.startswith('__')}\n"
        f"_wanted['services'] = [*_wanted['services'], *{declared!r}]\n"
        "databases = [(name, {**data, **_wanted}) for name, data in lab_hosts('databases')]\n"
        "poolers = [(name, {**data, **_wanted}) for name, data in lab_hosts('poolers')]\n"
        "apps = [(name, {**data, **_wanted}) for name, data in lab_hosts('apps')]\n"
    )
    return str(path)


@pytest.fixture(scope="module")
def planted(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Every plant as a systemd service, its settings file beside it; an inventory that declares them all."""
    password = {role: secrets.token_hex(8) for role in OWN_ROLES}
    password["postgres"] = State(lab).role_passwords()["postgres"]
    roles = [f"CREATE ROLE {role} LOGIN PASSWORD '{password[role]}';" for role in OWN_ROLES]
    settings = [f"ALTER ROLE {role} SET lc_monetary = 'C';" for role in ("plant_settings", "plant_pair")]
    quietly(lab, "\n".join([*roles, *settings]))
    try:
        for host in ("app1", "app2"):
            plants = [plant for plant in PLANTS if HOSTS[plant.name] == host]
            on(lab, host, planting(plants, password))
            until(
                f"the plants on {host} are ready",
                lambda host=host, plants=plants: (
                    int(on(lab, host, "ls /run/plants | grep -c ready || true")) == len(plants)
                ),
                30,
                0.3,
            )
        idle = f"state = 'idle in transaction' AND now() - state_change > interval '{LONG_IDLE} s'"
        until(
            "transactions have been idle for long",
            lambda: (
                psql(lab, f"SELECT count(*) = 2 FROM pg_stat_activity WHERE application_name ~ 'idle' AND {idle}")
                == "t"
            ),
            30,
            0.5,
        )
        yield inventory(tmp_path_factory.mktemp("inventory"))
    finally:
        for host in ("app1", "app2"):
            on(lab, host, "systemctl stop 'plant-*.service'; rm -rf /run/plants")
        quietly(lab, CLEARING + "".join(f"DROP ROLE IF EXISTS {role};" for role in OWN_ROLES))


@pytest.fixture(scope="module")
def assessed(planted: str) -> dict[str, Any]:
    done = poolward("assess", planted, "--window", "2", "--interval", "0.5", "--json")
    assert done.returncode == 2, done.stderr
    assert CANARY not in done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def of(assessed: dict[str, Any], name: str) -> dict[str, Any]:
    return next(service for service in assessed["services"] if service["name"] == name)


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.name)
def test_each_plant_is_convicted_of_its_habit_and_of_nothing_else(assessed: dict[str, Any], plant: Plant) -> None:
    service = of(assessed, plant.name)
    assert {hazard["what"]: hazard["certainty"] for hazard in service["hazards"]} == plant.found
    assert service["presence"]["pooled" if plant.pooled else "direct"] == 1


def test_verdicts_say_where_each_works(assessed: dict[str, Any]) -> None:
    verdicts = {plant.name: of(assessed, plant.name)["verdict"] for plant in PLANTS}
    free = {"settings", "idle", "shared_idle", "shared_settings_1", "shared_settings_2", "shared_quiet", "clean"}
    expected = {plant.name: "transaction" if plant.name in free else "session" for plant in PLANTS}
    assert verdicts == {**expected, "options": "direct", "shared_options": "direct"}


def test_what_a_shared_role_did_is_said_of_all_who_have_it_and_of_nobody_else(assessed: dict[str, Any]) -> None:
    found = {
        one["what"]: one
        for one in assessed["suspicions"]
        if one["role"] == "postgres" and one["database"] == "tracksolid_db"
    }
    assert {"LISTEN", "WITH HOLD cursor", "SQL PREPARE", "SET", "advisory lock", "temporary table"} <= found.keys()
    for what, culprit in (
        ("LISTEN", "listen"),
        ("WITH HOLD cursor", "hold"),
        ("SQL PREPARE", "prepare"),
        ("SET", "set"),
    ):
        assert {"shared_quiet", "webhook_receiver", f"shared_{culprit}"} <= set(found[what]["candidates"])
        assert found[what]["known"] == [f"shared_{culprit}"]
    suspects = {name for one in assessed["suspicions"] for name in one["candidates"]}
    assert not suspects & {"grafana", "scheduler", "cron", "clean"}


def test_a_clean_service_raises_none(assessed: dict[str, Any]) -> None:
    assert {name: of(assessed, name)["hazards"] for name in CLEAN} == {name: [] for name in CLEAN}


def test_the_one_that_is_declared_direct_is_flagged_for_its_options_and_its_set(assessed: dict[str, Any]) -> None:
    hazards = {hazard["what"]: hazard for hazard in of(assessed, "analytics_mcp")["hazards"]}
    assert {"options of its role", "SET", "login settings"} == hazards.keys()
    assert "default_transaction_read_only" in hazards["options of its role"]["evidence"]
    assert "analytics_mcp" in assessed["stay_direct"]


def test_the_order_begins_with_the_heaviest_superuser_pools_and_ends_with_session_pools(
    assessed: dict[str, Any],
) -> None:
    order = assessed["order"]
    assert set(order[:2]) == {"webhook_receiver", "ingest_worker"}
    assert order.index("cron") < order.index("grafana") < order.index("shared_lock") < order.index("lock")
    assert not {"options", "shared_options", "analytics_mcp"} & set(order)


def test_who_holds_the_connections_is_what_the_server_counts(lab: Lab, assessed: dict[str, Any]) -> None:
    (server,) = assessed["servers"]
    held: dict[str, int] = {}
    for holder in server["holders"]:
        if holder["owner"]["kind"] == "service":
            held[holder["role"]] = held.get(holder["role"], 0) + holder["sessions"]
    counted = psql(
        lab,
        f"""
        SELECT json_object_agg(usename, n) FROM (
            SELECT usename, count(*) AS n FROM pg_stat_activity
            WHERE host(client_addr) IN ('{lab.address(host_named("app1"))}', '{lab.address(host_named("app2"))}')
            GROUP BY 1) AS c
        """,
    )
    assert held == json.loads(counted)
    assert server["limit"] == 97
    assert server["peak"] >= server["now"] == sum(holder["sessions"] for holder in server["holders"])
    assert {h["owner"]["name"] for h in server["holders"] if h["role"] == "plant_pooled"} == {"pool1"}


def test_a_person_reads_the_same(planted: str, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    done = poolward("assess", planted, "--window", "0.5", "--interval", "0.5", "--html", str(page))
    assert done.returncode == 2
    assert "Proposed order" in done.stdout
    assert "shared_lock" in done.stdout
    assert "shared_lock" in page.read_text()
    assert CANARY not in done.stdout + done.stderr + page.read_text()


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("LISTEN a", {"LISTEN"}),
        ("SELECT 1; listen a", {"LISTEN"}),
        ("/* by; SET x = 1 */ LISTEN a -- ; SET y", {"LISTEN"}),
        ("UNLISTEN *; RESET ALL; DISCARD ALL; DEALLOCATE ALL; CLOSE ALL", set()),
        ("SELECT 'a; LISTEN b', E'it\\'s; SET c', \"x\" FROM t", set()),
        ("INSERT INTO t VALUES ('cut off; LISTEN", set()),
        ("DO $$ BEGIN; EXECUTE 'x'; SET y = 1; END $$", set()),
        ("UPDATE t SET a = 1", set()),
        ("SET LOCAL a = 1; SET TRANSACTION READ ONLY; SET CONSTRAINTS ALL DEFERRED", set()),
        ("SET a = 1; SET SESSION b.c = 2; set \"D\" to x", {"SET a", "SET b.c", "SET d"}),
        ("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", {"SET characteristics"}),
        ("SELECT pg_catalog.set_config('search_path', '', false)", {"SET set_config"}),
        ("SELECT set_config('app.user', $1, true), set_config('app.user', $1, $2)", set()),
        ("CREATE TEMP TABLE a (b int)", {"temporary table"}),
        ("CREATE TEMP TABLE a (b int) ON COMMIT DROP", set()),
        ("CREATE TEMP TABLE a ON COMMIT DROP AS SELECT 1; CREATE TEMPORARY VIEW b AS SELECT 1", {"temporary table"}),
        ("SELECT 1 INTO TEMP a", {"temporary table"}),
        ("DECLARE a CURSOR FOR SELECT 1", set()),
        ("DECLARE a NO SCROLL CURSOR WITH HOLD FOR SELECT 1", {"WITH HOLD cursor"}),
        ("/* by */ FETCH 1 FROM a", {"FETCH"}),
        ("BEGIN; DECLARE a CURSOR FOR SELECT 1; FETCH 1 FROM a; COMMIT", set()),
        ("PREPARE TRANSACTION 'a'", set()),
        ("PREPARE a(int) AS SELECT $1", {"SQL PREPARE"}),
        ("DEALLOCATE a", {"SQL PREPARE"}),
        ("DEALLOCATE PREPARE ALL", set()),
        ("SELECT pg_try_advisory_lock_shared(1)", {"advisory lock"}),
        ("SELECT pg_advisory_xact_lock(1), pg_advisory_unlock_all()", set()),
        ("LOAD 'age'", {"LOAD"}),
    ],
)  # fmt: skip
def test_a_statement_tells_what_it_leaves_in_its_session(lab: Lab, statement: str, told: set[str]) -> None:
    features = {"features": shell.sql("session_features"), "statement": statement}
    sql = "SELECT trim(what || ' ' || detail) FROM (VALUES (:'statement')) AS s (query), :features"
    answer = on(
        lab,
        "db1",
        f"cd /; printf %s {shlex.quote(with_variables(sql, features))} | runuser -u postgres -- psql -XqAt -f -",
    )
    assert set(answer.splitlines()) == told
