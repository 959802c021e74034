"""pyinfra, run as a child, with every way it has of ending in a false 0 made an error."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from poolward.errors import PoolwardError
from poolward.operations.receipt import RECEIPT

_PLANS_ONLY = ("--dry", "--debug-operations", "--debug-facts", "-h", "--help")


def run(deploy: str, inventory: str, options: Sequence[str]) -> None:
    """Run `pyinfra -y INVENTORY deploy/DEPLOY.py OPTIONS`; raises PoolwardError unless it came to its end on its hosts.

    A host that reaches the end of the deploy writes its name into a receipt; pyinfra's own exit code alone proves
    nothing.
    """
    script = Path("deploy") / f"{deploy}.py"
    _check(script, inventory, options)
    with tempfile.TemporaryDirectory(prefix="poolward-") as folder:
        receipt = Path(folder) / "receipt"
        command = [str(Path(sys.executable).with_name("pyinfra")), "-y", *options, inventory, str(script)]
        code = _wait(command, {**os.environ, RECEIPT: str(receipt)})
        finished = receipt.read_text().split() if receipt.exists() else []
    if code != 0:
        raise PoolwardError(f"The run failed; pyinfra's exit code is {code}.", "The reason stands above, in red.")
    if not finished and not any(option in _PLANS_ONLY for option in options):
        raise PoolwardError(
            "No host came to the end of the run, although pyinfra calls it a success.",
            "It was interrupted, or --limit or --exclude left no host. Run it again.",
        )


def _check(script: Path, inventory: str, options: Sequence[str]) -> None:
    if not Path("config.py").is_file():
        raise PoolwardError(
            "There is no config.py here, and without it pyinfra goes on after a failed host.",
            "Run this from the top of the clone.",
        )
    if not script.is_file():
        known = ", ".join(sorted(path.stem for path in Path("deploy").glob("*.py")))
        raise PoolwardError(f"There is no {script}.", f"Known: {known}")
    if not Path(inventory).is_file():
        raise PoolwardError(f"There is no inventory {inventory}.", "Give a file such as inventories/prod.py.")
    if "--no-wait" in options:
        raise PoolwardError(
            "--no-wait lets every host run ahead on its own, and pyinfra exits 0 even when all of them failed.",
            "Leave it out: the stages of a deploy have to wait for each other.",
        )


def _wait(command: Sequence[str], environment: dict[str, str]) -> int:
    """Wait for the child; on Ctrl-C let it end by itself, because it has received the signal too.

    The signal is noted and not raised: wherever an exception came in the midst of starting or awaiting a process, it
    would leave that alone, or get lost.
    """
    interrupted = False

    def note(_signal: int, _frame: FrameType | None) -> None:
        nonlocal interrupted
        interrupted = True

    before = signal.signal(signal.SIGINT, note)
    try:
        code = subprocess.Popen(command, env=environment).wait()
    finally:
        signal.signal(signal.SIGINT, before)
    if interrupted or code == -signal.SIGINT:
        raise PoolwardError(
            "Interrupted: the remaining operations did not run.",
            "Nothing half-applied is left running; the next run finishes the work.",
        )
    return code
