"""PgBouncer's own pg_hba.conf: who may log in to the pooler, and how. Pure.

PgBouncer skips a line it cannot read with no more than a warning: a misspelt `reject` before a `trust` lets everybody
in. So every line is read here first. Source of fact: hba.c of PgBouncer 1.18 to 1.26: as in PostgreSQL, but without
`+group`, host names, samehost and samenet.
"""

from __future__ import annotations

import ipaddress
import shlex
from collections.abc import Iterable, Sequence

from poolward.errors import Problem
from poolward.settings import Version

_TYPES = ("local", "host", "hostssl", "hostnossl")
_METHODS = ("trust", "reject", "md5", "scram-sha-256", "password", "cert", "peer", "ldap")
_SINCE = {"ldap": Version(1, 25)}
_ALL_ADDRESSES_SINCE = Version(1, 23)
_MAPS_SINCE = Version(1, 23)


def text(lines: Sequence[str]) -> str:
    """The file's text."""
    return "# Written by Poolward (pgbouncer_hba); a deploy replaces it.\n" + "".join(f"{line}\n" for line in lines)


def problems(lines: Sequence[str], version: Version | None, where: str) -> list[Problem]:
    """Every line PgBouncer of that version (None: not known yet) would skip, and why."""
    found = [
        Problem(
            f"{where}[{number}]", f"{line!r}: {reason}", "PgBouncer would skip this line with no more than a warning"
        )
        for number, line in enumerate(lines)
        if not line.lstrip().startswith("#")
        for reason in _reasons(line, version)
    ]
    if not any(line.strip() and not line.lstrip().startswith("#") for line in lines):
        found.append(Problem(where, "has no rule, so nobody could log in", "host all all 10.0.0.0/8 scram-sha-256"))
    return found


def _reasons(line: str, version: Version | None) -> Iterable[str]:
    if any(sign in line for sign in "\n\r\0"):
        yield "it has a line break in it"
        return
    try:
        words = shlex.split(line, posix=False)
    except ValueError:
        yield "a quote is not closed"
        return
    kind = words[0] if words else ""
    if kind not in _TYPES:
        yield f"it must begin with {', '.join(_TYPES)}"
        return
    wanted = 4 if kind == "local" else 5
    if len(words) < wanted:
        yield f"{kind} takes {'database, user and method' if kind == 'local' else 'database, user, address and method'}"
        return
    if any(user.startswith("+") for user in words[2].split(",")):
        yield "PgBouncer knows no role membership (+group)"
    method_at = 3
    if kind != "local":
        reason, method_at = _address(words, version)
        if reason:
            yield reason
            return
    yield from _method(words[method_at], words[method_at + 1 :], kind, version)


def _address(words: Sequence[str], version: Version | None) -> tuple[str, int]:
    """What is wrong with the address, and where the method stands: an address may be followed by a netmask."""
    address = words[3]
    if address == "all":
        too_old = version is not None and version < _ALL_ADDRESSES_SINCE
        return (f"the address `all` is understood from {_ALL_ADDRESSES_SINCE} on" if too_old else ""), 4
    try:
        if "/" in address:
            ipaddress.ip_network(address, strict=False)
            return "", 4
        ipaddress.ip_address(address)
        ipaddress.ip_address(words[4])
    except ValueError:
        return f"{address} is no address with a prefix length, as in 10.0.0.0/8", 4
    return ("", 5) if len(words) > 5 else ("the method is missing", 5)


def _method(method: str, options: Sequence[str], kind: str, version: Version | None) -> Iterable[str]:
    if method not in _METHODS:
        yield f"{method} is no method of PgBouncer's: {', '.join(_METHODS)}"
        return
    if version is not None and version < _SINCE.get(method, version):
        yield f"{method} is understood from {_SINCE[method]} on"
    if method == "peer" and kind != "local":
        yield "peer works on `local` lines only"
    if method == "cert" and kind != "hostssl":
        yield "cert works on `hostssl` lines only"
    for option in options:
        if not option.startswith("map="):
            yield f"{option} is no option PgBouncer knows"
        elif version is not None and version < _MAPS_SINCE:
            yield f"map= is understood from {_MAPS_SINCE} on"
