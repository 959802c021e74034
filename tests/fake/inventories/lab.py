"""The lab's fleet without a lab: pyinfra's @fake connector over simulated hosts. POOLWARD_FAKE says how they are."""

import json as _json
import os as _os
from pathlib import Path as _Path

from tests.fake.simulated import SimulatedPooler as _Pooler
from tests.fake.simulated import SimulatedServer as _Server

_how = _json.loads(_os.environ["POOLWARD_FAKE"])
_log, _deployed, _faults = _Path(_how["log"]), _how["deployed"], _how["faults"]
_entries = {
    "tracksolid_db": {"host": "@fake/db1", "max_db_connections": 25},
    "tracksolid_db_session": {
        "host": "@fake/db1",
        "dbname": "tracksolid_db",
        "pool_mode": "session",
        "max_db_connections": 8,
    },
    "tracksolid-archive": {"host": "@fake/db1", "pool_size": 5, "max_db_connections": 6},
}


def _host(name, address, simulated, delay):
    data = {"address": address, "postgresql_address": address, "pgbouncer_databases": _entries, "services": []}
    data |= {"pgbouncer_manage_hba": False, "fake_delay": delay, "fake_delay_jitter": 0.01}
    return f"@fake/{name}", data | {"fake_responses": simulated.responses()}


# The database answers last, so that a pooler that does not wait for it overtakes it.
databases = [_host("db1", "192.0.2.11", _Server("db1", _log, _faults.get("db1", {}), deployed=_deployed), 0.05)]
poolers = [
    _host(name, address, _Pooler(name, recording, _log, _faults.get(name, {}), deployed=_deployed), 0)
    for name, address, recording in (
        ("pool1", "192.0.2.21", "pooler-1.24.txt"),
        ("pool2", "192.0.2.22", "pooler-1.18.txt"),
    )
]
apps = [("@fake/app1", {"fake_delay": 0, "services": []})]
