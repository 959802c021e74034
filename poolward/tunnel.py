"""A TCP connection along a service's own path: from its host, over the SSH connection that is there anyway."""

from __future__ import annotations

import contextlib
import secrets
import socket
from collections.abc import Iterator

import gevent
from paramiko import Channel, SSHException, Transport
from pyinfra.api import Host

from poolward import remote, shell
from poolward.errors import CommandFailed

_CHUNK = 65536
_OPEN_SECONDS = 10


@contextlib.contextmanager
def through(host: Host, address: str, port: int) -> Iterator[int]:
    """A port on this machine's loopback that leads to `address`:`port` as seen from the host, for one connection.

    Raises CommandFailed where the host is not reached by SSH, or its sshd forwards nothing.
    """
    remote.connect(host)
    transport = _transport(host)
    try:
        channel = transport.open_channel("direct-tcpip", (address, port), ("127.0.0.1", 0), timeout=_OPEN_SECONDS)
    except (SSHException, OSError, EOFError) as error:
        raise CommandFailed(
            f"{host.name} cannot open a connection to {address}:{port}: {error or type(error).__name__}.",
            "Is the pooler reachable from there (firewall, listen_addr)? sshd must allow it (AllowTcpForwarding).",
        ) from error
    server = socket.create_server(("127.0.0.1", 0), backlog=1)
    pump = gevent.spawn(_serve, server, channel)
    try:
        yield server.getsockname()[1]
    finally:
        pump.kill()
        server.close()
        channel.close()


@contextlib.contextmanager
def out_of(host: Host, container: str, address: str, port: int) -> Iterator[int]:
    """The same, as seen from within a container of the host: through its own network, by its own names."""
    unit = f"poolward-path-{secrets.token_hex(4)}"
    opening = shell.script(
        "open_path",
        f"open a path to {address}:{port} from within the container",
        30,
        parts=["container_names"],
        container=container,
        address=address,
        address_port=port,
        unit=unit,
    )
    try:
        found = int(remote.must(host, opening))
        with through(host, "127.0.0.1", found) as here:
            yield here
    finally:
        remote.run(host, shell.script("close_path", "close the path out of the container", 15, unit=unit))


def _transport(host: Host) -> Transport:
    transport = remote.transport(host)
    if transport is None:
        raise CommandFailed(
            f"{host.name} is not reached by SSH, so nothing can be tried along its services' own path.",
            "Give it an ssh_hostname in the inventory.",
        )
    return transport


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
