"""The container of every pooler host that runs PgBouncer by Compose: what it is allowed, what it has, and its files."""

from __future__ import annotations

import json
from typing import Any

from tests.endstate.fleet import Pooler

RUNTIME = "docker"
CONFIG, COMPOSE, OWNER = "/etc/pgbouncer", "/etc/poolward/docker-compose.yml", "6432:6432"


def inspected(pooler: Pooler) -> dict[str, Any]:
    (found,) = json.loads(pooler.host.check_output("docker inspect pgbouncer"))
    return dict(found)


def test_it_runs_and_starts_by_itself(pooler: Pooler):
    found = inspected(pooler)
    assert found["State"]["Status"] == "running"
    assert found["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped"
    assert pooler.version >= (1, 18)


def test_its_health_is_a_query_as_the_probe(pooler: Pooler):
    found = inspected(pooler)
    check = " ".join(found["Config"]["Healthcheck"]["Test"])
    assert "current_user" in check
    assert "pgbouncer_probe" in check
    # not yet known within the first interval
    assert found["State"]["Health"]["Status"] in ("healthy", "starting")
    said = pooler.host.run(pooler.inside(found["Config"]["Healthcheck"]["Test"][-1]))
    assert said.rc == 0, said.stderr


def test_it_may_do_no_more_than_it_needs(pooler: Pooler):
    found = inspected(pooler)
    host = found["HostConfig"]
    assert found["Config"]["User"] == OWNER
    assert host["ReadonlyRootfs"] is True
    assert host["Privileged"] is False
    assert host["CapDrop"] == ["ALL"]
    assert not host["CapAdd"]
    assert "no-new-privileges:true" in host["SecurityOpt"]
    status = dict(
        line.split(":", 1) for line in pooler.host.file(f"/proc/{pooler.pid}/status").content_string.splitlines()
    )
    assert status["Uid"].split() == [OWNER.split(":")[0]] * 4
    assert (int(status["CapEff"], 16), int(status["CapBnd"], 16), status["NoNewPrivs"].strip()) == (0, 0, "1")


def test_the_configuration_is_mounted_as_a_directory_it_cannot_write(pooler: Pooler):
    mounts = {mount["Destination"]: mount for mount in inspected(pooler)["Mounts"]}
    assert set(mounts) == {CONFIG}
    assert (mounts[CONFIG]["Source"], mounts[CONFIG]["RW"]) == (CONFIG, False)
    written = pooler.host.run(pooler.inside(f"touch {CONFIG}/x || touch /x || touch /tmp/x"))
    assert written.rc != 0


def test_it_is_configured_by_files_alone(pooler: Pooler):
    found = inspected(pooler)
    assert [line for line in found["Config"]["Env"] if not line.startswith("PATH=")] == []
    assert [*found["Config"]["Entrypoint"], *(found["Config"]["Cmd"] or [])] == ["pgbouncer", f"{CONFIG}/pgbouncer.ini"]


def test_its_log_is_bounded_and_so_is_its_end(pooler: Pooler):
    found = inspected(pooler)
    assert found["HostConfig"]["LogConfig"]["Config"].keys() >= {"max-size", "max-file"}
    assert found["Config"]["StopSignal"] == "SIGINT"
    assert found["Config"]["StopTimeout"] == 30


def test_it_is_published_where_the_inventory_says_and_on_its_network_alone(pooler: Pooler):
    found = inspected(pooler)
    assert set(found["NetworkSettings"]["Networks"]) == {pooler.data["pgbouncer_network"]}
    published = {
        f"{binding['HostIp'] or '0.0.0.0'}:{binding['HostPort']}:{port.split('/')[0]}"
        for port, bindings in (found["HostConfig"]["PortBindings"] or {}).items()
        for binding in bindings
    }
    wanted = {line if line.count(":") > 1 else f"0.0.0.0:{line}" for line in pooler.data.get("pgbouncer_publish", [])}
    assert published == wanted


def test_only_its_user_reads_the_configuration(pooler: Pooler):
    found = pooler.host.check_output(f"stat -c '%n %u:%g %a' {CONFIG} {CONFIG}/* {COMPOSE}").splitlines()
    assert f"{CONFIG} {OWNER} 700" in found
    files = {line for line in found if line.startswith(f"{CONFIG}/") and not line.split()[0].endswith(".previous")}
    assert files >= {f"{CONFIG}/{name} {OWNER} 600" for name in ("pgbouncer.ini", "userlist.txt", "probe.pgpass")}
    assert {line.split(maxsplit=1)[1] for line in files} == {f"{OWNER} 600"}
    assert f"{COMPOSE} 0:0 644" in found


def test_no_secret_is_in_what_docker_tells(pooler: Pooler):
    private = pooler.host.backend.private
    told = private("docker inspect pgbouncer; docker logs pgbouncer 2>&1; cat %s", COMPOSE)
    for server in pooler.server_of.values():
        assert server.probe_secret.text not in told


def test_no_throwaway_container_is_left(pooler: Pooler):
    assert "pgbouncer-trial" not in pooler.host.check_output("docker ps --all --format '{{.Names}}'").split()
