"""Services of Docker Compose's behind PgBouncer and back: each in a new container, and nothing else is touched."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lab import apps
from lab.docker import file_script
from lab.state import State
from lab.topology import REPOSITORY, SERVICES, Lab, host_named
from lab.wait import until
from tests.lab import support
from tests.lab.support import Run, command, on, psql

pytestmark = [pytest.mark.dock1, pytest.mark.usefixtures("deployed_on_dock1")]

INVENTORY = "inventories/docker.py"
CUTOVER, ROLLBACK = "deploy/cutover.py", "deploy/rollback.py"
PROJECT = "/srv/stack"
MOVING = [service.name for service in SERVICES if service.name != "analytics_mcp"]
STATE = "/var/lib/poolward/services"


@pytest.fixture(scope="module")
def deployed_on_dock1(lab: Lab, dock1: str) -> Iterator[None]:  # noqa: ARG001 - a fixture asks for another by a parameter alone
    support.deployed(inventory=INVENTORY)
    all_back(lab)
    yield
    all_back(lab)


def all_back(lab: Lab) -> None:
    if on(lab, "dock1", f"ls {STATE} 2>/dev/null || :"):
        run = pyinfra(ROLLBACK)
        assert run.returncode == 0, run.text
        assert on(lab, "dock1", f"ls -d {STATE} 2>/dev/null || :") == ""


def pyinfra(deploy: str, *names: str, inventory: str = INVENTORY, **data: object) -> Run:
    only = {"only": ",".join(names)} if names else {}
    return support.pyinfra("--json", data={**only, "soak": 1, **data}, deploy=deploy, inventory=inventory, timeout=400)


def one_line(run: Run) -> str:
    return " ".join(run.text.split())


def files(lab: Lab) -> str:
    """The project's files to the byte, with owner and mode."""
    return on(lab, "dock1", f"cd {PROJECT}; ls -A; stat -c '%n %U:%G %a' *; sha256sum *")


def containers(lab: Lab) -> dict[str, str]:
    """Which container each service has, and since when it runs."""
    rows = on(lab, "dock1", "docker inspect -f '{{.Name}} {{.Id}} {{.State.StartedAt}}' $(docker ps -q)").splitlines()
    return {name.lstrip("/"): rest for name, _, rest in (row.partition(" ") for row in rows)}


@dataclass(frozen=True)
class Sessions:
    """By service, as PostgreSQL and PgBouncer tell them by the addresses of the containers."""

    direct: Mapping[str, int]
    pooled: Mapping[str, int]


def sessions(lab: Lab) -> Sessions:
    listed = "docker inspect -f '{{.Name}} {{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' $(docker ps -q)"
    addresses = dict(row.lstrip("/").split() for row in on(lab, "dock1", listed).splitlines())
    backends = "SELECT host(client_addr) FROM pg_stat_activity WHERE backend_type = $$client backend$$"
    console = "psql -XqAt -h /var/run/postgresql -p 6432 -U pgbouncer -d pgbouncer"
    at_server = on(lab, "dock1", f"docker exec timescale_db psql -XqAt -c '{backends}'").split()
    rows = on(lab, "dock1", f"docker exec pgbouncer {console} -c 'SHOW CLIENTS'").splitlines()
    at_pooler = [part for row in rows for part in row.split("|")[4:7]]
    names = [service.name for service in SERVICES]
    return Sessions(
        {name: at_server.count(addresses[name]) for name in names},
        {name: at_pooler.count(addresses[name]) for name in names},
    )


@contextmanager
def changed_file(lab: Lab, name: str, edit: str) -> Iterator[None]:
    """A file of the project edited by somebody else for a while."""
    on(lab, "dock1", f"cd {PROJECT}; cp -p {name} /run/{name}.kept; {edit} {name}")
    try:
        yield
    finally:
        on(lab, "dock1", f"mv /run/{name}.kept {PROJECT}/{name}")


