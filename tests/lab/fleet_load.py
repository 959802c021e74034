"""Clients without manners, as a process of its own: `python -m tests.lab.fleet_load`, told by standard input.

They connect, run short transactions, hold a transaction open, cancel, leave in the middle of a transaction, and wait
for nobody. One thing they never do is to leave a statement running: that is a test of its own.
"""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

import psycopg

from lab.topology import REPOSITORY

Connection = psycopg.AsyncConnection[tuple[object, ...]]
Deed = Callable[[random.Random, Connection], Awaitable[None]]
PATIENCE = 30
"""Seconds after which a client that got no answer gives up."""


@dataclass(frozen=True)
class Door:
    """An entry of one pooler that a role may go in by."""

    host: str
    port: int
    entry: str
    role: str
    password: str
    single_statements: bool
    """pool_mode = statement: no transaction of more than one."""
    cancels: bool
    """Whether this PgBouncer survives it."""

    async def enter(self) -> Connection:
        return await psycopg.AsyncConnection.connect(
            host=self.host,
            port=self.port,
            dbname=self.entry,
            user=self.role,
            password=self.password,
            autocommit=True,
            prepare_threshold=None,  # PgBouncer 1.18 cannot carry a prepared statement from one transaction to another
            connect_timeout=PATIENCE,
        )


def start(doors: Sequence[Door], clients: int, seed: str) -> subprocess.Popen[str]:
    """Start so many clients; they go on until `stop`, or until nobody is there any more to stop them."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.lab.fleet_load"],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin
    print(json.dumps({"doors": [asdict(door) for door in doors], "clients": clients, "seed": seed}), file=process.stdin)
    process.stdin.flush()
    return process


def stop(process: subprocess.Popen[str]) -> Counter[str]:
    """Let the clients finish what they are at; how often they did what, and which errors they met."""
    try:
        # closes its standard input, which is the sign
        return Counter(json.loads(process.communicate(timeout=4 * PATIENCE)[0]))
    finally:
        process.kill()


async def main(doors: list[dict[str, Any]], clients: int, seed: str) -> Counter[str]:
    told: Counter[str] = Counter()
    over = asyncio.Event()
    places = [Door(**door) for door in doors]
    running = [asyncio.create_task(client(random.Random(f"{seed}/{n}"), places, over, told)) for n in range(clients)]
    await asyncio.to_thread(sys.stdin.read)
    over.set()
    await asyncio.gather(*running)
    return told


async def client(choose: random.Random, doors: Sequence[Door], over: asyncio.Event, told: Counter[str]) -> None:
    while not over.is_set():
        try:
            await visit(choose, choose.choice(doors), over, told)
        except (psycopg.Error, OSError) as error:
            told[f"{type(error).__name__}: {str(error).strip()[-60:]}"] += 1
            await asyncio.sleep(0.05 * choose.random())


async def visit(choose: random.Random, door: Door, over: asyncio.Event, told: Counter[str]) -> None:
    """One connection: some transactions, and the end."""
    deeds: list[Deed] = [short, hold, hold]
    deeds += [cancel] * door.cancels + [walk_out] * (not door.single_statements)
    connection = await door.enter()
    told["connected"] += 1
    try:
        for deed in choose.choices(deeds, k=choose.randint(1, 4)):
            if connection.closed or over.is_set():
                break
            await deed(choose, connection)
            told[deed.__name__] += 1
    finally:
        await connection.close()


async def short(choose: random.Random, connection: Connection) -> None:
    for _ in range(choose.randint(1, 10)):
        await connection.execute("SELECT 1")


async def hold(choose: random.Random, connection: Connection) -> None:
    await connection.execute(f"SELECT pg_sleep({choose.uniform(0.3, 1.5):.2f})".encode())


async def cancel(choose: random.Random, connection: Connection) -> None:
    asked = asyncio.create_task(hold(choose, connection))
    await asyncio.sleep(choose.uniform(0, 0.3))
    await connection.cancel_safe(timeout=PATIENCE)
    with suppress(psycopg.errors.QueryCanceled):
        await asked


async def walk_out(choose: random.Random, connection: Connection) -> None:
    await connection.execute("BEGIN")
    await connection.execute("SELECT 1")
    await asyncio.sleep(choose.uniform(0, 0.4))
    connection.pgconn.finish()


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(**json.loads(sys.stdin.readline())))))
