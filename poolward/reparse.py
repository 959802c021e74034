"""PgBouncer's two files read as PgBouncer reads them, to prove before installing that they say what was meant.

Written from PgBouncer's own parsers (cfparser.c, loader.c of 1.18 … 1.25), not as the inverse of `render`. Stricter in
three places where PgBouncer goes on and loses something: a second [pgbouncer] header, %include, a name given twice.
Errors give a line number and never a line, which may hold a secret.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from poolward.errors import PoolwardError

_BLANKS = " \t\v\f\r"  # C's isspace without the line break, which ends the value
_ASSIGNMENT = re.compile(r"([A-Za-z0-9_.*-]+)[ \t]*=[ \t]*(.*)", re.DOTALL)
# a quoted value swallows the character behind it; the possessive ++ keeps an unclosed quote unclosed
_PAIR = re.compile(r"([^= ]+) *= *(?:'((?:[^']|'')++)'.?|([^' ][^ ]*)) *", re.DOTALL)
_USER = re.compile(r'"((?:[^"]|"")*+)"[^"]*"((?:[^"]|"")*+)"')


@dataclass(frozen=True)
class Ini:
    """A pgbouncer.ini taken apart, every value as text: the entries of three sections, and the settings."""

    databases: dict[str, dict[str, str]] = field(default_factory=dict)
    users: dict[str, dict[str, str]] = field(default_factory=dict)
    peers: dict[str, dict[str, str]] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)


def parse_ini(text: str) -> Ini:
    """What PgBouncer reads in this pgbouncer.ini; PoolwardError with the line where it stops or loses something."""
    ini = Ini()
    entries = {"databases": ini.databases, "users": ini.users, "peers": ini.peers}
    section, seen = "", set()
    for number, line in enumerate(text.split("\n"), 1):
        line = line.strip(_BLANKS)
        while line.startswith("["):
            section, closed, line = line[1:].partition("]")
            line = line.strip(_BLANKS)
            if not closed or section not in (*entries, "pgbouncer") or section in seen:
                raise _bad_line(number, "a section that is unknown, unclosed or there twice")
            seen.add(section)
        if not line or line.startswith((";", "#")):
            continue
        found = _ASSIGNMENT.fullmatch(line)
        if not found or not section or "\0" in line:
            raise _bad_line(number, "no setting and no comment")
        name, value = found.groups()
        if name in (ini.settings if section == "pgbouncer" else entries[section]):
            raise _bad_line(number, "a name given twice")
        if section == "pgbouncer":
            ini.settings[name] = value
        else:
            entries[section][name] = parse_pairs(value, number)
    if section != "pgbouncer":
        raise PoolwardError("This pgbouncer.ini does not end in its [pgbouncer] section.")
    return ini


def parse_pairs(text: str, number: int) -> dict[str, str]:
    """The keys of an entry's connection string; PoolwardError with the number of its line."""
    pairs: dict[str, str] = {}
    position = len(text) - len(text.lstrip(" "))
    while position < len(text):
        found = _PAIR.match(text, position)
        if not found:
            raise _bad_line(number, "no connection string")
        name, quoted, plain = found.groups()
        if name in pairs:
            raise _bad_line(number, "a key given twice in a connection string")
        pairs[name] = quoted.replace("''", "'") if quoted else plain
        position = found.end()
    return pairs


def parse_userlist(text: str) -> dict[str, str]:
    """The secret of every name PgBouncer reads in this userlist.txt; PoolwardError where it would stop reading."""
    secrets: dict[str, str] = {}
    rest = text.lstrip(_BLANKS + "\n")
    while rest:
        if not rest.startswith(";"):
            found = _USER.match(rest)
            if not found:
                raise PoolwardError(f"userlist.txt is broken behind its first {len(secrets)} entries.")
            name, secret = (part.replace('""', '"') for part in found.groups())
            if name in secrets:
                raise PoolwardError(f"userlist.txt holds {name} twice.")
            secrets[name] = secret
            rest = rest[found.end() :]
        rest = rest.partition("\n")[2].lstrip(_BLANKS + "\n")
    return secrets


def _bad_line(number: int, what: str) -> PoolwardError:
    return PoolwardError(f"Line {number} of this pgbouncer.ini is wrong: {what}.")
