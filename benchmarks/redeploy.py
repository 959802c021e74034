"""`python -m benchmarks.redeploy`: a redeploy that changes nothing, by Poolward and by Ansible, in turn."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
from rich.table import Table

from benchmarks import breakages, hosts, playbook
from lab import recorder
from lab.progress import console, say, step
from lab.topology import REPOSITORY
from poolward.errors import PoolwardError

RESULTS = hosts.HERE / "results" / "redeploy.json"


@dataclass(frozen=True)
class Case:
    """What was measured on one number of hosts, in seconds and commands."""

    hosts: Sequence[str]
    ours: Sequence[float]
    theirs: Sequence[float]
    commands: dict[str, int]
    """Per host what its sshd ran for one run of ours."""

    @property
    def label(self) -> str:
        return "1 pooler (and db1)" if len(self.hosts) == 2 else f"{len(self.hosts)} hosts"

    @property
    def ratio(self) -> float:
        return statistics.median(self.theirs) / statistics.median(self.ours)

    @property
    def ratios(self) -> list[float]:
        return sorted(theirs / ours for ours, theirs in zip(self.ours, self.theirs, strict=True))


@click.command()
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(min=3))
@click.option("--hosts", "many", type=click.IntRange(4, 20), help="Measure this many hosts too, made for it.")
@click.option("--prove", is_flag=True, help="Break things one by one instead, and see that both sides notice.")
def main(rounds: int, many: int | None, prove: bool) -> None:
    """Time a redeploy that changes nothing, on 1 and 3 hosts, against an equivalent Ansible playbook."""
    playbook.install()
    with hosts.running(many or 3) as up, tempfile.TemporaryDirectory(prefix="bench") as scratch:
        names = [host.name for host in up]
        with step("the first deploy"):
            _deploy(names)
            _deploy(names)
        if prove:
            breakages.prove(lambda: _deploy(names), Path(scratch) / "hosts.json", names)
            return
        groups = [names[:size] for size in (2, 3, *([many] if many else []))]
        commands = [_commands_of(group) for group in groups]
        hosts.stop_recording(names)
        pairs = zip(groups, commands, strict=True)
        cases = [_measure(group, counted, rounds, Path(scratch)) for group, counted in pairs]
    _print(cases, rounds)
    _write(cases, rounds)


def _commands_of(names: Sequence[str]) -> dict[str, int]:
    """How many commands each host's sshd runs for one no-op of ours."""
    for name in names:
        recorder.reset(name)
    no_op(names)
    return {name: len(recorder.commands(name)) for name in names}


def _measure(names: Sequence[str], commands: dict[str, int], rounds: int, scratch: Path) -> Case:
    inventory = scratch / "hosts.json"
    playbook.write_inventory(inventory, names)
    with step(f"{rounds} rounds of both on {' '.join(names)}"):
        playbook_run(inventory)  # Ansible then finds its ssh connections open (ControlPersist)
        times: tuple[list[float], list[float]] = ([], [])
        for _ in range(rounds):
            times[0].append(_timed(lambda: no_op(names)))
            times[1].append(_timed(lambda: playbook_run(inventory)))
    return Case(names, *times, commands)


def no_op(names: Sequence[str]) -> None:
    """A run of ours that must change nothing."""
    if changes := _deploy(names):
        raise PoolwardError(f"Poolward changed something {changes} times in a run that should change nothing.")


def playbook_run(inventory: Path) -> None:
    """A run of theirs that must change nothing."""
    done = playbook.run(inventory)
    if done.returncode or playbook.changed(done):
        raise PoolwardError(f"The playbook failed or changed something:\n{done.stdout[-3000:]}{done.stderr[-1000:]}")


def _deploy(names: Sequence[str]) -> int:
    limits = [part for name in names for part in ("--limit", name)]
    pyinfra = str(Path(sys.executable).with_name("pyinfra"))
    command = [pyinfra, "-y", "--json", *limits, "benchmarks/fleet.py", "deploy/pgbouncer.py"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PoolwardError(f"The deploy failed:\n{done.stderr[-3000:]}")
    return int(json.loads(done.stdout)["results"]["totals"]["success"])


def _timed(run: Callable[[], object]) -> float:
    started = time.monotonic()
    run()
    return time.monotonic() - started


def _print(cases: Sequence[Case], rounds: int) -> None:
    table = Table("", "Poolward, s", "Ansible, s", "ratio", "commands per host", title=f"{rounds} rounds, in turn")
    for case in cases:
        ratio = f"{case.ratio:.1f}×  ({case.ratios[0]:.1f} to {case.ratios[-1]:.1f})"
        table.add_row(case.label, _spread(case.ours), _spread(case.theirs), ratio, _counts(case))
    console.print(table)
    say(f"All hosts share this machine's {os.cpu_count()} cores with the program that deploys to them: with real hosts")
    say("both sides are faster, and Ansible gains more, as it starts a Python on each host for every task.")


def _spread(times: Sequence[float]) -> str:
    return f"{statistics.median(times):.1f}  ({min(times):.1f} to {max(times):.1f})"


def _counts(case: Case) -> str:
    shown = [f"{name} {count}" for name, count in list(case.commands.items())[:3]]
    return ", ".join(shown) + (f"; at most {max(case.commands.values())}" if len(case.commands) > 3 else "")


def _write(cases: Sequence[Case], rounds: int) -> None:
    """Ratios and counts only: seconds belong to the machine they were taken on."""
    requirements = (hosts.HERE / "requirements.txt").read_text().splitlines()
    ansible = next(line for line in requirements if line.startswith("ansible-core"))
    found = [
        {
            "hosts": len(case.hosts),
            "ratio_of_medians": round(case.ratio, 1),
            "ratio_min": round(case.ratios[0], 1),
            "ratio_max": round(case.ratios[-1], 1),
            "commands_per_host": case.commands,
        }
        for case in cases
    ]
    summary = {"against": ansible, "rounds": rounds, "cores_shared_by_all": os.cpu_count(), "cases": found}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(summary, indent=2) + "\n")
    say(f"Ratios written to {RESULTS.relative_to(REPOSITORY)}")


if __name__ == "__main__":
    try:
        main(prog_name="python -m benchmarks.redeploy", standalone_mode=True)
    except PoolwardError as error:
        console.print(str(error), style="red", markup=False)
        sys.exit(1)
