"""Lines of PgBouncer's pg_hba.conf that it would skip, each with its reason, and those it reads."""

from __future__ import annotations

import pytest

from poolward import client_hba
from poolward.settings import Version

OLD, NEW = Version(1, 18), Version(1, 26, 1)


@pytest.mark.parametrize(
    "line",
    [
        "host all all 10.0.0.0/8 scram-sha-256",
        "hostssl shop,crm web 192.0.2.0 255.255.255.0 scram-sha-256",
        "hostnossl all all 2001:db8::/32 reject",
        'local all "odd name" peer',
        "hostssl all all 0.0.0.0/0 cert",
        "# a comment",
    ],
)
@pytest.mark.parametrize("version", [OLD, NEW, None])
def test_lines_every_version_reads(line: str, version: Version | None) -> None:
    assert client_hba.problems([line, "local all all reject"], version, "hba") == []


@pytest.mark.parametrize(
    ("line", "version", "reason"),
    [
        ("hots all all 10.0.0.0/8 reject", NEW, "must begin with local, host"),
        ("host all all reject", NEW, "database, user, address and method"),
        ("host all +admins 10.0.0.0/8 reject", NEW, "no role membership"),
        ("host all all db.internal/32 reject", NEW, "is no address"),
        ("host all all samenet reject", NEW, "is no address"),
        ("host all all 10.0.0.0/8 rejekt", NEW, "rejekt is no method"),
        ("host all all 10.0.0.0/8 peer", NEW, "peer works on `local`"),
        ("host all all 10.0.0.0/8 cert", NEW, "cert works on `hostssl`"),
        ("host all all all reject", OLD, "from 1.23.0 on"),
        ("host all all 10.0.0.0/8 ldap", Version(1, 24, 1), "from 1.25.0 on"),
        ("local all all peer map=ops", OLD, "map= is understood from 1.23.0 on"),
        ("local all all peer clientcert=1", NEW, "no option PgBouncer knows"),
        ("", NEW, "must begin with"),
        ('host all "open 10.0.0.0/8 reject', NEW, "a quote is not closed"),
    ],
)
def test_lines_that_would_be_skipped(line: str, version: Version, reason: str) -> None:
    found = client_hba.problems([line, "local all all reject"], version, "hba")
    assert any(reason in problem.message for problem in found)


def test_no_rule_at_all_shuts_everybody_out() -> None:
    assert "nobody could log in" in client_hba.problems(["# nothing"], NEW, "hba")[0].message


def test_the_text_is_the_lines() -> None:
    assert client_hba.text(["a", "b"]).splitlines()[1:] == ["a", "b"]
