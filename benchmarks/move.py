"""`python -m benchmarks.move`: what a move costs besides the service's own restart, and what its clients see of it."""

from __future__ import annotations

import itertools
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click
from rich.table import Table

from lab import hosts
from lab.docker import docker
from lab.progress import console, say, step
from lab.topology import REPOSITORY, SERVICES, Lab
from poolward import journal
from poolward.errors import PoolwardError

RESULTS = Path(__file__).parent / "results" / "move.json"
INVENTORY = "inventories/lab.py"
SOAK = 2.0
# Prints when the number of transactions grew, as the service itself counts them, for as long as its input is open.
_WATCH = """
import json, select, sys, time, urllib.request
last = None
while not select.select([sys.stdin], [], [], 0.01)[0]:
    try:
        body = urllib.request.urlopen("http://127.0.0.1:%d/health", timeout=1).read()
    except OSError:
        continue
    count = json.loads(body)["succeeded"]
    if count != last:
        print(time.time(), flush=True)
        last = count
"""


@click.command()
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(min=3))
@click.option("--service", "name", default="worker", show_default=True)
def main(rounds: int, name: str) -> None:
    """Move one service of the lab and back, `rounds` times, each time after a bare restart of the same service."""
    lab = Lab.from_environment()
    service = next(service for service in SERVICES if service.name == name)
    restart = ["exec", lab.container(service.host), "systemctl", "restart", service.unit]
    bare: list[float] = []
    moved: list[float] = []
    added: list[float] = []
    hosts.set_flag(lab, "load", True)
    try:
        with step(f"{name} on its direct connection"):
            _poolward("rollback", name)
        for number in range(1, rounds + 1):
            with step(f"round {number} of {rounds}"):
                bare.append(_longest_gap(lab, service.host, service.port, lambda: docker(*restart)))
                moved.append(_longest_gap(lab, service.host, service.port, lambda: _poolward("cutover", name)))
                added.append(_added())
                _poolward("rollback", name)
    finally:
        hosts.set_flag(lab, "load", False)
    _print(name, bare, moved, added)
    _write(name, bare, moved, added)


def _longest_gap(lab: Lab, host: str, port: int, do: Callable[[], object]) -> float:
    """The longest time without a transaction, in seconds, from before `do` until after it."""
    command = ["docker", "exec", "-i", lab.container(host), "python3", "-c", _WATCH % port]
    watch = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert watch.stdin
    assert watch.stdout
    try:
        times = [float(watch.stdout.readline())]
        do()
        time.sleep(1)  # the gap may reach past the end of it
    finally:
        watch.stdin.close()
        rest = watch.stdout.read()
        watch.wait(timeout=10)
    times += [float(line) for line in rest.split()]
    return max(after - before for before, after in itertools.pairwise(times))


def _poolward(deploy: str, name: str) -> None:
    command = [str(Path(sys.executable).with_name("poolward")), "run", deploy, INVENTORY]
    command += ["--data", f"only={name}", "--data", f"soak={SOAK:g}"]
    done = subprocess.run(command, cwd=REPOSITORY, check=False, capture_output=True, text=True)
    if done.returncode:
        raise PoolwardError(f"The {deploy} failed: {done.stderr[-1500:]}")


def _added() -> float:
    """Seconds of the last move that were neither the service's restart nor the soak, from the run's own journal."""
    last = max((REPOSITORY / "journal").glob("*-cutover-*.jsonl"), key=lambda path: path.stat().st_mtime)
    events = {str(event["step"]): event for event in journal.read(last)}
    proved, restarted = events["proved"], events["restarted"]
    return float(str(proved["seconds"])) - float(str(restarted["seconds"])) - float(str(proved["soak"]))


def _print(name: str, bare: list[float], moved: list[float], added: list[float]) -> None:
    table = Table(title=f"{name}: a move beside a bare restart, {len(bare)} rounds, in turn", title_justify="left")
    table.add_column("")
    for column in ("median", "least", "most"):
        table.add_column(column, justify="right")
    for what, found in (
        ("s without a transaction, systemctl restart", bare),
        ("s without a transaction, a move", moved),
        ("s a move adds to restart and soak", added),
    ):
        table.add_row(what, *(f"{number:.2f}" for number in (statistics.median(found), min(found), max(found))))
    console.print(table)
    say(f"unavailability, move : restart = {_ratio(bare, moved):.2f}")


def _ratio(bare: list[float], moved: list[float]) -> float:
    return statistics.median(moved) / statistics.median(bare)


def _write(name: str, bare: list[float], moved: list[float], added: list[float]) -> None:
    found = {
        "service": name,
        "rounds": len(bare),
        "unavailability_ratio": round(_ratio(bare, moved), 2),
        "seconds_added": {
            "median": round(statistics.median(added), 2),
            "least": round(min(added), 2),
            "most": round(max(added), 2),
        },
    }
    RESULTS.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
