"""Which packages are known to be vulnerable, by Debian's own changelogs."""

from __future__ import annotations

import pytest

from poolward import vulnerabilities


@pytest.mark.parametrize(
    ("package", "vulnerable", "fixed"),
    [
        ("1.18.0-1", {"CVE-2025-2291", "CVE-2026-6664", "CVE-2026-107350"}, set()),
        ("1.18.0-1+deb12u1", {"CVE-2026-6664", "CVE-2026-107350"}, {"CVE-2025-2291", "CVE-2025-12819"}),
        ("1.24.1-1+deb13u1", {"CVE-2026-6667", "CVE-2026-19888"}, {"CVE-2025-2291", "CVE-2025-12819"}),
        ("1.24.1-1+deb13u2", {"CVE-2026-19888", "CVE-2026-107349"}, {"CVE-2026-6664", "CVE-2026-6667"}),
        ("1.24.1-1+deb13u10", {"CVE-2026-19888"}, {"CVE-2026-6664"}),
        ("1.26.0-1", {"CVE-2026-107350"}, {"CVE-2026-19888"}),
    ],
)
def test_known_vulnerabilities(package: str, vulnerable: set[str], fixed: set[str]) -> None:
    names = {found.cve for found in vulnerabilities.of(package)}
    assert vulnerable <= names
    assert not fixed & names


def test_the_sentence_names_the_version_with_all_fixes() -> None:
    assert vulnerabilities.sentence("1.24.1-1+deb13u2").endswith("1.26.1 has all fixes.")
    assert vulnerabilities.sentence("1.26.1-1") == ""
