"""Running one command on one host: the only place that talks to pyinfra's connector directly.

Facts print what they read under `-vvv`; a command run from here never does, so this is how secrets travel: in by
standard input, out by standard output, neither printed nor kept in a command line.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

from gevent.lock import RLock
from paramiko import Channel, SSHException, Transport
from pyinfra.api import Host, StringCommand
from pyinfra.api.arguments import CONNECTOR_ARGUMENT_KEYS, pop_global_arguments
from pyinfra.api.exceptions import ConnectError
from pyinfra.connectors.util import make_unix_command_for_host

from poolward import shell
from poolward.errors import CommandFailed, Unreachable
from poolward.shell import Command

_SUDO_REFUSES = ("sudo: a password is required", "sudo: no password was provided", "incorrect password attempt")

# Of pyinfra's arguments for a command those that say how it is waited for, not how it is run.
_NOT_SUDOS = ("_get_pty", "_timeout", "_stdin", "_success_exit_codes")
_OPEN_SECONDS = 10
_KEEPALIVE, _SILENT = 5, 20
"""Seconds between two signs of life on an SSH connection, and after how many without an answer it counts as broken."""
_locks: WeakKeyDictionary[Host, RLock] = WeakKeyDictionary()
_given_up: WeakSet[Host] = WeakSet()


@dataclass(frozen=True)
class Output:
    """What a command printed; `repr` hides standard output, because that is where secrets come back."""

    stdout: str
    stderr: str
    succeeded: bool

    def __repr__(self) -> str:
        return f"Output(succeeded={self.succeeded}, stderr={self.stderr!r})"


def run(host: Host, command: Command, *, stdin: str | None = None) -> Output:
    """Run a command as the host's own data says (`_sudo`, `_sudo_password`, …) and return what it printed.

    Connects first where `--limit` left the host out, or where the connection broke. Raises Unreachable when the
    connection fails or breaks, or when the command outlives its own bound, CommandFailed when sudo refuses. A command
    that merely exits non-zero is returned.
    """
    connect(host)
    used = transport(host)
    connector_arguments = _connector_arguments(host)
    # The bound lives in the command itself; this one is for a connection that hangs with it.
    connector_arguments["_timeout"] = command.timeout + shell.KILL_AFTER + 15
    try:
        succeeded, output = host.run_shell_command(
            StringCommand(command.text),
            print_output=False,
            print_input=host.state.print_input,
            **(connector_arguments | {"_stdin": stdin}),
        )
    except (TimeoutError, OSError, SSHException, EOFError) as error:
        with _lock(host):
            if transport(host) is used:
                _hang_up(host)
        raise _broken(host, command, type(error).__name__) from error
    if not succeeded and _is_gone(host):
        raise _broken(host, command, "closed by the other side")
    if not succeeded and any(reason in output.stderr for reason in _SUDO_REFUSES):
        raise CommandFailed(f"{host.name}: sudo refuses the password.", "Give the host's own in its `_sudo_password`.")
    return Output(output.stdout, output.stderr, succeeded)


def start(host: Host, command: Command) -> Channel:
    """Start a command and return the SSH channel to it, with its standard input and output open; run as `run` does.

    Raises Unreachable, and CommandFailed where the host is not reached by SSH.
    """
    connect(host)
    arguments = _connector_arguments(host)
    for own in _NOT_SUDOS:
        arguments.pop(own, None)
    line = make_unix_command_for_host(host.state, host, StringCommand(command.text), **arguments)
    try:
        channel = ssh(host).open_session(timeout=_OPEN_SECONDS)
        channel.exec_command(line.get_raw_value())
    except (SSHException, OSError, EOFError) as error:
        raise _broken(host, command, type(error).__name__) from error
    return channel


def _connector_arguments(host: Host) -> dict[str, Any]:
    """What the host's own data says of how a command is run on it."""
    arguments, _ = pop_global_arguments(host.state, host, {})
    return {key: value for key, value in arguments.items() if key in CONNECTOR_ARGUMENT_KEYS}


def _broken(host: Host, command: Command, how: str) -> Unreachable:
    return Unreachable(
        f"{host.name}: the connection broke while it was asked to {command.purpose} ({how}).",
        "Nothing is known of how it ended there. Check that the host is reachable, then run again.",
    )


def _is_gone(host: Host) -> bool:
    """Whether an SSH connection has ended: pyinfra reports a command that was cut off by that as one that failed."""
    if getattr(host.connector, "client", None) is None:
        return False
    found = transport(host)
    return found is None or not found.is_active()


def transport(host: Host) -> Transport | None:
    """The SSH connection to a host; None where there is none."""
    client = getattr(host.connector, "client", None)
    return client.get_transport() if client is not None else None


def ssh(host: Host) -> Transport:
    """The same; raises CommandFailed where there is none."""
    found = transport(host)
    if found is None:
        raise CommandFailed(
            f"{host.name} is not reached by SSH, so nothing can be tried along its services' own path.",
            "Give it an ssh_hostname in the inventory.",
        )
    return found


def _hang_up(host: Host) -> None:
    """Give a connection up, so that the next command makes a new one.

    A command that still waits in this machine's buffers must not reach the host later, when the network is back and
    what it was to do has been taken back: they are thrown away.
    """
    if found := transport(host):
        if isinstance(found.sock, socket.socket):
            with contextlib.suppress(OSError):  # it is closed already
                found.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        found.close()
    host.disconnect()


def must(host: Host, command: Command, *, stdin: str | None = None) -> str:
    """Run a command that has to succeed and return its standard output; raises CommandFailed with what it said."""
    output = run(host, command, stdin=stdin)
    if not output.succeeded:
        raise CommandFailed(f"{host.name}: could not {command.purpose}: {last_lines(output.stderr)}")
    return output.stdout


def connect(host: Host) -> None:
    """Connect to a host that is not connected, or no more; raises Unreachable when it cannot be reached."""
    if host in _given_up:
        raise Unreachable(f"{host.name} could not be reached, and was given up for this run.")
    with _lock(host):
        if host.connected and _is_gone(host):
            _hang_up(host)
        if not host.connected:
            try:
                host.connect(reason="its state is needed", show_errors=False, raise_exceptions=True)
            except ConnectError as error:
                hint = "Check its address and your ssh key."
                raise Unreachable(f"{host.name} cannot be reached: {error}", hint) from error
            # Only activated hosts are disconnected at the end of a run, and with that its sudo helper removed.
            host.state.activated_hosts.add(host)
        _notice_silence(host)


def give_up(host: Host) -> None:
    """Ask this host nothing more in this run: to wait for one that is not needed would hold up every look."""
    _given_up.add(host)


def _lock(host: Host) -> RLock:
    """A host that plays two parts is asked by two at once, and one of them makes its connection anew."""
    return _locks.setdefault(host, RLock())


def _notice_silence(host: Host) -> None:
    """Have the connection break soon where the other side is silent: by itself TCP waits for a quarter of an hour."""
    if (found := transport(host)) and isinstance(found.sock, socket.socket):
        found.set_keepalive(_KEEPALIVE)
        if not hasattr(socket, "TCP_USER_TIMEOUT"):
            return
        with contextlib.suppress(OSError):  # the command that follows finds it closed
            found.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _SILENT * 1000)


def last_lines(text: str, count: int = 6) -> str:
    """The end of an error output, in which the reason usually stands."""
    lines = [line for line in text.splitlines() if line.strip()]
    return "\n    ".join(lines[-count:]) or "it said nothing on standard error"
