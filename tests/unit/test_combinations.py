"""Settings that fail together: the sentence for each, and none for what works."""

from __future__ import annotations

import pytest

from poolward.combinations import problems
from poolward.settings import Value

KEY, CERT, CA = "/etc/pgbouncer/server.key", "/etc/pgbouncer/server.crt", "/etc/ssl/ca.crt"


@pytest.mark.parametrize(
    ("settings", "sentences"),
    [
        ({"client_tls_sslmode": "require"}, ["needs client_tls_key_file", "needs client_tls_cert_file"]),
        ({"client_tls_sslmode": "require", "client_tls_key_file": KEY}, ["needs client_tls_cert_file"]),
        (
            {"client_tls_sslmode": "verify-full", "client_tls_key_file": KEY, "client_tls_cert_file": CERT},
            ["without client_tls_ca_file"],
        ),
        ({"auth_type": "cert"}, ["without client_tls_ca_file", "without the keys"]),
        ({"server_tls_sslmode": "verify-full"}, ["needs server_tls_ca_file"]),
        ({"server_tls_key_file": KEY}, ["no use without server_tls_cert_file"]),
        ({"auth_type": "hba"}, ["needs auth_hba_file"]),
        ({"auth_type": "trust"}, ["without a password"]),
        ({"auth_type": "any"}, ["without a password"]),
        *(({"auth_type": kind}, ["without the keys"]) for kind in ("plain", "md5", "pam", "ldap")),
    ],
)
def test_what_fails_together_is_said(settings: dict[str, Value], sentences: list[str]) -> None:
    found = problems(settings, "pool1")
    assert len(found) == len(sentences)
    for problem, sentence in zip(found, sentences, strict=True):
        assert sentence in problem.message
        assert problem.hint


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"auth_type": "scram-sha-256", "server_tls_sslmode": "prefer"},
        {"client_tls_sslmode": "require", "client_tls_key_file": KEY, "client_tls_cert_file": CERT},
        {"server_tls_sslmode": "verify-full", "server_tls_ca_file": CA},
        {"auth_type": "hba", "auth_hba_file": "/etc/pgbouncer/pg_hba.conf"},
    ],
)
def test_what_works_together_is_not_refused(settings: dict[str, Value]) -> None:
    assert problems(settings, "pool1") == []
