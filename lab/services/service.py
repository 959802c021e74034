"""A sample service: a persistent pool, short transactions at a low rate, counters, a health URL.

It runs on Debian's python3-psycopg and reads everything from its environment. The file /run/lab/peak widens its pool as
a busy hour would, /run/lab/load makes it work faster; both take effect within seconds, without a restart.
"""

from __future__ import annotations

import json
import os
import random
import signal
import threading
from collections import Counter, deque
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg_pool import ConnectionPool, PoolTimeout

PEAK, LOAD = Path("/run/lab/peak"), Path("/run/lab/load")
WAIT_FOR_CONNECTION = 2.0
DAY = 86_400.0

# libpq gives no SQLSTATE when a connection is refused, only the server's words.
REFUSALS = {
    "too many clients already": "53300",
    "remaining connection slots are reserved": "53300",
    "too many connections for": "53300",
    "no more connections allowed": "53300",
    "password authentication failed": "28P01",
    "SASL authentication failed": "28P01",
    "no pg_hba.conf entry": "28000",
    "not permitted to log in": "28000",
    "does not exist": "3D000",
    "is starting up": "57P03",
    "is shutting down": "57P03",
}
UNREACHABLE = "08001"


def conninfo(environment: Mapping[str, str]) -> str:
    """The connection settings, in whichever shape they come. Empty means PGHOST and friends, which libpq reads."""
    if "JDBC_URL" in environment:
        url = urlsplit(environment["JDBC_URL"].removeprefix("jdbc:"))
        given = dict(parse_qsl(url.query))
        names = {"user": "user", "password": "password", "ApplicationName": "application_name", "options": "options"}
        known = {names[name]: value for name, value in given.items() if name in names}
        return make_conninfo(host=url.hostname, port=url.port, dbname=unquote(url.path.lstrip("/")), **known)
    if "DB_HOST" in environment:
        names = {"host": "HOST", "port": "PORT", "dbname": "NAME", "user": "USER", "password": "PASSWORD"}
        return make_conninfo(**{name: environment[f"DB_{suffix}"] for name, suffix in names.items()})
    return environment.get("DATABASE_URL") or environment.get("DATABASE_DSN") or ""


def sqlstate(error: psycopg.Error) -> str:
    known = (code for words, code in REFUSALS.items() if words in str(error))
    return error.sqlstate or next(known, UNREACHABLE)


class Counters:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._succeeded = 0
        self._failed: Counter[str] = Counter()
        self._connect_failed: Counter[str] = Counter()
        self._recent: deque[bool] = deque(maxlen=3)
        self.last_refusal = UNREACHABLE

    def success(self) -> None:
        with self._lock:
            self._succeeded += 1
            self._recent.append(True)

    def failure(self, code: str) -> None:
        with self._lock:
            self._failed[code] += 1
            self._recent.append(False)

    def refused(self, code: str) -> None:
        with self._lock:
            self._connect_failed[code] += 1
            self.last_refusal = code

    def report(self) -> tuple[bool, dict[str, Any]]:
        """Whether the service works, and its numbers: it does not when its last three transactions all failed."""
        with self._lock:
            healthy = any(self._recent) or len(self._recent) < 3
            numbers = {"succeeded": self._succeeded, "failed": dict(self._failed)}
            return healthy, {**numbers, "connect_failed": dict(self._connect_failed)}


