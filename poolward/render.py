"""pgbouncer.ini and userlist.txt as text, each read back by PgBouncer's own rules before anyone may install it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from poolward import templates
from poolward.errors import PoolwardError, Problem, Refused
from poolward.reparse import Ini, parse_ini, parse_userlist
from poolward.settings import Value, Version, check, find, known, spelling, text, version_problem

__all__ = [
    "Configuration",
    "Entries",
    "Ini",
    "entry_name_problem",
    "parse_ini",
    "parse_userlist",
    "pgbouncer_ini",
    "pgpass",
    "problems",
    "rendered_equals_intent",
    "userlist_txt",
]

Entries = Mapping[str, Mapping[str, Value]]
"""The entries of [databases], [users] or [peers]: name, then key, then value."""


@dataclass(frozen=True)
class Configuration:
    """What one pgbouncer.ini shall say: plain data with PgBouncer's own names, as the inventory holds it."""

    databases: Entries
    settings: Mapping[str, Value]
    users: Entries = field(default_factory=dict)
    peers: Entries = field(default_factory=dict)


_ENTRY_NAME = re.compile(r"[A-Za-z0-9_.-]+")
_NEEDS_NO_QUOTES = re.compile(r"[A-Za-z0-9_./:,@+-]+")
# the buffers of PgBouncer 1.18: MAX_DBNAME, MAX_USERNAME and MAX_PASSWORD, each less its final NUL
_DATABASE_BYTES, _NAME_BYTES, _SECRET_BYTES = 63, 127, 2047


def entry_name_problem(name: str, section: str = "databases") -> str | None:
    """Why `name` cannot stand in [databases], [users] or [peers], as a sentence; None when it can.

    Source of fact: cfparser.c reads no quoted names before 1.25.
    """
    if section == "peers":
        is_id = re.fullmatch(r"[1-9][0-9]{0,4}", name) and int(name) <= 16383
        return None if is_id else f"A peer is named by its peer_id, 1 to 16383, not {name!r}."
    if section == "databases" and name == "*":
        return "'*' would let any database name through, and a RELOAD cannot remove it; name each database."
    if section == "databases" and name == "pgbouncer":
        return "'pgbouncer' is PgBouncer's own console; choose another entry name and set dbname = pgbouncer."
    if not _ENTRY_NAME.fullmatch(name):
        return f"{name!r} is no name PgBouncer can read: only letters A-Z a-z, digits and _ . - are."
    limit = _DATABASE_BYTES if section == "databases" else _NAME_BYTES
    return f"The name has {len(name)} bytes; PgBouncer takes at most {limit}." if len(name) > limit else None


def problems(wanted: Configuration, version: Version | None) -> list[Problem]:
    """Everything wrong with what the operator wrote, for a PgBouncer of that version (None: not known yet)."""
    if version and (too_old := version_problem(version, "pgbouncer")):
        return [too_old]
    found = _section_problems("pgbouncer", wanted.settings, version, "pgbouncer_settings")
    for section, entries in _entry_sections(wanted):
        for name, keys in entries.items():
            where = f"pgbouncer_{section}.{name}"
            if sentence := entry_name_problem(name, section):
                found.append(Problem(where, sentence))
            found += _section_problems(section, keys, version, where)
            if section == "peers" and "host" not in keys:
                found.append(Problem(where, "A peer without host stops PgBouncer's start.", "Give its host."))
    return found


def _section_problems(section: str, values: Mapping[str, Value], version: Version | None, where: str) -> list[Problem]:
    found = [problem for name, value in values.items() for problem in check(section, name, value, version, where)]
    names = Counter(setting.name for name in values if (setting := find(section, name)))
    return found + [
        Problem(where, f"{name} is given twice, by its old and its new name.", f"Keep {name}.")
        for name, count in names.items()
        if count > 1
    ]


def pgbouncer_ini(wanted: Configuration, version: Version) -> str:
    """The pgbouncer.ini for a PgBouncer of that version, sorted, so that equal intentions give equal bytes.

    Exactly one [pgbouncer] header, last: the check of a candidate appends settings behind an %include of this file.
    Raises Refused with every problem there is, and PoolwardError when the text does not read back as intended.
    """
    wrong = problems(wanted, version)
    if wrong:
        raise Refused("This pgbouncer.ini is refused:", wrong)
    meant = _as_text(wanted, version)
    sections = [("databases", _lines(meant.databases)), ("users", _lines(meant.users)), ("peers", _lines(meant.peers))]
    filled = [(section, lines) for section, lines in sections if lines or section == "databases"]
    last = ("pgbouncer", sorted(meant.settings.items()))
    rendered = templates.rendered("pgbouncer.ini.j2", sections=[*filled, last])
    rendered_equals_intent(rendered, wanted, version)
    return rendered


