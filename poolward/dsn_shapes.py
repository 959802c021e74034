"""The three ways of writing a connection setting: what each says, and where host, port and database stand in it. Pure.

Sources of fact: libpq's conninfo parser (fe-connect.c; tests hold this one against it), SQLAlchemy's engine/url.py for
URLs that name a driver, pgjdbc's Driver.parseURL. Wherever libpq understands a text, it is read as libpq reads it;
beyond that the parameters of other drivers are let through. No error here repeats any of the text: it holds a password.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Literal
from urllib.parse import quote, unquote, unquote_plus

from poolward.errors import PoolwardError

Shape = Literal["url", "keywords", "jdbc", "variables"]

LOCATION = ("host", "port", "dbname")
_NAMED_ONCE = (*LOCATION, "user", "password")
URL = re.compile(
    r"postgres(?:ql)?(?P<driver>\+[a-z0-9_]+)?://"
    r"(?:(?P<user>[^:@/]*)(?::(?P<password>[^@/]*))?@)?"
    r"(?P<hosts>[^/?]*)(?:/(?P<dbname>[^?]*))?(?:\?(?P<query>.*))?",
    re.DOTALL,
)
_JDBC = re.compile(r"jdbc:postgresql://(?P<hosts>[^/?]*)(?:/(?P<dbname>[^?/]*))?(?:\?(?P<query>.*))?", re.DOTALL)
_HOST_AND_PORT = re.compile(r"(?:\[(?P<six>[^\]]+)\]|(?!\[)(?P<name>[^:]*))(?::(?P<port>.*))?", re.DOTALL)
_BLANKS = " \t\n\v\f\r"
_KEYWORD = re.compile(
    rf"[{_BLANKS}]*(?P<name>[^={_BLANKS}]+)[{_BLANKS}]*=[{_BLANKS}]*+"
    rf"(?P<value>'(?:[^'\\]|\\.)*'|(?!')(?:[^{_BLANKS}\\]|\\.|\\\Z)*)",
    re.DOTALL,
)
# In any other parameter an @ is the end of a password that should have been encoded.
_MAY_HOLD_AT = ("application_name", "ApplicationName", "host", "options", "password", "user")
# Where pgjdbc would look elsewhere than in front, or in a file of its own.
_JDBC_DETOURS = ("PGHOST", "PGPORT", "PGDBNAME", *LOCATION, "service")


@dataclass(frozen=True)
class Place:
    """A stretch of the text that names a host, port or database, or the point at which one would be named."""

    start: int
    end: int
    write: Callable[[str], str]
    """How a value is written there."""


@dataclass(frozen=True)
class Reading:
    """A text as read: every value under libpq's name for it, decoded, and the places of the location."""

    shape: Shape
    values: Mapping[str, str] = field(repr=False)
    places: Mapping[str, tuple[Place, ...]] = field(repr=False)


class _Found:
    """Collects values and places; a location or login named twice, differently, is nothing to choose from."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.places: dict[str, list[Place]] = {name: [] for name in LOCATION}

    def value(self, name: str, value: str, place: Place | None = None) -> None:
        if name in _NAMED_ONCE and self.values.get(name, value) != value:
            raise PoolwardError(
                f"It names {name} twice, and differently: drivers do not agree which counts.", "Keep one."
            )
        self.values[name] = value
        if place:
            self.places[name].append(place)

    def insertion(self, name: str, place: Place) -> None:
        if not self.places[name]:
            self.places[name].append(place)

    def reading(self, shape: Shape) -> Reading:
        return Reading(shape, self.values, {name: tuple(places) for name, places in self.places.items()})


def read(text: str) -> Reading:
    """Read a setting of any of the three shapes; raises PoolwardError without repeating it."""
    if found := URL.fullmatch(text):
        return _url(found)
    if found := _JDBC.fullmatch(text):
        return _jdbc(found)
    if re.match(rf"[{_BLANKS}]*\w+[{_BLANKS}]*=", text):
        return _keywords(text)
    raise PoolwardError(
        "It is no PostgreSQL URL, keyword DSN or JDBC URL of a form that is known here.",
        "postgresql://user:password@host:5432/database, host=… port=… dbname=…, or jdbc:postgresql://host:5432/database",
    )


def _url(text: re.Match[str]) -> Reading:
    """libpq's URL; with a driver named behind a plus SQLAlchemy's, where only user and password are encoded."""
    found = _Found()
    driver = bool(text["driver"])
    if driver and "@" in text.string[text.start("hosts") :]:
        raise unencoded()  # SQLAlchemy would take all before it for the password
    for name in ("user", "password"):
        if text[name]:
            found.value(name, unquote(text[name]) if driver else _decoded(text[name]))
    _authority(text, found, _plain if driver else _decoded, _plain if driver else _encoded)
    for name, value, start, end in _query(text, unquote_plus if driver else _decoded):
        if (name, value) == ("ssl", "true") and not driver:
            found.value("sslmode", "require")
        elif name in LOCATION:
            found.value(name, value, Place(start, end, lambda new: quote(new, safe="/:")))
        else:
            found.value(name, value)
    _ways_to_insert(text, found, _plain if driver else _encoded)
    return found.reading("url")


def _jdbc(text: re.Match[str]) -> Reading:
    found = _Found()
    _authority(text, found, _java_decoded, _encoded)
    found.values.setdefault("host", "localhost")
    for name, value, _, _ in _query(text, _java_decoded):
        if name in _JDBC_DETOURS:
            raise PoolwardError(
                f"It takes a part of its address from {name}.", "Write host, port and database in front."
            )
        found.value(name, value)
    _ways_to_insert(text, found, _encoded)
    return found.reading("jdbc")


def _authority(
    text: re.Match[str],
    found: _Found,
    decoded: Callable[[str], str],
    encoded: Callable[[str], str],
) -> None:
    """What stands between // and the query: hosts, ports and the database."""
    if "@" in f"{text['hosts']}{text['dbname']}":
        raise unencoded()
    items = text["hosts"].split(",")
    parts = [part for item in items if (part := _HOST_AND_PORT.fullmatch(item))]
    if len(parts) < len(items):
        raise PoolwardError("Its host cannot be told from its port.", "An IPv6 address stands in [ ].")
    hosts = ",".join(part["six"] or part["name"] or "" for part in parts)
    ports = ",".join(part["port"] or "" for part in parts)
    # A list is never rewritten, so that the places below matter for a single host only.
    start, end = text.span("hosts")
    colon = end - len(ports) - (parts[0]["port"] is not None)
    if hosts:
        found.value("host", decoded(hosts), Place(start, colon, bracketed))
    if ports:
        found.value("port", decoded(ports), Place(colon + 1, end, str))
    if text["dbname"]:
        found.value("dbname", decoded(text["dbname"]), Place(text.start("dbname"), text.end("dbname"), encoded))


