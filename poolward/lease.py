"""One cutover at a time: a lease on a host of the fleet, renewed at every step."""

from __future__ import annotations

import getpass
import json
import math
import os
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pyinfra.api import Host

from poolward import remote, shell
from poolward.errors import PoolwardError
from poolward.observed import Unreadable

SECONDS = 120
"""How long a lease lives without being renewed; a run renews it at each step and in every look of a proof, for longer
before a step that may take longer."""
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class LeaseLost(PoolwardError):
    """Another run has the fleet by now: what was begun here is its to finish, and not to be touched any more."""


@dataclass
class Lease:
    """The right to move services of a fleet."""

    host: Host
    """Where it is kept: `Fleet.keeper`."""
    token: str
    why: str
    _until: float = field(default=0.0, init=False)
    """When it expires, by this machine's monotonic clock; 0 while it is not taken."""
    _since: float = field(default_factory=time.time, init=False)

    @property
    def taken(self) -> bool:
        """Whether this run has taken it, and not given it back."""
        return self._until > 0

    def take(self) -> str:
        """Take the lease; returns a sentence where another one's was taken over, else an empty string.

        Raises PoolwardError with who holds it, why and since when, unless that one has expired or its process is gone
        on this very machine.
        """
        state, seconds, says, owner = self._ask("take")
        if state == "held" and _is_gone(says):
            state, seconds, says, owner = self._ask("take", instead_of=owner)
        if state == "held":
            raise _held(says, seconds)
        self._until = time.monotonic() + SECONDS
        return f"took over the lease of {_told(says)}, which ended without giving it back" if state == "after" else ""

    def refuse_if_held(self) -> None:
        """Raise PoolwardError as `take` does, and take nothing."""
        state, seconds, says, _ = self._ask("look")
        if state == "held" and not _is_gone(says):
            raise _held(says, seconds)

    def renew(self, during: float = 0) -> None:
        """Renew it when a quarter of it has passed; raises LeaseLost when somebody else has it by now.

        `during` are the seconds that the next step may take, in which nobody renews it: it lives so much longer.
        """
        left = self._until - time.monotonic() - during
        if not SECONDS * 3 / 4 < left <= SECONDS:
            seconds = SECONDS + math.ceil(during)
            answer = remote.must(self.host, self._command("renew", "renew the lease on the fleet", seconds=seconds))
            if answer.startswith("lost"):
                raise LeaseLost(
                    f"Another run has taken the fleet over: {_told(answer.partition(chr(10))[2])}.",
                    "Nothing more was done here; that run, or the next one, finishes what was begun.",
                )
            self._until = time.monotonic() + seconds

    def release(self) -> None:
        """Give it back."""
        remote.must(self.host, self._command("release", "give the lease on the fleet back"))
        self._until = 0.0

    def _ask(self, action: Literal["look", "take"], instead_of: str = "") -> tuple[str, str, str, str]:
        """`held`, `after` or `free`; for how many seconds still, or since when; who says what of itself; its token."""
        purpose = {"look": "look who holds the fleet", "take": "take the lease on the fleet"}[action]
        answer = remote.must(self.host, self._command(action, purpose, instead_of))
        first, _, says = answer.partition("\n")
        try:
            state, seconds, owner = first.split()
        except ValueError:
            raise Unreadable(f"{self.host.name}: nobody can tell whether another run holds the fleet.") from None
        return state, seconds, says.strip(), owner

    def _command(self, action: str, purpose: str, instead_of: str = "", seconds: int = SECONDS) -> shell.Command:
        holder = {
            "who": getpass.getuser(),
            "machine": socket.gethostname(),
            "boot": _boot(),
            "processes": _processes(),
            "pid": os.getpid(),
            "started": _started(os.getpid()),
            "why": self.why,
            "since": self._since,
        }
        return shell.script(
            "lease",
            purpose,
            15,
            action=action,
            token=self.token,
            holder=json.dumps(holder),
            seconds=seconds,
            instead_of=instead_of,
        )


def _held(says: str, seconds: str) -> PoolwardError:
    return PoolwardError(
        f"Another run holds the fleet: {_told(says)}.",
        f"Wait for its end. If it died on another machine, its lease expires by itself in {seconds} s.",
    )


def _is_gone(says: str) -> bool:
    """Whether the holder ran on this machine, in this boot, and its process has ended."""
    try:
        holder = json.loads(says)
        pid, started = int(holder["pid"]), str(holder["started"])
    except (ValueError, KeyError, TypeError):
        return False
    here = (socket.gethostname(), _boot(), _processes())
    if (holder.get("machine"), holder.get("boot"), holder.get("processes")) != here or not here[1]:
        return False
    if now := _started(pid):
        return now != started
    return _has_ended(pid)


def _has_ended(pid: int) -> bool:
    """Whether a process is surely no more; /proc may show only one's own (hidepid), and a zombie has ended."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return Path(f"/proc/{pid}/stat").exists()


def _processes() -> str:
    """Among whose processes a pid means one: containers under one host name each have their own."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _boot() -> str:
    return _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else ""


def _started(pid: int) -> str:
    """When a process started, in ticks since the boot; empty when it has ended or this system does not tell."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()
    ended = fields[0] in ("Z", "X")  # killed, and its parent has not asked yet how it ended
    return "" if ended else fields[19]


def _told(says: str) -> str:
    try:
        holder = json.loads(says)
        since = time.strftime("%H:%M:%S", time.localtime(float(holder["since"])))
        return f"{holder['who']} on {holder['machine']} (pid {holder['pid']}), since {since}, to {holder['why']}"
    except (ValueError, KeyError, TypeError):
        return "somebody who did not say who"
