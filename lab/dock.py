"""The Docker host: one Compose project with a database and the nine services, as a small company runs them."""

from __future__ import annotations

import ipaddress
import json
import re
import subprocess
from dataclasses import replace
from pathlib import Path

from lab import apps, database, images
from lab.docker import docker, file_script, shell
from lab.topology import SERVICES, Host, Lab, Service
from lab.wait import until
from poolward.errors import CommandFailed

# The engine within: a file system of its own, and what containers of containers need of the machine.
RUN_OPTIONS = ("--volume=/var/lib/docker", "--device-cgroup-rule=a *:* rwm")
PROJECT, NETWORK, DATABASE = "/srv/stack", "tracksolid_net", "timescale_db"
# Half of the services have a file of their own; the others have their settings in the project's file itself.
WITH_FILE = ("webhook_receiver", "ingest_worker", "dashboard_api", "worker", "scheduler")

HBA = """\
local all all trust
host all {roles} samenet scram-sha-256
"""
COMPOSE = """\
name: stack
services:
  {database}:
    image: lab/timescaledb
    container_name: {database}
    restart: unless-stopped
    stop_grace_period: 30s
    shm_size: 256m
    networks: [{network}]
    volumes: ["data:/var/lib/postgresql/data"]
{services}
networks:
  {network}:
    name: {network}
volumes:
  data:
"""
SERVICE = """\
  {name}:
    image: lab/service
    container_name: {name}
    restart: unless-stopped
    stop_grace_period: 5s
    networks: [{network}]
    ports: ["127.0.0.1:{port}:{port}"]
    volumes: ["/run/lab:/run/lab:ro"]
{settings}
"""


def install(lab: Lab, host: Host, passwords: dict[str, str]) -> None:
    """Bring the engine, its images, the database and the services up."""
    container = lab.container(host.name)
    servers = _name_servers()
    if servers:
        shell(container, file_script("/etc/docker/daemon.json", json.dumps({"dns": servers})))
        shell(container, "systemctl restart docker.service")
    _load(container, images.on_docker_hosts(host.suite))
    shell(container, install_script(passwords))
    until("the database on the Docker host answers", lambda: _answers(container), 60)
    shell(container, seed_script(passwords))
    shell(container, f"docker compose --project-directory {PROJECT} up --detach --quiet-pull 2>&1", timeout=180)


def install_script(passwords: dict[str, str]) -> str:
    """The project's files, and its database alone: the services come when their roles are there."""
    services = [replace(service, host="dock1") for service in SERVICES]
    blocks = "".join(_block(service, passwords[service.role]) for service in services)
    project = COMPOSE.format(database=DATABASE, network=NETWORK, services=blocks)
    files = file_script(f"{PROJECT}/compose.yml", project, "0600")
    for service in services:
        if service.name in WITH_FILE:
            files += file_script(f"{PROJECT}/{service.name}.env", _env_file(service, passwords[service.role]), "0600")
    return f"{files}mkdir -p /run/lab\ndocker compose --project-directory {PROJECT} up --detach {DATABASE} 2>&1\n"


def seed_script(passwords: dict[str, str]) -> str:
    """Roles and tables as on db1; only the services' roles come in, the lines for a pooler are the product's to add."""
    quiet = "-c log_statement=none -c log_min_error_statement=panic -c pg_stat_statements.track=none"
    psql = "psql -X --quiet --set=ON_ERROR_STOP=1 --output=/dev/null"
    return "\n".join(
        [
            f"docker exec -i -e PGOPTIONS='{quiet}' {DATABASE} {psql} <<'END OF SQL'",
            database.script(passwords),
            "END OF SQL",
            f"docker exec -i {DATABASE} sh -c 'cat >$PGDATA/pg_hba.conf' <<'END'",
            HBA.format(roles=",".join(f'"{role}"' for role in passwords)) + "END",
            f"docker exec {DATABASE} {psql} -c 'SELECT pg_reload_conf()'",
            "",
        ]
    )


def _block(service: Service, password: str) -> str:
    if service.name in WITH_FILE:
        settings = f"    env_file: {service.name}.env\n"
    else:
        # JSON strings are YAML strings; Compose itself takes a single $ for a variable.
        lines = [
            f"      {name}: {json.dumps(value, ensure_ascii=False).replace('$', '$$')}\n"
            for name, value in _variables(service, password).items()
        ]
        settings = "    environment:\n" + "".join(lines)
    return SERVICE.format(name=service.name, network=NETWORK, port=service.port, settings=settings)


def _variables(service: Service, password: str) -> dict[str, str]:
    where = apps.connection(service, password, host=DATABASE)
    return {**where, **apps.knobs(service), "HEALTH_ADDRESS": "0.0.0.0"}


def _env_file(service: Service, password: str) -> str:
    return "".join(f"{name}={_quoted(value)}\n" for name, value in _variables(service, password).items())


def _quoted(value: str) -> str:
    """A value as Compose reads it: within double quotes, a backslash protects these three."""
    if re.fullmatch(r"[\w%@:/?&=.+,-]*", value, re.ASCII):
        return value
    return '"' + re.sub(r'([\\"$])', r"\\\1", value) + '"'


def _load(container: str, names: dict[str, str]) -> None:
    """Copy images from the machine's own engine: there is no registry."""
    saving = subprocess.Popen(["docker", "save", *names.values()], stdout=subprocess.PIPE)
    loading = subprocess.run(
        ["docker", "exec", "-i", container, "docker", "load"], stdin=saving.stdout, capture_output=True, check=False
    )
    if saving.wait() or loading.returncode:
        raise CommandFailed(f"the images could not be copied to {container}: {loading.stderr.decode()[-500:]}")
    for name, tag in names.items():
        docker("exec", container, "docker", "tag", tag, name)


def _answers(container: str) -> bool:
    try:
        docker("exec", container, "docker", "exec", DATABASE, "pg_isready", "-q")
    except CommandFailed:
        return False
    return True


def _name_servers() -> list[str]:
    """Where containers of the inner engine ask for names: the outer engine's own resolver is out of their reach."""
    for path in (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf")):
        lines = path.read_text().splitlines() if path.exists() else []
        servers = [line.split()[1] for line in lines if line.startswith("nameserver ")]
        if servers and not any(ipaddress.ip_address(server).is_loopback for server in servers):
            return servers
    return []
