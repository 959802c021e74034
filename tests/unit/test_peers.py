"""Poolers that pass cancel requests on to each other: what is rendered, what is refused, what is drift."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from poolward import apply, declaration
from poolward.desired import PoolerConfig, pooler_config
from poolward.errors import Refused
from poolward.fleet import Fleet
from poolward.reparse import parse_ini
from tests.unit.samples import BOOKWORM, FORKY, GROUPS, TRIXIE, hosts, pooler_state

PAIR = {"pool1": 1, "pool2": 2}


def fleet(peers: Any = PAIR, **of_pool2: Any) -> Fleet:
    data = hosts(pgbouncer_peers=peers)
    data["pool2"] |= of_pool2
    return declaration.read(data, GROUPS)


def config(pooler: str = "pool1") -> PoolerConfig:
    return pooler_config(fleet(pgbouncer_settings={"listen_port": 6433}), pooler, TRIXIE)


@pytest.mark.parametrize("version", [TRIXIE, FORKY], ids=str)
def test_each_peer_knows_its_own_number_and_where_the_others_are(version):
    declared = fleet(pgbouncer_settings={"listen_port": 6433})
    first, second = (parse_ini(pooler_config(declared, name, version).ini) for name in PAIR)
    assert (first.settings["peer_id"], second.settings["peer_id"]) == ("1", "2")
    assert first.peers == {"2": {"host": "192.0.2.22", "port": "6433"}}
    assert second.peers == {"1": {"host": "192.0.2.21", "port": "6432"}}


def test_a_peer_may_be_known_by_its_name():
    ini = parse_ini(pooler_config(fleet(ssh_hostname="pool2.internal"), "pool1", TRIXIE).ini)
    assert ini.peers == {"2": {"host": "pool2.internal", "port": "6432"}}


def test_a_pooler_that_is_not_named_has_no_peers():
    declared = hosts("pool3", pgbouncer_peers={"pool1": 1, "pool3": 3})
    declared = declaration.read(declared, {**GROUPS, "poolers": [*GROUPS["poolers"], "pool3"]})
    ini = parse_ini(pooler_config(declared, "pool2", BOOKWORM).ini)
    assert (ini.peers, "peer_id" in ini.settings) == ({}, False)


def test_connections_to_peers_are_open_files_too():
    assert config().open_files_need == replace(config(), peers={}).open_files_need + 20


REFUSED: dict[str, tuple[Any, dict[str, Any], str]] = {
    "the same number twice": ({"pool1": 1, "pool2": 1}, {}, "pool1, pool2 have the same peer_id 1"),
    "no number": ({"pool1": 1, "pool2": "two"}, {}, "pool2: peer_id = 'two' is not a whole number"),
    "too large a number": ({"pool1": 1, "pool2": 16384}, {}, "pool2: peer_id = 16384 is out of range"),
    "zero": ({"pool1": 1, "pool2": 0}, {}, "pool2: peer_id 0 means no peering"),
    "a stranger": ({"pool1": 1, "pool9": 2}, {}, "'pool9' is no host of the group `poolers`"),
    "alone": ({"pool1": 1}, {}, "pool1 is the only one, and a peer needs others"),
    "two opinions": (PAIR, {"pgbouncer_peers": {"pool1": 2, "pool2": 1}}, "pool2 has another pgbouncer_peers"),
    "no TCP": (PAIR, {"pgbouncer_settings": {"listen_addr": ""}}, "pool2 listens where its peers cannot reach it"),
    "loopback": (PAIR, {"pgbouncer_settings": {"listen_addr": "127.0.0.1, ::1"}}, "where its peers cannot reach it"),
    "declared too old": (PAIR, {"pgbouncer_version": "1.20.1"}, "PgBouncer 1.20.1 cannot pass a cancel request on"),
    "a number of its own": ({}, {"pgbouncer_settings": {"peer_id": 2}}, "peer_id alone finds no peer"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_refused(kind: str):
    peers, of_pool2, said = REFUSED[kind]
    with pytest.raises(Refused) as caught:
        fleet(peers, **of_pool2)
    assert said in str(caught.value)
    assert all(problem.hint for problem in caught.value.problems)


def test_all_problems_come_at_once():
    with pytest.raises(Refused) as caught:
        fleet({"pool1": 0, "pool2": 0, "pool9": 16384})
    assert {problem.message.split(" ")[0] for problem in caught.value.problems} == {
        "pool1:",
        "pool2:",
        "pool9:",
        "'pool9'",
        "pool1,",
    }


def test_installed_too_old():
    with pytest.raises(Refused, match=r"PgBouncer 1\.18\.0 cannot pass a cancel request on to its peers"):
        pooler_config(fleet(), "pool2", BOOKWORM)


@pytest.mark.parametrize(
    ("shown", "said"),
    [
        ([("2", "192.0.2.22", "6433")], []),
        ([], ["peer 2: none → 192.0.2.22 port 6433"]),
        ([("2", "192.0.2.22", "6432")], ["peer 2: 192.0.2.22 port 6432 → 192.0.2.22 port 6433"]),
        ([("2", "192.0.2.22", "6433"), ("7", "192.0.2.9", "6432")], ["peer 7: 192.0.2.9 port 6432 → none"]),
    ],
)
def test_drift(shown: list[tuple[str, str, str]], said: list[str]):
    console = pooler_state("pool1").console
    assert console is not None
    running = replace(console, peers=tuple(dict(zip(("peer_id", "host", "port"), row, strict=True)) for row in shown))
    found = list(apply.peer_differences(config(), running))
    assert list(map(str, found)) == said
    assert {difference.action for difference in found} <= {"reload"}
