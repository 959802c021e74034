"""How a value reaches psql without being read as anything else."""

from __future__ import annotations

import re
from collections.abc import Mapping

_VARIABLE = re.compile(r":'(\w+)'")
_ESCAPES = str.maketrans({"\\": "\\\\", "'": "\\'", "\n": "\\n", "\r": "\\r", "\t": "\\t"})


def with_variables(sql: str, variables: Mapping[str, str | int]) -> str:
    """A psql script with its variables set in front, so that they come by standard input and not on a command line.

    The script uses them as `:'name'` (a literal) or `:"name"` (an identifier); psql does the quoting of SQL itself.
    """
    lines = [f"\\set {name} {quoted(str(value))}" for name, value in variables.items()]
    return "\n".join((*lines, sql))


def quoted(value: str) -> str:
    """An argument of one of psql's own commands."""
    return f"'{value.translate(_ESCAPES)}'"


def as_parameters(sql: str) -> str:
    """The same script for psycopg: each `:'name'` as its parameter `%(name)s`."""
    return _VARIABLE.sub(r"%(\1)s", sql.replace("%", "%%"))


def service_file(services: Mapping[str, Mapping[str, str | int]]) -> str:
    """A libpq service file, one section per service; raises ValueError for what its syntax cannot hold.

    libpq reads a value to the end of its line and drops white space at its end, so neither survives a line break nor
    a blank at an end (libpq, fe-connect.c, parseServiceFile).
    """
    lines: list[str] = []
    for service, keys in services.items():
        lines.append(f"[{service}]")
        for key, value in keys.items():
            text = str(value)
            if text != text.strip() or "\n" in text or "\r" in text:
                raise ValueError(f"{key} cannot be written into a libpq service file")
            lines.append(f"{key}={text}")
    return "\n".join(lines) + "\n"
