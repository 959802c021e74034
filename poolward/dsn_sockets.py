"""A URL turned from TCP to a Unix socket, and back: the directory goes where every driver looks for it. Pure.

In front of the path libpq takes an encoded directory (`%2Frun%2F…`), but Go refuses that escape and SQLAlchemy does
not decode it. As `?host=/run/…` libpq, SQLAlchemy, asyncpg, pgx, lib/pq and node-postgres all understand it.
"""

from __future__ import annotations

from urllib.parse import quote, unquote

from poolward.dsn_shapes import URL, bracketed
from poolward.errors import PoolwardError

_SAFE = "/"


def turned(text: str, host: str, port: int) -> str:
    """A setting in the form this kind of host needs; what is in it already, or is no URL, stays as it is.

    Raises PoolwardError for a JDBC URL that would have to name a socket.
    """
    if is_socket(host) and text.startswith("jdbc:"):
        raise no_socket_in_jdbc()
    found = URL.fullmatch(text)
    if not found:
        return text
    head, behind = text[: found.start("hosts")], text[found.end("hosts") :]
    path, _, query = behind.partition("?")
    tokens = [token for token in query.split("&") if token]
    names = [token.partition("=")[0] for token in tokens]
    if is_socket(host) and "host" not in names:
        rest = [token for token, name in zip(tokens, names, strict=True) if name != "port"]
        # The port first, as hardly anybody writes it: by that it is known on the way back.
        return f"{head}{path}?{'&'.join([f'port={port}', f'host={quote(host, safe=_SAFE)}', *rest])}"
    if not is_socket(host) and not found["hosts"] and names[:2] == ["port", "host"] and is_socket(_value(tokens[1])):
        return f"{head}{bracketed(host)}:{port}{path}{'?' if tokens[2:] else ''}{'&'.join(tokens[2:])}"
    return text


def _value(token: str) -> str:
    return unquote(token.partition("=")[2])


def is_socket(host: str) -> bool:
    """Whether a host in a connection setting is the directory of a Unix socket, or an abstract one."""
    return host.startswith(("/", "@"))


def no_socket_in_jdbc() -> PoolwardError:
    """What is said of a JDBC URL that is to lead to a Unix socket."""
    return PoolwardError(
        "A JDBC URL can name no Unix socket, and that is the only way to its pooler.",
        'Give the pooler listen_addr = "127.0.0.1" (pgbouncer_settings in its data), and deploy it first.',
    )
