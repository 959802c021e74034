"""One login with a service's own credentials, in a process of its own: `python -m poolward.login_check`.

pyinfra's process is patched by gevent, in which psycopg's waiting would block everything. The connection's keywords,
with the password, come by standard input as JSON; the answer goes out the same way and holds no secret.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import psycopg

SECONDS = 15


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Log in, prepare a statement if asked to, and say who one is where."""
    start = time.monotonic()
    try:
        with psycopg.connect(
            **libpqs_own(request["keywords"]),
            connect_timeout=SECONDS,
            prepare_threshold=0 if request["prepare"] else None,
        ) as connection:
            for _ in range(3):
                # Each in a transaction of its own: in transaction mode the next one may meet another server connection.
                row = connection.execute(
                    "SELECT current_user, current_database(), extract(epoch FROM pg_postmaster_start_time())::float8, "
                    "host(inet_client_addr())"
                ).fetchone()
                connection.commit()
    except psycopg.Error as error:
        said = _connection_free(str(error), request)
        return {"ok": False, "error": said, "sqlstate": error.sqlstate or ""}
    assert row is not None
    took = round((time.monotonic() - start) * 1000)
    return {
        "ok": True,
        "role": row[0],
        "database": row[1],
        "started": row[2],
        "seen_from": row[3],
        "milliseconds": took,
    }


def libpqs_own(keywords: dict[str, Any]) -> dict[str, Any]:
    """Without what only another driver knows: a pool's size, a schema, a cache of statements."""
    known = {option.keyword.decode() for option in psycopg.pq.Conninfo.get_defaults()}
    return {name: value for name, value in keywords.items() if name in known}


def _connection_free(text: str, request: dict[str, Any]) -> str:
    """libpq's message without what it repeats of the connection string."""
    password = str(request["keywords"].get("password") or "")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    said = lines[-1].rpartition("failed: ")[2] if lines else "no reason given"
    return said.replace(password, "***") if password else said


if __name__ == "__main__":
    json.dump(answer(json.load(sys.stdin)), sys.stdout)
