"""Running one command on one host: the only place that talks to pyinfra's connector directly.

Facts print what they read under `-vvv`; a command run from here never does, so this is how secrets travel: in by
standard input, out by standard output, neither printed nor kept in a command line.
"""

from __future__ import annotations

from dataclasses import dataclass

from paramiko import SSHException
from pyinfra.api import Host, StringCommand
from pyinfra.api.arguments import CONNECTOR_ARGUMENT_KEYS, pop_global_arguments
from pyinfra.api.exceptions import ConnectError

from poolward import shell
from poolward.errors import CommandFailed
from poolward.shell import Command

_SUDO_REFUSES = ("sudo: a password is required", "sudo: no password was provided", "incorrect password attempt")


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

    Connects first where `--limit` left the host out. Raises CommandFailed when the connection fails or breaks, when
    sudo refuses, or when the command outlives its own bound. A command that merely exits non-zero is returned.
    """
    connect(host)
    arguments, _ = pop_global_arguments(host.state, host, {})
    connector_arguments = {key: value for key, value in arguments.items() if key in CONNECTOR_ARGUMENT_KEYS}
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
        raise _broken(host, command, type(error).__name__) from error
    if not succeeded and _is_gone(host):
        raise _broken(host, command, "closed by the other side")
    if not succeeded and any(reason in output.stderr for reason in _SUDO_REFUSES):
        raise CommandFailed(f"{host.name}: sudo refuses the password.", "Give the host's own in its `_sudo_password`.")
    return Output(output.stdout, output.stderr, succeeded)


def _broken(host: Host, command: Command, how: str) -> CommandFailed:
    return CommandFailed(
        f"{host.name}: the connection broke while it was asked to {command.purpose} ({how}).",
        "Nothing is known of how it ended there. Check that the host is reachable, then run again.",
    )


def _is_gone(host: Host) -> bool:
    """Whether an SSH connection has ended: pyinfra reports a command that was cut off by that as one that failed."""
    client = getattr(host.connector, "client", None)
    if client is None:
        return False
    transport = client.get_transport()
    return transport is None or not transport.is_active()


def must(host: Host, command: Command, *, stdin: str | None = None) -> str:
    """Run a command that has to succeed and return its standard output; raises CommandFailed with what it said."""
    output = run(host, command, stdin=stdin)
    if not output.succeeded:
        raise CommandFailed(f"{host.name}: could not {command.purpose}: {last_lines(output.stderr)}")
    return output.stdout


def connect(host: Host) -> None:
    """Connect to a host that is not connected yet; raises CommandFailed when it cannot be reached."""
    if host.connected:
        return
    try:
        host.connect(reason="its state is needed", show_errors=False, raise_exceptions=True)
        # Only activated hosts are disconnected at the end of a run, and with that its sudo helper removed.
        host.state.activated_hosts.add(host)
    except ConnectError as error:
        raise CommandFailed(f"{host.name} cannot be reached: {error}", "Check its address and your ssh key.") from error


def last_lines(text: str, count: int = 6) -> str:
    """The end of an error output, in which the reason usually stands."""
    lines = [line for line in text.splitlines() if line.strip()]
    return "\n    ".join(lines[-count:]) or "it said nothing on standard error"
