"""What every PgBouncer says of itself, and a login through every entry."""

from __future__ import annotations

import math
from typing import Any

from tests.endstate.fleet import Pooler

PROBE = "pgbouncer_probe"


def shown(value: Any) -> str:
    """A value of the inventory as SHOW CONFIG prints it."""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, list):
        return ",".join(value)
    if isinstance(value, str) and value.startswith("0") and value.isdigit() and len(value) > 1:
        return str(int(value, 8))  # a file mode
    return f"{value:g}" if isinstance(value, float) and math.isfinite(value) else str(value)


def test_running_values_are_the_written_ones(pooler: Pooler):
    operators = pooler.data.get("pgbouncer_settings", {})
    assert operators.keys() <= pooler.running.keys()
    # a default of Poolward's that this version does not know yet is not shown
    wanted = {key: shown(value) for key, value in pooler.written.items() if key in pooler.running}
    assert {key: pooler.running[key] for key in wanted} == wanted


def test_clients_are_looked_up_by_the_function_or_not_at_all(pooler: Pooler):
    auth_roles = {server.auth_role for server in pooler.server_of.values() if server.auth_query}
    if auth_roles:
        assert "pgbouncer.user_lookup(" in pooler.running["auth_query"]
    assert pooler.running["auth_user"] in (auth_roles or {""})
    assert pooler.running["auth_file"] == "/etc/pgbouncer/userlist.txt"
    own_entries = set(pooler.served) - set(pooler.entries) - {"pgbouncer"}
    assert own_entries == (auth_roles if pooler.version >= (1, 19) else set())


def test_every_entry_is_served_as_written(pooler: Pooler, entry: str):
    keys, server, row = pooler.entries[entry], pooler.server_of[entry], pooler.served[entry]
    size = keys.get("pool_size", pooler.running["default_pool_size"])
    assert (row["host"], row["port"]) == (server.address, str(server.port))
    assert row["database"] == keys.get("dbname", entry)
    assert row["pool_size"] == str(size)
    assert row["pool_mode"] in (keys.get("pool_mode", ""), keys.get("pool_mode", pooler.running["pool_mode"]))
    assert (row["paused"], row["disabled"]) == ("0", "0")


def test_every_entry_has_a_limit(pooler: Pooler, entry: str):
    limit = int(pooler.served[entry]["max_connections"])
    assert limit > 0
    assert limit == pooler.entries[entry].get("max_db_connections", limit)


def test_lookup_entries_stay_small(pooler: Pooler):
    for server in pooler.server_of.values():
        if row := pooler.served.get(server.auth_role):
            reserve = row.get("reserve_pool_size", row.get("reserve_pool"))
            assert (row["pool_size"], reserve, row["max_connections"]) == ("2", "0", "2")
            assert row["database"] == server.auth_database


def test_probe_logs_in(pooler: Pooler, entry: str):
    server = pooler.server_of[entry]
    first = (pooler.listen_addresses or [pooler.socket_directory])[0]
    address = {"*": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(first, first)
    service = f"[probe]\nhost={address}\nport={pooler.port}\ndbname={entry}\nuser={PROBE}\n"
    # It ends its own server connection: an idle one would stay in the pool and count against the probe's limit.
    command = (
        "cat | PGSERVICEFILE=/dev/stdin PGSERVICE=probe PGCONNECT_TIMEOUT=15 timeout 25 psql -XqAt "
        "-c 'SELECT session_user, current_database()' -c 'SELECT pg_terminate_backend(pg_backend_pid())' 2>&1 || true"
    )
    said = pooler.host.backend.private(pooler.inside(command), stdin=f"{service}password={server.probe_secret.text}\n")
    assert said.splitlines()[0] == f"{PROBE}|{pooler.entries[entry].get('dbname', entry)}"


def test_wrong_password_is_refused(pooler: Pooler):
    entry = next(iter(pooler.entries))
    service = (
        f"[probe]\nhost={pooler.socket_directory}\nport={pooler.port}\ndbname={entry}\nuser={PROBE}\npassword=no\n"
    )
    command = (
        "cat | PGSERVICEFILE=/dev/stdin PGSERVICE=probe PGCONNECT_TIMEOUT=15 psql -XqAt -c 'SELECT 1' 2>&1 || true"
    )
    assert "authentication failed" in pooler.host.backend.private(pooler.inside(command), stdin=service)