def _ways_to_insert(text: re.Match[str], found: _Found, encoded: Callable[[str], str]) -> None:
    """Where a host, port or database would go that the text leaves to a default; a port goes where its host is."""
    start, end = text.span("hosts")
    if found.places["host"] and not text["hosts"]:
        behind = found.places["host"][0].end
        found.insertion("port", Place(behind, behind, "&port={}".format))
    found.insertion("host", Place(start, start, bracketed))
    found.insertion("port", Place(end, end, str if text["hosts"].endswith(":") else ":{}".format))
    if text["dbname"] is None:
        found.insertion("dbname", Place(end, end, lambda new: f"/{encoded(new)}"))
    else:
        found.insertion("dbname", Place(text.start("dbname"), text.start("dbname"), encoded))


def _query(text: re.Match[str], decoded: Callable[[str], str]) -> Iterator[tuple[str, str, int, int]]:
    """Name, value and place of the value; a value may hold further equals signs, which libpq alone refuses."""
    at = text.start("query")
    for token in (text["query"] or "").split("&"):
        name, _, value = token.partition("=")
        if token and not re.fullmatch(r"[\w.-]+", decoded(name)):
            raise unencoded()
        if "@" in value and name not in _MAY_HOLD_AT:
            raise unencoded()
        if token:
            yield decoded(name), decoded(value), at + len(token) - len(value), at + len(token)
        at += len(token) + 1


def _keywords(text: str) -> Reading:
    found, at = _Found(), 0
    while text[at:].strip(_BLANKS):
        item = _KEYWORD.match(text, at)
        if not item:
            raise PoolwardError(
                "Its keywords cannot be read: an = is missing, or a quote is not closed.", "host=… port=…"
            )
        raw, quoted = item["value"], item["value"].startswith("'")
        value = re.sub(r"\\(.?)", r"\1", raw[1:-1] if quoted else raw, flags=re.DOTALL)
        place = Place(item.start("value"), item.end("value"), _in_quotes if quoted else _quoted)
        found.value(item["name"], value, place if item["name"] in LOCATION else None)
        at = item.end()
    for name in LOCATION:
        # In front, because behind the last value its own backslash could swallow the blank.
        found.insertion(name, Place(0, 0, partial(_assigned, name)))
    return found.reading("keywords")


def _assigned(name: str, value: str) -> str:
    return f"{name}={_quoted(value)} "


def unencoded() -> PoolwardError:
    """What is said when a part of a password may have come to stand in the host, the port or the database."""
    return PoolwardError(
        "Its host, port or database has a sign in it that does not belong there.",
        "In a password an @, : / or ? has to be percent-encoded: %40, %3A, %2F, %3F.",
    )


def _decoded(raw: str) -> str:
    return unquote(_checked(raw), errors="surrogateescape")


def _java_decoded(raw: str) -> str:
    return unquote_plus(_checked(raw), errors="surrogateescape")


def _checked(raw: str) -> str:
    if re.search("%(?![0-9A-Fa-f]{2})|%00", raw):
        raise PoolwardError("It has a % that begins no percent-encoded character.", "A % itself is written %25.")
    if raw != raw.strip(_BLANKS):
        # libpq before 17 takes them for a part of the value, and drops them since
        raise PoolwardError("It has a blank before or behind one of its parts.", "Remove it, or write it %20.")
    return raw


def _encoded(value: str) -> str:
    return quote(value, safe="", errors="surrogateescape")


def _plain(value: str) -> str:
    if "%" in value:
        # SQLAlchemy takes it as it is before 2.1, and decodes it since
        raise PoolwardError("Its host or database has a % in it, and with that drivers differ.", "Name it without one.")
    return value


def bracketed(host: str) -> str:
    """A host as it stands in front of a URL's path."""
    return f"[{host}]" if ":" in host else quote(host, safe="")


def _quoted(value: str) -> str:
    return value if value and not re.search(rf"[{_BLANKS}'\\]", value) else _in_quotes(value)


def _in_quotes(value: str) -> str:
    escaped = re.sub(r"(['\\])", r"\\\1", value)
    return f"'{escaped}'"
