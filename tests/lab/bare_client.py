"""A client with no libpq in between, which refuses to offer some passwords at all: SCRAM-SHA-256 as RFC 5802 has it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import socket
import struct

_SASL, _SASL_CONTINUE = 10, 11


def admitted(address: str, role: str, database: str, password: str, port: int = 6432) -> bool:
    """Whether the server lets this role in with this password, up to its first ReadyForQuery."""
    with socket.create_connection((address, port), timeout=10) as connection:
        startup = b"".join(part.encode() + b"\0" for part in ("user", role, "database", database, ""))
        connection.sendall(struct.pack("!ii", len(startup) + 8, 3 << 16) + startup)
        first = f"n=,r={secrets.token_hex(12)}"
        while True:
            kind, body = _message(connection)
            if kind in (b"E", b""):
                return False
            if kind == b"Z":
                return True
            if kind == b"R" and struct.unpack("!i", body[:4])[0] == _SASL:
                offer = f"n,,{first}".encode()
                _send(connection, b"SCRAM-SHA-256\0" + struct.pack("!i", len(offer)) + offer)
            elif kind == b"R" and struct.unpack("!i", body[:4])[0] == _SASL_CONTINUE:
                _send(connection, _proof(first, body[4:].decode(), password))


def _proof(first: str, challenge: str, password: str) -> bytes:
    given = dict(part.split("=", 1) for part in challenge.split(","))
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(given["s"]), int(given["i"]))
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    final = f"c=biws,r={given['r']}"
    signature = hmac.digest(hashlib.sha256(client_key).digest(), f"{first},{challenge},{final}".encode(), "sha256")
    proof = bytes(left ^ right for left, right in zip(client_key, signature, strict=True))
    return f"{final},p={base64.b64encode(proof).decode()}".encode()


def _message(connection: socket.socket) -> tuple[bytes, bytes]:
    header = _exactly(connection, 5)
    if len(header) < 5:
        return b"", b""
    return header[:1], _exactly(connection, struct.unpack("!i", header[1:])[0] - 4)


def _exactly(connection: socket.socket, count: int) -> bytes:
    read = b""
    while len(read) < count and (more := connection.recv(count - len(read))):
        read += more
    return read


def _send(connection: socket.socket, body: bytes) -> None:
    connection.sendall(b"p" + struct.pack("!i", len(body) + 4) + body)
