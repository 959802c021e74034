"""The lab's own declarations and what its hosts answered, without a lab: group_data/ as it is, tests/unit/recorded/."""

from __future__ import annotations

import copy
import runpy
from pathlib import Path
from typing import Any

from poolward import declaration
from poolward.desired import PoolerConfig, pooler_config
from poolward.fleet import Fleet
from poolward.observed import PoolerState, ServerState
from poolward.settings import Version

ROOT = Path(__file__).resolve().parents[2]
RECORDED = Path(__file__).parent / "recorded"
GROUPS = {"databases": ["db1"], "poolers": ["pool1", "pool2"], "apps": ["app1", "app2"]}
ADDRESSES = {
    "db1": "192.0.2.11",
    "pool1": "192.0.2.21",
    "pool2": "192.0.2.22",
    "app1": "192.0.2.31",
    "app2": "192.0.2.32",
}
BOOKWORM, TRIXIE, FORKY = Version(1, 18, 0), Version(1, 24, 1), Version(1, 26, 1)
POOLERS = {
    "pool1": (TRIXIE, "pooler-1.24.txt"),
    "pool2": (BOOKWORM, "pooler-1.18.txt"),
    "pool3": (FORKY, "pooler-1.26.txt"),
}


def group_data(name: str) -> dict[str, Any]:
    """The variables of a file of group_data/."""
    loaded = runpy.run_path(str(ROOT / "group_data" / f"{name}.py"))
    return {key: value for key, value in loaded.items() if not key.startswith("__")}


def hosts(*others: str, **changes: Any) -> dict[str, dict[str, Any]]:
    """The lab's hosts with their data (and `others` beside them), `changes` made on every one of them."""
    everywhere = {**group_data("all"), **group_data("lab"), **changes}
    addresses = {**ADDRESSES, **{name: f"192.0.2.{100 + number}" for number, name in enumerate(others)}}
    return {name: {**copy.deepcopy(everywhere), "ssh_hostname": address} for name, address in addresses.items()}


def lab(**changes: Any) -> Fleet:
    return declaration.read(hosts(**changes), GROUPS)


def docker() -> Fleet:
    """The lab's Docker host, which is a fleet of its own."""
    everywhere = {**group_data("all"), **group_data("docker"), "ssh_hostname": "192.0.2.41"}
    return declaration.read({"dock1": everywhere}, {group: ["dock1"] for group in GROUPS})


def config(pooler: str, version: Version | None = None, **changes: Any) -> PoolerConfig:
    """What a pooler of the lab should be; pool3 is declared as the others are."""
    declared = pooler if pooler in GROUPS["poolers"] else "pool1"
    return pooler_config(lab(**changes), declared, version or POOLERS[pooler][0])


def recorded(name: str) -> str:
    return (RECORDED / name).read_text()


def pooler_state(pooler: str) -> PoolerState:
    """What a deployed pooler of the lab answered."""
    return PoolerState.parse(recorded(POOLERS[pooler][1]).splitlines())


def server_state() -> ServerState:
    return ServerState.parse(recorded("postgresql-17.txt").splitlines())