class Service:
    def __init__(self, environment: Mapping[str, str]) -> None:
        self.name = environment["SERVICE"]
        self.port = int(environment["HEALTH_PORT"])
        self.counters = Counters()
        self.stopping = threading.Event()
        self._size, self._peak_size = int(environment["POOL_SIZE"]), int(environment["PEAK_POOL_SIZE"])
        self._conninfo = conninfo(environment)
        self._session_sql = environment.get("SESSION_SQL", "")
        self._prepare_threshold = 0 if environment.get("PREPARED") == "on" else None
        self._work = {"write": _write, "transfer": _transfer, "read": _read}[environment["WORKLOAD"]]
        self._pool = self._open("pool", self._size)
        self._extra: ConnectionPool[Any] | None = None

    def run(self) -> None:
        while not self.stopping.wait(random.uniform(0.8, 1.2) * (0.05 if LOAD.exists() else 2.0)):
            self._follow_peak()
            for pool in filter(None, (self._pool, self._extra)):
                self._transaction(pool)

    def report(self) -> tuple[bool, dict[str, Any]]:
        healthy, numbers = self.counters.report()
        pools = [pool for pool in (self._pool, self._extra) if pool]
        connections = sum(pool.get_stats().get("pool_size", 0) for pool in pools)
        return healthy, {"service": self.name, "peak": self._extra is not None, "connections": connections, **numbers}

    def _open(self, name: str, size: int) -> ConnectionPool[Any]:
        counters = self.counters

        class Connection(psycopg.Connection[Any]):
            @classmethod
            def connect(cls, *arguments: Any, **options: Any) -> Any:
                try:
                    return super().connect(*arguments, **options)
                except psycopg.Error as error:
                    counters.refused(sqlstate(error))
                    raise

        def configure(connection: psycopg.Connection[Any]) -> None:
            if self._session_sql:
                connection.execute(self._session_sql)
                connection.commit()

        return ConnectionPool(
            self._conninfo,
            connection_class=Connection,
            kwargs={"connect_timeout": 5, "prepare_threshold": self._prepare_threshold},
            configure=configure,
            name=name,
            min_size=size,
            max_size=size,
            timeout=WAIT_FOR_CONNECTION,
            max_lifetime=DAY,
            reconnect_timeout=DAY,
            num_workers=2,
            open=True,
        )

    def _follow_peak(self) -> None:
        """At the peak a second pool holds what is wanted beyond the usual size; it closes at once afterwards."""
        if PEAK.exists() and self._extra is None:
            self._extra = self._open("peak", self._peak_size - self._size)
        elif not PEAK.exists() and self._extra is not None:
            self._extra.close()
            self._extra = None

    def _transaction(self, pool: ConnectionPool[Any]) -> None:
        try:
            with pool.connection() as connection:
                self._work(connection)
        except PoolTimeout:
            self.counters.failure(self.counters.last_refusal)
        except psycopg.Error as error:
            self.counters.failure(sqlstate(error))
        else:
            self.counters.success()


def _transfer(connection: psycopg.Connection[Any]) -> None:
    first, second = sorted(random.sample(range(1, 101), 2))  # in one order, so that two transfers cannot deadlock
    amount = random.choice((-1, 1))
    connection.execute("UPDATE accounts SET balance = balance + %s WHERE id = %s", (amount, first))
    connection.execute("UPDATE accounts SET balance = balance - %s WHERE id = %s", (amount, second))


def _write(connection: psycopg.Connection[Any]) -> None:
    row = (random.randrange(50), 50 + random.random(), 7 + random.random(), 120 * random.random())
    connection.execute("INSERT INTO positions (device, latitude, longitude, speed) VALUES (%s, %s, %s, %s)", row)
    _transfer(connection)


def _read(connection: psycopg.Connection[Any]) -> None:
    device = (random.randrange(50),)
    connection.execute("SELECT at, speed FROM positions WHERE device = %s ORDER BY at DESC LIMIT 20", device).fetchall()
    connection.execute("SELECT sum(balance) FROM accounts").fetchone()


def serve_health(service: Service) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            healthy, body = service.report()
            self.send_response(200 if healthy else 503)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer((os.environ.get("HEALTH_ADDRESS", "127.0.0.1"), service.port), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()


if __name__ == "__main__":
    service = Service(os.environ)
    signal.signal(signal.SIGTERM, lambda *_: service.stopping.set())
    serve_health(service)
    service.run()
