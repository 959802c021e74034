"""The sample services as systemd units, and the settings they read: each says in its own way where its database is."""

from __future__ import annotations

import re
from urllib.parse import quote, urlencode

from lab.docker import file_script, shell
from lab.topology import SERVICES, Lab, Service

UNIT = """\
[Unit]
Description=Sample service {name}
After=network-online.target
Wants=network-online.target

[Service]
EnvironmentFile=/etc/{name}/env
ExecStart=/usr/bin/python3 /usr/local/lib/lab/service.py
User=app
Restart=always
RestartSec=1

[Install]
WantedBy=multi-user.target
"""


def install(lab: Lab, host: str, passwords: dict[str, str]) -> None:
    """Put the services of one host there and start them."""
    shell(lab.container(host), install_script(host, passwords))


def install_script(host: str, passwords: dict[str, str]) -> str:
    services = [service for service in SERVICES if service.host == host]
    files = "".join(
        file_script(f"/etc/systemd/system/{service.unit}", UNIT.format(name=service.name))
        + file_script(f"/etc/{service.name}/env", environment_file(service, passwords[service.role]), "0640")
        for service in services
    )
    units = " ".join(service.unit for service in services)
    return f"{files}systemctl daemon-reload\nsystemctl --quiet enable --now {units}\n"


def environment_file(service: Service, password: str) -> str:
    lines = [f"# {service.name}: where its database is", *_assignments(connection(service, password))]
    lines += ["", "# how it works", *_assignments(knobs(service))]
    return "\n".join(lines) + "\n"


def knobs(service: Service) -> dict[str, str]:
    """The variables that say how a service works."""
    found = {
        "SERVICE": service.name,
        "HEALTH_PORT": str(service.port),
        "POOL_SIZE": str(service.pool),
        "PEAK_POOL_SIZE": str(service.peak),
        "WORKLOAD": service.workload,
        "PREPARED": "on" if service.prepared else "off",
    }
    if service.session_sql:
        found["SESSION_SQL"] = service.session_sql
    return found


def connection(service: Service, password: str, host: str = "db1") -> dict[str, str]:
    """The variables that say where its database is."""
    port, database, role = "5432", service.database, service.role
    if service.shape == "url":
        options = {"application_name": service.name} | ({"options": service.options} if service.options else {})
        user_info = f"{quote(role, safe='')}:{quote(password, safe='')}"
        url = f"postgresql://{user_info}@{host}:{port}/{quote(database)}?{urlencode(options, quote_via=quote)}"
        return {"DATABASE_URL": url}
    if service.shape == "jdbc":
        options = {"user": role, "password": password, "ApplicationName": service.name}
        return {"JDBC_URL": f"jdbc:postgresql://{host}:{port}/{quote(database)}?{urlencode(options, quote_via=quote)}"}
    if service.shape == "dsn":
        escaped = re.sub(r"([\\'])", r"\\\1", password)
        return {"DATABASE_DSN": f"host={host} port={port} dbname={database} user={role} password='{escaped}'"}
    names = {
        "variables": ("DB_HOST", "DB_PORT", "DB_NAME", "DB_USER", "DB_PASSWORD"),
        "libpq": ("PGHOST", "PGPORT", "PGDATABASE", "PGUSER", "PGPASSWORD"),
    }[service.shape]
    return dict(zip(names, (host, port, database, role, password), strict=True))


def _assignments(variables: dict[str, str]) -> list[str]:
    return [f"{name}={_quoted(value)}" for name, value in variables.items()]


def _quoted(value: str) -> str:
    """A value as systemd reads it: within double quotes, a backslash protects these four."""
    if re.fullmatch(r"[\w%@:/?&=.+,-]*", value, re.ASCII):
        return value
    return '"' + re.sub(r'([\\"$`])', r"\\\1", value) + '"'