def standings_said() -> list[dict[str, Any]]:
    program = str(Path(sys.executable).with_name("poolward"))
    done = subprocess.run(
        [program, "services", INVENTORY, "--json"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)["services"]
    return found


def services_with(**changes: Mapping[str, object]) -> list[dict[str, Any]]:
    declared = runpy.run_path(str(REPOSITORY / "group_data" / "docker.py"))["services"]
    return [{**service, **changes.get(service["name"], {})} for service in declared]


def test_eight_move_each_in_a_container_of_its_own_one_stays_and_all_go_back(lab: Lab):
    original, at_first, direct = files(lab), containers(lab), sessions(lab).direct
    stack = on(lab, "dock1", f"cat {PROJECT}/compose.yml")
    assert all(direct.values())

    first = pyinfra(CUTOVER, "cron")
    assert first.returncode == 0, first.text
    assert "as postgres from dock1" in first.text
    moved_one = containers(lab)
    assert {name for name in at_first if moved_one[name] != at_first[name]} == {"cron"}
    now = sessions(lab)
    assert (now.direct["cron"], now.pooled["cron"]) == (0, direct["cron"])

    run = pyinfra(CUTOVER)
    assert run.returncode == 0, run.text
    moved = containers(lab)
    assert {name for name in at_first if moved[name] == moved_one[name]} == {
        "cron", "analytics_mcp", "timescale_db", "pgbouncer",
    }  # fmt: skip
    now = sessions(lab)
    for name in MOVING:
        assert (now.direct[name], now.pooled[name]) == (0, direct[name])
    assert (now.direct["analytics_mcp"], now.pooled["analytics_mcp"]) == (direct["analytics_mcp"], 0)

    # Whoever runs `docker compose up` next changes nothing; and what else the file says is as it was.
    dry = on(lab, "dock1", f"cd {PROJECT}; docker compose --dry-run up --detach 2>&1")
    assert "ecreate" not in dry
    lines = on(lab, "dock1", f"cat {PROJECT}/compose.yml").splitlines()
    changes = [(old, new) for old, new in zip(stack.splitlines(), lines, strict=True) if old != new]
    assert len(changes) == 5  # PGHOST and PGPORT of cron, DB_HOST and DB_PORT of grafana, JDBC_URL of gateway
    assert all(new == old.replace("timescale_db", "pgbouncer").replace("5432", "6432") for old, new in changes)

    again = pyinfra(CUTOVER)
    assert again.returncode == 0, again.text
    assert containers(lab) == moved
    standings = {row["name"]: row["standing"] for row in standings_said()}
    assert standings == {**dict.fromkeys(MOVING, "pooled"), "analytics_mcp": "left direct"}
    removal = support.pyinfra(deploy="deploy/remove.py", inventory=INVENTORY)
    assert removal.returncode == 1
    assert "worker: its settings lead to dock1" in one_line(removal)

    back = pyinfra(ROLLBACK)
    assert back.returncode == 0, back.text
    assert files(lab) == original
    now = sessions(lab)
    assert (now.direct, set(now.pooled.values())) == (direct, {0})
    assert containers(lab)["analytics_mcp"] == at_first["analytics_mcp"]


@pytest.mark.parametrize(
    ("name", "step", "then"),
    [("grafana", "switched", ROLLBACK), ("grafana", "restarting", CUTOVER), ("worker", "restarted", ROLLBACK)],
)
def test_killed_in_a_move_the_next_run_ends_it_either_way(lab: Lab, name: str, step: str, then: str):
    """grafana has its settings in the Compose file, which is everybody's, worker in a file of its own."""
    original, at_first = files(lab), containers(lab)
    journal = "/var/lib/poolward/journal.jsonl"
    lines = int(on(lab, "dock1", f"(cat {journal} 2>/dev/null || :) | wc -l"))
    arguments = command(data={"only": name, "soak": 1}, deploy=CUTOVER, inventory=INVENTORY)
    nowhere = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    there, folder = step != "restarted", REPOSITORY / "journal"
    own = set(folder.glob("*.jsonl"))
    with subprocess.Popen(arguments, cwd=REPOSITORY, **nowhere) as process:

        def reached() -> bool:
            if there:
                said = on(lab, "dock1", f"tail -n +{lines + 1} {journal}")
            else:
                said = "".join(path.read_text() for path in set(folder.glob("*.jsonl")) - own)
            return f'"step": "{step}"' in said

        until(f"the run comes to {step}", lambda: reached() or process.poll() is not None, 120, interval=0.02)
        process.kill()
        assert process.wait() == -9
    run = pyinfra(then, name)
    assert run.returncode == 0, run.text
    now = sessions(lab)
    if then == CUTOVER:
        assert now.direct[name] == 0 < now.pooled[name]
        run = pyinfra(ROLLBACK, name)
        assert run.returncode == 0, run.text
    else:
        assert now.pooled[name] == 0 < now.direct[name]
    assert files(lab) == original
    after = containers(lab)
    assert {one for one in at_first if after[one] != at_first[one]} <= {name}


def test_where_nobody_can_tell_whose_connections_they_are_a_move_is_taken_back_to_the_byte(lab: Lab):
    """By the published port of its own host: between stands the engine's proxy, whose connections PgBouncer sees."""
    original, direct = files(lab), sessions(lab).direct
    published = f"{lab.address(host_named('dock1'))}:6432"
    run = pyinfra(CUTOVER, "grafana", services=services_with(grafana={"pooler": published}))
    assert run.returncode == 1
    said = one_line(run)
    assert "TAKEN BACK grafana: it has no session through tracksolid_db on dock1 yet; neither PostgreSQL" in said
    assert f"Restored {PROJECT}/compose.yml, restarted, proved: {direct['grafana']} direct, 0 pooled." in said
    assert files(lab) == original
    now = sessions(lab)
    assert (now.direct, set(now.pooled.values())) == (direct, {0})


@pytest.mark.parametrize(
    ("name", "file", "edit", "said"),
    [
        ("webhook_receiver", "webhook_receiver.env", "sed -i '$ a GREETING=hello'",
         "its files say another GREETING than the container webhook_receiver was made with"),
        ("cron", "compose.yml", "sed -i 's/stop_grace_period: 5s/stop_grace_period: 6s/'",
         "its Compose file, image or scale changed since its container was made"),
        ("grafana", "compose.yml", "sed -i 's/DB_HOST: \"timescale_db\"/DB_HOST: ${WHERE:-timescale_db}/'",
         "What has to change in DB_HOST is not written in its line"),
        ("gateway", "compose.yml", "sed -i 's/^services:/services: [/'", "docker compose config fails for it"),
    ],
)  # fmt: skip
def test_what_a_new_container_would_bring_beside_is_refused(lab: Lab, name: str, file: str, edit: str, said: str):
    at_first = containers(lab)
    with changed_file(lab, file, edit):
        before = files(lab)
        run = pyinfra(CUTOVER, name)
        assert run.returncode == 1
        assert said in one_line(run), run.text
        assert "nothing was changed" in one_line(run)
        assert (files(lab), containers(lab)) == (before, at_first)


@pytest.mark.parametrize("where", ["read elsewhere", "read by another"])
def test_what_compose_makes_of_the_file_is_seen_before_anything_is_made_anew(lab: Lab, where: str):
    at_first = containers(lab)
    stack = on(lab, "dock1", f"cat {PROJECT}/compose.yml")
    if where == "read elsewhere":
        worker = next(service for service in SERVICES if service.name == "worker")
        said = apps.connection(worker, State(lab).role_passwords("dock1")[worker.role], host="timescale_db")
        value = json.dumps(said["DATABASE_DSN"], ensure_ascii=False).replace("$", "$$")
        name, environment = "worker", f"    environment: {{DATABASE_DSN: {value}}}"
        reason = f"Docker Compose reads something else than what was written to {PROJECT}/worker.env"
    else:
        name, environment = "analytics_mcp", "    env_file: worker.env"
        reason = f"{PROJECT}/worker.env is read by analytics_mcp, too"
    block = f"    container_name: {name}\n"
    assert block in stack
    on(lab, "dock1", f"cp -p {PROJECT}/compose.yml /run/compose.kept")
    on(lab, "dock1", file_script(f"{PROJECT}/compose.yml", stack.replace(block, f"{block}{environment}\n"), "0600"))
    try:
        before = files(lab)
        run = pyinfra(CUTOVER, "worker")
        assert run.returncode == 1
        assert f"TAKEN BACK worker: {reason}" in one_line(run), run.text
        assert files(lab) == before
        assert containers(lab) == at_first
        assert on(lab, "dock1", f"ls -d {STATE} 2>/dev/null || :") == ""
    finally:
        on(lab, "dock1", f"mv /run/compose.kept {PROJECT}/compose.yml")


FAR_FILE = """\
name: far
services:
  worker:
    image: lab/service
    restart: unless-stopped
    stop_grace_period: 5s
    ports: ["127.0.0.1:9004:8004"]
    environment:
{variables}
"""


@pytest.fixture
def far(lab: Lab) -> Iterator[list[dict[str, Any]]]:
    """A service in a container on dock1, on a network of its own, with its database on db1."""
    worker = next(service for service in SERVICES if service.name == "worker")
    server = lab.address(host_named("db1"))
    where = apps.connection(worker, State(lab).role_passwords()[worker.role], host=server)
    variables = {**where, **apps.knobs(worker), "HEALTH_ADDRESS": "0.0.0.0"}
    lines = "\n".join(f"      {name}: {json.dumps(value).replace('$', '$$')}" for name, value in variables.items())
    hba = "/etc/postgresql/17/main/pg_hba.conf"
    on(lab, "db1", f"echo 'host all all {lab.address(host_named('dock1'))}/32 scram-sha-256 # far' >>{hba}")
    psql(lab, "SELECT pg_reload_conf()")
    on(lab, "dock1", file_script("/srv/far/compose.yml", FAR_FILE.format(variables=lines), "0600"))
    on(lab, "dock1", "docker compose --project-directory /srv/far up --detach 2>&1")
    declared = {
        "name": "far_worker",
        "connections": 15,
        "host": "dock1",
        "compose_file": "/srv/far/compose.yml",
        "compose_service": "worker",
        "url_variables": ["DATABASE_DSN"],
        "pooler": "pool1",
        "health": "http://127.0.0.1:9004/health",
    }
    asked = "python3 -c 'from urllib.request import *; urlopen(\"http://127.0.0.1:8004/health\")' 2>/dev/null"
    until("it is well", lambda: on(lab, "dock1", f"docker exec far-worker-1 {asked} && echo well || :"), 30)
    yield [declared]
    on(lab, "dock1", "docker compose --project-directory /srv/far down 2>&1; rm -r /srv/far")
    on(lab, "db1", f"sed -i '/# far$/d' {hba}")
    psql(lab, "SELECT pg_reload_conf()")


def test_a_container_whose_address_is_translated_on_its_way_is_proved_all_the_same(lab: Lab, far: list[dict[str, Any]]):
    support.deployed()
    known = runpy.run_path(str(REPOSITORY / "group_data" / "lab.py"))
    data = {name: value for name, value in known.items() if name.startswith("pgbouncer_")}
    inventory, dock1 = "tests/lab/far_inventory.py", lab.address(host_named("dock1"))
    file = on(lab, "dock1", "sha256sum /srv/far/compose.yml")

    run = pyinfra(CUTOVER, inventory=inventory, **data, services=far)
    assert run.returncode == 0, run.text
    clients = support.console(lab, "pool1", "SHOW CLIENTS").splitlines()
    own = sum(1 for row in clients if dock1 in row.split("|")[4:7])
    assert own == 6  # its POOL_SIZE, and by the host's address
    assert f"direct 0, pooled {own}" in run.text
    assert psql(lab, f"SELECT count(*) FROM pg_stat_activity WHERE client_addr = '{dock1}'") == "0"

    back = pyinfra(ROLLBACK, inventory=inventory, **data, services=far)
    assert back.returncode == 0, back.text
    assert on(lab, "dock1", "sha256sum /srv/far/compose.yml") == file
    assert psql(lab, f"SELECT count(*) FROM pg_stat_activity WHERE client_addr = '{dock1}'") == "6"
