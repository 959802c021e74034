"""Known vulnerabilities of a PgBouncer package: `vulnerabilities.csv` read once, and the sentence to print.

Source of fact: PgBouncer's changelog and Debian's, as of 1.26.1 (October 2026). What came later is not in it.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from poolward.settings import Version


@dataclass(frozen=True)
class Vulnerability:
    """One row of the table; `fixed_in_debian` are Debian's own versions with the fix brought back.

    `since` is 1.18.0, the oldest version Poolward takes, where no first affected version is known: rather one warning
    too many.
    """

    cve: str
    since: Version
    fixed: Version
    fixed_in_debian: tuple[str, ...]
    what: str

    def affects(self, package: str) -> bool:
        """Whether a Debian package of this version, like "1.24.1-1+deb13u2", is vulnerable."""
        version = Version.parse(package)
        if not self.since <= version < self.fixed:
            return False
        return not any(_is_at_least(package, fixed) for fixed in self.fixed_in_debian)


@cache
def table() -> tuple[Vulnerability, ...]:
    """Every known vulnerability."""
    with Path(__file__).with_name("vulnerabilities.csv").open(encoding="utf-8", newline="") as file:
        return tuple(
            Vulnerability(
                row["cve"],
                Version.parse(row["since"]),
                Version.parse(row["fixed"]),
                tuple(row["fixed_in_debian"].split()),
                row["what"],
            )
            for row in csv.DictReader(file)
        )


def of(package: str) -> list[Vulnerability]:
    """The vulnerabilities of an installed package."""
    return [found for found in table() if found.affects(package)]


def sentence(package: str) -> str:
    """What to tell the operator, empty where nothing is known."""
    found = of(package)
    if not found:
        return ""
    names = ", ".join(vulnerability.cve for vulnerability in found)
    return f"PgBouncer {package} is known to be vulnerable: {names}; {max(v.fixed for v in found)} has all fixes."


_DEBIAN = re.compile(r"(?P<upstream>[\d.]+)-(?P<revision>\d+)(?:\+deb(?P<release>\d+)u(?P<update>\d+))?")


def _is_at_least(package: str, fixed: str) -> bool:
    """Whether a package is a later stable update of the same upstream version in the same Debian release."""
    ours, theirs = _DEBIAN.fullmatch(package), _DEBIAN.fullmatch(fixed)
    if not ours or not theirs or ours["upstream"] != theirs["upstream"] or ours["release"] != theirs["release"]:
        return False
    return (int(ours["revision"]), int(ours["update"] or 0)) >= (int(theirs["revision"]), int(theirs["update"] or 0))
