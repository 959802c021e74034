"""`python -m lab`: the lab's command line."""

from __future__ import annotations

import fcntl
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.table import Table

from lab import engine, hosts, images, rehearsal
from lab.progress import console, say
from lab.state import State
from lab.topology import HOSTS, SERVICES, Lab
from poolward.errors import PoolwardError

SWITCH = click.Choice(["on", "off"])


@click.group()
def cli() -> None:
    """Real hosts on one machine, to try Poolward on. LAB_NAME and LAB_SUBNET choose another lab beside the default."""


@cli.command()
@click.option("--with", "extra", multiple=True, type=click.Choice([host.name for host in HOSTS if host.optional]))
def up(extra: tuple[str, ...]) -> None:
    """Bring the lab up, or back to what it should be."""
    started = time.monotonic()
    lab = Lab.from_environment()
    already = State(lab).hosts()
    wanted = [host for host in HOSTS if not host.optional or host.name in extra or host.name in already]
    with _one_at_a_time():
        engine.ensure()
        tags = images.ensure(wanted)
    changed = hosts.up(lab, wanted, tags)
    names = " ".join(host.name for host in wanted)
    say(f"The lab {lab.name} is {'up' if changed else 'already up'}: {names}  ({time.monotonic() - started:.1f} s)")


@cli.command()
@click.option("--images", "with_images", is_flag=True, help="Remove the lab's images too.")
def down(with_images: bool) -> None:
    """Remove the lab: containers, network, keys and passwords."""
    lab = Lab.from_environment()
    if engine.answers():
        if with_images and (others := hosts.other_labs(lab)):
            raise PoolwardError(
                f"Other labs use the images: {', '.join(others)}.", "Leave out --images, or end those first."
            )
        hosts.down(lab)
        if with_images:
            images.remove()
    else:
        hosts.forget(lab)
    say(f"The lab {lab.name} is gone.")


@cli.command()
def status() -> None:
    """Show the hosts and what the services say."""
    lab = _running_lab()
    ready, running = State(lab).hosts(), hosts.containers(lab)
    table = Table("host", "Debian", "address", "state", title=f"lab {lab.name}")
    for host in HOSTS:
        if host.name in ready:
            state = "running" if running.get(ready[host.name].container) else "[red]stopped"
            table.add_row(host.name, host.suite, ready[host.name].address, state)
    console.print(table)
    table = Table("service", "host", "role", "open", "succeeded", "failed", "refused")
    for name in sorted({service.host for service in SERVICES}):
        services = [service for service in SERVICES if service.host == name]
        answers = hosts.health(lab, services)
        for service in services:
            numbers = json.loads(answers[service.name] or "{}")
            columns = (numbers.get(key, "—") for key in ("connections", "succeeded", "failed", "connect_failed"))
            table.add_row(service.name, name, service.role, *map(str, columns))
    console.print(table)


@cli.command()
@click.argument("switch", type=SWITCH)
def peak(switch: str) -> None:
    """The busy hour: the services ask for more connections than the server has."""
    hosts.set_flag(_running_lab(), "peak", switch == "on")
    say(f"peak {switch}; the services follow within seconds")


@cli.command()
@click.argument("switch", type=SWITCH)
def load(switch: str) -> None:
    """Many more transactions per second, on the same connections."""
    hosts.set_flag(_running_lab(), "load", switch == "on")
    say(f"load {switch}; the services follow within seconds")


@cli.command()
@click.option("--soak", default=2.0, show_default=True, help="Seconds each moved service has to prove itself for.")
def rehearse(soak: float) -> None:
    """The incident, the cutover of eight services, and the same peak again."""
    rehearsal.rehearse(_running_lab(), soak)


@cli.command(name="exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("host", type=click.Choice([host.name for host in HOSTS]))
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def execute(host: str, command: tuple[str, ...]) -> None:
    """Run a command as root on a lab host."""
    terminal = ["-t"] if sys.stdin.isatty() and sys.stdout.isatty() else []
    os.execvp("docker", ["docker", "exec", "-i", *terminal, _running_lab().container(host), *command])


def _running_lab() -> Lab:
    lab = Lab.from_environment()
    if not State(lab).hosts() or not engine.answers():
        raise PoolwardError(f"The lab {lab.name} is not up.", "python -m lab up")
    return lab


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Two labs may come up at once; the engine and the images they share are made by one of them."""
    with (Path(tempfile.gettempdir()) / f"poolward-lab-{os.getuid()}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main() -> None:
    try:
        cli(prog_name="python -m lab")
    except PoolwardError as error:
        console.print(str(error), style="red", markup=False)
        sys.exit(1)


if __name__ == "__main__":
    main()
