"""Verifiers against PostgreSQL's own: made by a PostgreSQL 15, by the RFC's authors and by libpq."""

import base64
import hashlib
import hmac

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg import pq

from poolward.errors import PoolwardError
from poolward.scram import matches, verifier

# seen: `CREATE ROLE … PASSWORD …` on PostgreSQL 15.18, then pg_authid.rolpassword
FROM_POSTGRESQL = [
    (
        "correct horse",
        "SCRAM-SHA-256$4096:mksfW68A2HeLY56jCfR0JQ==$"
        "rviHcthFarGMT6rVT53LhixY3w7i2UWAf7gkMFyqBbU=:"
        "Pyo/8rm4jaMz5WaIAkt1MYyQ4lLBSef+eWW/8xjvOwQ=",
    ),
    (
        'it\'s "quoted" \\ and ; #',
        "SCRAM-SHA-256$4096:ayIPQ2Mb4AMsbslD9lT+wA==$"
        "i3sATc7KCyRGZGUNkTC9NyyafwtIxEdb9l91FTFvK3c=:"
        "g6fZJ0vEOt8GvrMtKDdF1yWRyQZ1Plns3UIOunxdRNg=",
    ),
    (
        "p\u00e4ssw\u00f6rd \u2168",
        "SCRAM-SHA-256$4096:HNe+sPBWf3a1iU1V7vLDdA==$"
        "jOBPD05VFhUyeAK8jqLtICY5G06f7SJwxkb9eoEOzco=:"
        "RVbN9tpfnufoMED80B/27SvaxWH1qIyPDDG41WibiYA=",
    ),
    (
        "zero\u200bwidth\u00a0soft\u00adhyphen",
        "SCRAM-SHA-256$4096:lv+TZg6O4Wq+N4x98TQKSA==$"
        "yTIOciPjA4YTbernSbCMVAeEVRZisd9TFo9IohOXL9Q=:"
        "vHgdOc6Zpc/SX2WBSYhrrbUPHjVzDnNZAq8Z4AZ5Rm8=",
    ),
    (
        "\u0627x mixed",
        "SCRAM-SHA-256$4096:WurQQAOkY/DUSDxHpVF6Lg==$"
        "Qh5z3fDK46DoPKgwYPZaOkL8GEIB8JPiQASa5KS/9EY=:"
        "JEQaIN2wPOxlIkRX7dU+d4kl43Sf0K4g/O0GOSV+VUU=",
    ),
    (
        "un\u0221assigned",
        "SCRAM-SHA-256$4096:AW8IlxTUWgFWWJK7536K2w==$"
        "LIgKO/NL9qCCL1MHEbf0edmk/egTafqNjEyitQWB9NQ=:"
        "KiavN15l1L4UPgr8CWiRqBueJd49Oisma+mRGMwM4+s=",
    ),
    (
        "\u00ad",
        "SCRAM-SHA-256$4096:o96cdg1ZHaN+gE31pdOsgw==$"
        "hYFWD+EayNqC8BxqYkl+xIiIloTLWCtu3p2iT/55tnk=:"
        "HjeSUO9MXc39iqPaJ3FE3SuaAE6cav9ET3EZn5DXtyc=",
    ),
]


@pytest.mark.parametrize(("password", "known"), FROM_POSTGRESQL)
def test_postgresql_made_this_verifier_from_this_password(password: str, known: str) -> None:
    iterations, salt = known.split("$")[1].split(":")
    assert verifier(password, int(iterations), base64.b64decode(salt)) == known
    assert matches(known, password)
    assert not matches(known, password + "x")


def test_rfc_7677_example() -> None:
    """RFC 7677 section 3: user "user", password "pencil"; its server signature proves the ServerKey."""
    known = verifier("pencil", 4096, base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ=="))
    nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    message = f"n=user,r=rOprNGfwEbeRWgbNEkqO,r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r={nonce}"
    server_key = base64.b64decode(known.rsplit(":", 1)[1])
    signature = hmac.digest(server_key, message.encode(), hashlib.sha256)
    assert base64.b64encode(signature) == b"6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


# characters on which SASLprep, PostgreSQL and the eye disagree, mixed with any others
AWKWARD = "\u00a0\u200b\u00ad\u2060\ufeff\u3000\u05d0\u0627\u0661\u0221\ue000\ufffd\u00aa\u2168\u0340\u0085\x7f\x01Aa1 "
CHARACTERS = st.sampled_from(AWKWARD) | st.characters(exclude_characters="\0", exclude_categories=["Cs"])


@settings(max_examples=150, deadline=None)
@given(st.text(CHARACTERS, min_size=1, max_size=8))
def test_libpq_agrees_about_any_password(password: str) -> None:
    # never connects: libpq only wants a connection object that carries the default number of iterations
    connection = pq.PGconn.connect_start(b"host=/nonexistent")
    theirs = connection.encrypt_password(password.encode(), b"role", b"scram-sha-256").decode()
    assert matches(theirs, password)


def test_a_fresh_salt_each_time() -> None:
    first, second = verifier("secret"), verifier("secret")
    assert first != second
    assert matches(first, "secret")
    assert matches(second, "secret")


@pytest.mark.parametrize(
    "no_verifier",
    [
        "",
        "secret",
        "md5d8578edf8458ce06fbc5bb76a58c5ca4",
        "SCRAM-SHA-256$0:AAAA$AAAA:AAAA",
        "SCRAM-SHA-256$4096:AAAA$AAAA:AAAA",
        "SCRAM-SHA-256$4096:ä$ö:ü",
        FROM_POSTGRESQL[0][1] + "\n",
        FROM_POSTGRESQL[0][1][:-4],
    ],
)
def test_what_is_no_verifier_matches_nothing(no_verifier: str) -> None:
    assert not matches(no_verifier, "correct horse")


@pytest.mark.parametrize("password", ["", "hush\0hush", "hush\ud800"])
def test_a_password_postgresql_refuses_is_refused_without_being_shown(password: str) -> None:
    with pytest.raises(PoolwardError) as refused:
        verifier(password)
    assert "hush" not in str(refused.value)
