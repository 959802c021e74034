"""What the playbook compares with, in plain Python: filters run beside Ansible, not on the hosts."""

from __future__ import annotations

import csv
import hmac
from base64 import b64decode
from collections.abc import Callable, Iterable, Mapping
from hashlib import pbkdf2_hmac, sha256
from typing import Any


def csv_columns(text: str, columns: Iterable[str]) -> list[dict[str, str]]:
    """These columns, where they exist, of what `psql --csv` printed."""
    wanted = list(columns)
    return [{name: row[name] for name in wanted if name in row} for row in csv.DictReader(text.splitlines())]


def scram_match(secrets: Mapping[str, str], verifiers: Mapping[str, str | None]) -> bool:
    """Whether PostgreSQL's stored verifier of every role was made from its secret."""
    return all(_matches(verifiers.get(role) or "", secret) for role, secret in secrets.items())


def _matches(verifier: str, secret: str) -> bool:
    scheme, _, rest = verifier.partition("$")
    if scheme != "SCRAM-SHA-256":
        return False
    iterations, salt, stored, _ = rest.replace("$", ":").split(":")
    salted = pbkdf2_hmac("sha256", secret.encode(), b64decode(salt), int(iterations))
    return hmac.compare_digest(sha256(hmac.digest(salted, b"Client Key", "sha256")).digest(), b64decode(stored))


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"csv_columns": csv_columns, "scram_match": scram_match}
