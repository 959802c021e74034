"""Peering: a request to cancel a query is passed on to the pooler that runs it. Pure.

Such a request comes over a connection of its own, which a load balancer may hand to another pooler. With `peer_id` and
`[peers]` PgBouncer tells from the key in the request whose client it is about. Source of fact: config.md of PgBouncer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from poolward import settings
from poolward.errors import Problem
from poolward.fleet import Pooler
from poolward.settings import Value, Version

# Peers of 1.19 and 1.20 write another form of key, which those of 1.21 and later cannot read.
PEERS_SINCE = Version(1, 21)
_NOWHERE = ("", "localhost", "127.0.0.1", "::1")


def problems(poolers: Mapping[str, Pooler]) -> Iterable[Problem]:
    """What is wrong with the declared peers, over all poolers."""
    for name, pooler in poolers.items():
        if not pooler.peers:
            continue
        where = f"{name}: pgbouncer_peers"
        yield from _id_problems(pooler.peers, where)
        for peer in pooler.peers:
            if peer not in poolers:
                known = ", ".join(poolers)
                yield Problem(where, f"{peer!r} is no host of the group `poolers`", f"known: {known}")
            else:
                yield from _member_problems(pooler, poolers[peer], where)
        if name in pooler.peers and pooler.declared_version:
            yield from version_problems(pooler, pooler.declared_version)


def version_problems(pooler: Pooler, version: Version) -> Iterable[Problem]:
    """Whether a pooler of this version can be the peer it is declared to be."""
    if pooler.name in pooler.peers and version < PEERS_SINCE:
        yield Problem(
            f"{pooler.name}: pgbouncer_peers",
            f"PgBouncer {version} cannot pass a cancel request on to its peers; it can, in today's form, from "
            f"{PEERS_SINCE} on",
            f"leave {pooler.name} out of pgbouncer_peers",
        )


def section(pooler: Pooler, poolers: Mapping[str, Pooler]) -> dict[str, dict[str, Value]]:
    """`[peers]` of one pooler: the others, by their peer_id."""
    if pooler.name not in pooler.peers:
        return {}
    return {
        str(peer_id): {"host": poolers[name].address or poolers[name].hostname, "port": poolers[name].port}
        for name, peer_id in pooler.peers.items()
        if name != pooler.name
    }


def _id_problems(ids: Mapping[str, Value], where: str) -> Iterable[Problem]:
    for peer, peer_id in ids.items():
        wrong = settings.check("pgbouncer", "peer_id", peer_id, None, where)
        yield from (Problem(where, f"{peer}: {problem.message}", problem.hint) for problem in wrong)
        if not wrong and int(str(peer_id)) == 0:
            yield Problem(where, f"{peer}: peer_id 0 means no peering", "number them from 1, or leave it out")
    shared = [peer_id for peer_id, count in Counter(map(str, ids.values())).items() if count > 1]
    for peer_id in shared:
        owners = ", ".join(peer for peer, own in ids.items() if str(own) == peer_id)
        yield Problem(where, f"{owners} have the same peer_id {peer_id}", "give each its own")
    if len(ids) == 1:
        yield Problem(
            where, f"{next(iter(ids))} is the only one, and a peer needs others", "name them, or leave it out"
        )


def _member_problems(pooler: Pooler, peer: Pooler, where: str) -> Iterable[Problem]:
    if peer.peers != pooler.peers:
        yield Problem(
            where,
            f"{peer.name} has another pgbouncer_peers, and what one passes on the other would not know",
            "declare it once, in group_data, for all of them",
        )
    listens = settings.text(settings.known("pgbouncer", "listen_addr"), peer.effective("listen_addr"))
    if all(part.strip() in _NOWHERE for part in listens.split(",")):
        yield Problem(
            where, f"{peer.name} listens where its peers cannot reach it: listen_addr = {listens}", "correct it"
        )
