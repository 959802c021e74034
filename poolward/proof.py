"""What only a live look can tell: a login through the pooler."""

from __future__ import annotations

import math
from collections.abc import Mapping

from gevent.lock import BoundedSemaphore
from pyinfra.api import Host

from poolward import remote, shell
from poolward.desired import PoolerConfig
from poolward.fleet import PROBE_ROLE
from poolward.observed import sections
from poolward.shell.psql import service_file

# One pooler proves its logins at a time: the role's CONNECTION LIMIT is 3, a session that ends overlaps with the next
# one, and health checks log in as well. Twenty poolers at once would fail each other's proofs.
_proving = BoundedSemaphore(1)


def login_problem(target: Host, config: PoolerConfig, probe_secrets: Mapping[str, str]) -> str | None:
    """What keeps the probe from logging in through an entry of the pooler, or None; secrets by server name."""
    services = config.probe_services(probe_secrets)
    patience = math.ceil(float(str(config.settings.get("server_login_retry", 15)))) + 2
    bound = 30 + (22 + patience) * len(services)
    command = shell.script(
        "login",
        "log in through the pooler",
        bound,
        config.runtime.place,
        services=services,
        role=PROBE_ROLE,
        patience=patience,
    )
    with _proving:
        answers = sections(remote.must(target, command, stdin=service_file(services)).splitlines())
    failed = {
        str(keys["dbname"]): "".join(answers.get(name, ["no answer"])).removeprefix("failed ")
        for name, keys in services.items()
        if answers.get(name) != ["ok"]
    }
    if not failed:
        return None
    told = "".join(f"\n{entry}: {answer}" for entry, answer in failed.items())
    log = "".join(f"\nPgBouncer's log: {line}" for line in answers["log"])
    return f"The probe cannot log in through {target.name}:{told}{log}"
