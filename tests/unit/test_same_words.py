"""Packages, containers and app-local poolers are declared in the same words: inventories differ in where things run."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.samples import group_data

# Where a PgBouncer, a PostgreSQL or a service runs, and how it is reached there.
PLACES = {
    "pgbouncer_runtime", "pgbouncer_topology", "pgbouncer_network", "pgbouncer_publish", "pgbouncer_image",
    "pgbouncer_version", "postgresql_container", "postgresql_address",
}  # fmt: skip
SERVICE_PLACES = {"host", "unit", "compose_file", "compose_service", "env_file", "pooler"}
# What pool2 is, and no other of these poolers: PgBouncer 1.18, which keeps no prepared statements.
OF_THE_OLDEST = {"prepared_statements", "pool"}
REPORTED = {"errors_command", "health"}


def entries(data: dict[str, Any]) -> dict[str, Any]:
    return {
        name: {word: value for word, value in keys.items() if word != "host"}
        for name, keys in data["pgbouncer_databases"].items()
    }


def services(data: dict[str, Any]) -> list[dict[str, Any]]:
    without = SERVICE_PLACES | OF_THE_OLDEST | REPORTED
    return [{word: value for word, value in one.items() if word not in without} for one in data["services"]]


@pytest.mark.parametrize("name", ["docker", "lab_app_local"])
def test_another_place_is_another_place_and_nothing_else(name: str) -> None:
    package, other = group_data("lab"), group_data(name)
    assert entries(other).keys() == entries(package).keys()
    assert services(other) == services(package)
    assert {word for word in other if not word.startswith("_")} - set(package) <= PLACES
    assert set(package) <= set(other)
    assert set(other["pgbouncer_settings"]) <= {*package["pgbouncer_settings"], "listen_addr"}


def test_for_docker_not_even_a_number_differs() -> None:
    package, other = group_data("lab"), group_data("docker")
    assert entries(other) == entries(package)
    assert other["pgbouncer_settings"] == package["pgbouncer_settings"]
    assert other["pgbouncer_allow_superusers"] == package["pgbouncer_allow_superusers"]
