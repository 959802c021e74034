"""What the hosts' sshd ran, and an exact place to stop it: for tests (see images/host/…/record-command)."""

from __future__ import annotations

import base64
from dataclasses import dataclass

from lab.docker import shell
from lab.topology import Lab
from poolward.errors import PoolwardError

LOG = "/var/log/lab/commands"
HOLD, HELD = "/run/lab/hold-after", "/run/lab/held"


@dataclass(frozen=True)
class Record:
    number: int
    began: float
    command: str
    status: int | None
    """None while it runs. The sftp server runs until its client leaves."""


def reset(host: str) -> None:
    """Forget what was recorded, and let go whatever is held."""
    _shell(host, f"rm -f {HOLD} {HELD}\nexec 9>>/var/log/lab/lock\nflock 9\ntest ! -e {LOG} || : > {LOG}\n")


def records(host: str) -> list[Record]:
    begun: dict[int, tuple[float, str]] = {}
    ended: dict[int, int] = {}
    for line in _shell(host, f"test ! -e {LOG} || cat {LOG}").splitlines():
        kind, number, *rest = line.split(" ")
        if kind == "begin":
            begun[int(number)] = float(rest[0]), base64.b64decode(rest[1]).decode(errors="surrogateescape")
        else:
            ended[int(number)] = int(rest[0])
    return [Record(number, *begun[number], ended.get(number)) for number in sorted(begun)]


def commands(host: str) -> list[str]:
    """Every command line since the last reset, in the order they began."""
    return [record.command for record in records(host)]


def hold_after(host: str, count: int) -> None:
    """From the count-th command that completes from now on, keep the answer from the client (at most 120 s)."""
    _shell(host, f"rm -f {HELD}\necho {count} > {HOLD}.new\nchown operator: {HOLD}.new\nmv {HOLD}.new {HOLD}\n")


def wait_held(host: str, timeout: float) -> None:
    """Return once that command has completed and its answer is held back."""
    # The host itself looks: asking it every few milliseconds from here would slow down what is waited for.
    answer = _shell(
        host, f"timeout {timeout:.0f} sh -c 'until test -e {HELD}; do sleep 0.02; done' && echo held || true"
    )
    if not answer:
        raise PoolwardError(f"{host} did not hold a command within {timeout:.0f} s.")


def release(host: str) -> None:
    _shell(host, f"rm -f {HOLD} {HELD}\n")


def _shell(host: str, script: str) -> str:
    return shell(_container(host), script)


def _container(host: str) -> str:
    return Lab.from_environment().container(host)
