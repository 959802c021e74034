"""SCRAM-SHA-256 verifiers exactly as PostgreSQL makes them, so that PgBouncer's copy and the server's are equal."""

from __future__ import annotations

import hmac
import re
import secrets
import stringprep
import unicodedata
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from hashlib import pbkdf2_hmac, sha256

from poolward.errors import PoolwardError

_VERIFIER = re.compile(r"SCRAM-SHA-256\$([1-9][0-9]{0,8}):([\w+/=]+)\$([\w+/=]+):([\w+/=]+)", re.ASCII)
_KEY_BYTES = 32


def verifier(password: str, iterations: int = 4096, salt: bytes | None = None) -> str:
    """The verifier of `password` in PostgreSQL's format, `SCRAM-SHA-256$4096:salt$StoredKey:ServerKey`.

    `salt` is random (16 bytes) unless given. Raises PoolwardError, without the password, for one that PostgreSQL
    refuses: empty, or with a NUL character. Source of fact: RFC 5802, PostgreSQL's scram-common.c.
    """
    salt = secrets.token_bytes(16) if salt is None else salt
    stored, server = _keys(_prepared(password), iterations, salt)
    return f"SCRAM-SHA-256${iterations}:{_text(salt)}${_text(stored)}:{_text(server)}"


def matches(verifier: str, password: str) -> bool:
    """Whether `password` is the one behind `verifier`; False when either is none. Compares in constant time."""
    found = _VERIFIER.fullmatch(verifier)
    if not found:
        return False
    try:
        salt, stored, server = (b64decode(part, validate=True) for part in found.groups()[1:])
        prepared = _prepared(password)
    except (Base64Error, PoolwardError):
        return False
    if len(stored) != _KEY_BYTES or len(server) != _KEY_BYTES:
        return False
    expected = b"".join(_keys(prepared, int(found[1]), salt))
    return hmac.compare_digest(expected, stored + server)


def _keys(password: bytes, iterations: int, salt: bytes) -> tuple[bytes, bytes]:
    salted = pbkdf2_hmac("sha256", password, salt, iterations)
    client_key = hmac.digest(salted, b"Client Key", sha256)
    return sha256(client_key).digest(), hmac.digest(salted, b"Server Key", sha256)


def _prepared(password: str) -> bytes:
    if not password or "\0" in password:
        raise PoolwardError("The password is empty or contains a NUL character; PostgreSQL accepts neither.")
    try:
        return _saslprep(password).encode()
    except UnicodeEncodeError:
        raise PoolwardError("The password is no valid text.", "Give it as UTF-8.") from None


# Not scramp's saslprep: it follows the RFC, PostgreSQL's pg_saslprep does not quite. PostgreSQL takes ZERO WIDTH SPACE
# for a blank, looks for prohibited characters before it normalizes, normalizes by today's Unicode, and where the RFC
# fails it goes on with the password as typed. One different byte is a verifier that fits nowhere.
def _saslprep(password: str) -> str:
    if password.isascii():
        return password
    spaced = (" " if stringprep.in_table_c12(char) else char for char in password)
    mapped = "".join(char for char in spaced if not stringprep.in_table_b1(char))
    if not mapped or any(map(_is_prohibited, mapped)) or not _is_well_directed(mapped):
        return password
    return unicodedata.normalize("NFKC", mapped)


def _is_prohibited(char: str) -> bool:
    return (
        stringprep.in_table_a1(char)
        or stringprep.in_table_c12(char)
        or stringprep.in_table_c21_c22(char)
        or stringprep.in_table_c3(char)
        or stringprep.in_table_c4(char)
        or stringprep.in_table_c5(char)
        or stringprep.in_table_c6(char)
        or stringprep.in_table_c7(char)
        or stringprep.in_table_c8(char)
        or stringprep.in_table_c9(char)
    )


def _is_well_directed(text: str) -> bool:
    """Right-to-left text is unmixed with left-to-right and has its kind at both ends."""
    if not any(map(stringprep.in_table_d1, text)):
        return True
    ends_right_to_left = stringprep.in_table_d1(text[0]) and stringprep.in_table_d1(text[-1])
    return ends_right_to_left and not any(map(stringprep.in_table_d2, text))


def _text(data: bytes) -> str:
    return b64encode(data).decode()
