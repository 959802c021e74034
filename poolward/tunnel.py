"""A connection along a service's own path: from its host, over the SSH connection that is there anyway."""

from __future__ import annotations

import contextlib
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import gevent
from paramiko import Channel, SSHException
from pyinfra.api import Host

from poolward import remote, shell
from poolward.errors import CommandFailed
from poolward.shell import Command

_CHUNK = 65536
_OPEN_SECONDS = 10
_SECONDS = 60
"""How long a connection to a socket may last."""


@contextlib.contextmanager
def through(host: Host, address: str, port: int) -> Iterator[int]:
    """A port on this machine's loopback that leads to `address`:`port` as seen from the host, for one connection.

    Raises CommandFailed where the host is not reached by SSH, or its sshd forwards nothing.
    """
    remote.connect(host)
    transport = remote.ssh(host)
    try:
        channel = transport.open_channel("direct-tcpip", (address, port), ("127.0.0.1", 0), timeout=_OPEN_SECONDS)
    except (SSHException, OSError, EOFError) as error:
        raise CommandFailed(
            f"{host.name} cannot open a connection to {address}:{port}: {error or type(error).__name__}.",
            "Is the pooler reachable from there (firewall, listen_addr)? sshd must allow it (AllowTcpForwarding).",
        ) from error
    with _serving(socket.create_server(("127.0.0.1", 0), backlog=1), channel) as server:
        yield server.getsockname()[1]


@contextlib.contextmanager
def out_of(host: Host, container: str, address: str, port: int) -> Iterator[int]:
    """The same, as seen from within a container of the host (an id): through its own network, by its own names."""
    command = shell.script(
        "lead_out_of_container",
        "open a connection",
        _SECONDS,
        parts=["relay", "container_names"],
        container=container,
        address=address,
        address_port=port,
    )
    asked = "Is the pooler on the container's network, or published where that leads?"
    with _serving(socket.create_server(("127.0.0.1", 0), backlog=1), _led(host, command, asked)) as server:
        yield server.getsockname()[1]


@contextlib.contextmanager
def through_socket(host: Host, directory: str, port: int, unit: str) -> Iterator[str]:
    """A directory on this machine whose socket leads to the host's in `directory`, for one connection.

    It is opened there by the user `unit` runs as. paramiko has no channel to a Unix socket, and sshd's would be the
    operator's own. The near end is a socket, too: libpq does the same as on the host, and only this user reaches it,
    which matters where the pooler believes in the user alone (peer). Raises CommandFailed where it cannot be opened.
    """
    name = f".s.PGSQL.{port}"
    path = f"{directory}/{name}"
    command = shell.script("lead_to_socket", "open a connection", _SECONDS, parts=["relay"], unit=unit, path=path)
    channel = _led(host, command, "Does the pooler run there, and does unix_socket_dir let the service's user in?")
    with tempfile.TemporaryDirectory(prefix="poolward-") as near:
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(Path(near) / name))
        listening.listen(1)
        with _serving(listening, channel):
            yield near


def _led(host: Host, command: Command, asked: str) -> Channel:
    """A channel to what a script of the host leads to, connected; raises CommandFailed, with `asked` for a hint."""
    channel = remote.start(host, command)
    channel.settimeout(_OPEN_SECONDS)
    try:
        connected = channel.recv(1)
        why = "" if connected else remote.last_lines(channel.makefile_stderr().read().decode(errors="replace"), 1)
    except (OSError, EOFError) as error:
        connected, why = b"", f"no answer ({type(error).__name__})"
    if not connected:
        channel.close()
        raise CommandFailed(f"{host.name} cannot open a connection along the service's path: {why}", asked)
    channel.settimeout(None)
    return channel


@contextlib.contextmanager
def _serving(server: socket.socket, channel: Channel) -> Iterator[socket.socket]:
    pump = gevent.spawn(_serve, server, channel)
    try:
        yield server
    finally:
        pump.kill()
        server.close()
        channel.close()


def _serve(server: socket.socket, channel: Channel) -> None:
    client, _ = server.accept()
    with client:
        outward = gevent.spawn(_copy_out, client, channel)
        try:
            while chunk := channel.recv(_CHUNK):
                client.sendall(chunk)
        except OSError:
            pass
        finally:
            outward.kill()


def _copy_out(client: socket.socket, channel: Channel) -> None:
    try:
        while chunk := client.recv(_CHUNK):
            channel.sendall(chunk)
    except OSError:
        pass
    channel.close()