def rendered_equals_intent(rendered: str, wanted: Configuration, version: Version) -> None:
    """Raises PoolwardError, naming the places but no value, unless PgBouncer reads exactly this from the text."""
    read, meant = parse_ini(rendered), _as_text(wanted, version)
    differing = [
        f"[{section}] {name}"
        for section, ours, theirs in (
            ("databases", meant.databases, read.databases),
            ("users", meant.users, read.users),
            ("peers", meant.peers, read.peers),
            ("pgbouncer", meant.settings, read.settings),
        )
        for name in sorted({*ours, *theirs})
        if ours.get(name) != theirs.get(name)
    ]
    if differing:
        raise PoolwardError(f"The rendered pgbouncer.ini does not say what was meant: {', '.join(differing)}.")


def _as_text(wanted: Configuration, version: Version) -> Ini:
    texts = {
        section: {name: _written(section, keys, version) for name, keys in entries.items()}
        for section, entries in _entry_sections(wanted)
    }
    return Ini(**texts, settings=_written("pgbouncer", wanted.settings, version))


def _entry_sections(wanted: Configuration) -> list[tuple[str, Entries]]:
    return [("databases", wanted.databases), ("users", wanted.users), ("peers", wanted.peers)]


def _written(section: str, values: Mapping[str, Value], version: Version) -> dict[str, str]:
    return {spelling(section, name, version): text(known(section, name), value) for name, value in values.items()}


def _lines(entries: Mapping[str, Mapping[str, str]]) -> list[tuple[str, str]]:
    return [(name, _connection_string(keys)) for name, keys in sorted(entries.items())]


def _connection_string(keys: Mapping[str, str]) -> str:
    return " ".join(f"{name}={_quoted(value)}" for name, value in sorted(keys.items()))


def _quoted(value: str) -> str:
    """A value in a connection string: a doubled single quote is the only escape, a backslash stands for itself."""
    doubled = value.replace("'", "''")
    return value if _NEEDS_NO_QUOTES.fullmatch(value) else f"'{doubled}'"


def userlist_txt(entries: Mapping[str, str]) -> str:
    """The userlist.txt of these secrets by name, sorted. An empty secret is a tombstone: nobody logs in with it.

    Raises PoolwardError, which never holds a secret, for what PgBouncer would cut off or misread, since it silently
    drops every line behind a broken one.
    """
    for name, secret in entries.items():
        _refuse_unreadable(name, name, _NAME_BYTES, "The name")
        _refuse_unreadable(name, secret, _SECRET_BYTES, "The secret")
        if not name:
            raise PoolwardError("A name in userlist.txt is empty.")
    doubled = [(_doubled(name), _doubled(secret)) for name, secret in sorted(entries.items())]
    rendered = templates.rendered("userlist.txt.j2", entries=doubled)
    if parse_userlist(rendered) != dict(entries):
        raise PoolwardError("The rendered userlist.txt does not say what was meant.")
    return rendered


def pgpass(logins: Iterable[Mapping[str, object]]) -> str:
    """A libpq password file for logins by libpq's keywords; their host does not matter in it."""
    keys = ("port", "dbname", "user", "password")
    lines = [":".join(("*", *(re.sub(r"([\\:])", r"\\\1", str(login[key])) for key in keys))) for login in logins]
    return "\n".join(lines) + "\n"


def _refuse_unreadable(name: str, value: str, limit: int, what: str) -> None:
    of = f"{what} of {name!r} in userlist.txt" if what == "The secret" else f"The name {name[:20]!r} in userlist.txt"
    if re.search(r"[\0\r\n\ud800-\udfff]", value):
        raise PoolwardError(f"{of} contains a line break, a NUL or what is no valid text.")
    # PgBouncer measures the text between the quotes, where a quote counts twice
    if len(_doubled(value).encode()) > limit:
        raise PoolwardError(f"{of} is longer than {limit} bytes; PgBouncer would ignore it and every line behind it.")


def _doubled(value: str) -> str:
    return value.replace('"', '""')
