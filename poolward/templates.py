"""The files of `templates/`, rendered: text in, text out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from psycopg import sql as _sql

FOLDER = Path(__file__).parent.parent / "templates"


def sql_literal(value: str) -> str:
    """A literal that means the same whatever the session says of standard_conforming_strings."""
    return _sql.quote(value).strip()


def sql_name(value: str) -> str:
    """A name, quoted."""
    return _sql.Identifier(value).as_string()


_environment = Environment(
    loader=FileSystemLoader(FOLDER),
    undefined=StrictUndefined,
    trim_blocks=True,
    keep_trailing_newline=True,
    autoescape=False,  # not HTML: escaping would corrupt a secret that holds & or <
)
_environment.filters["sql"] = sql_literal
# What stands in a comment of SQL must not end it: names of objects are anybody's.
_environment.filters["one_line"] = lambda text: " ".join(str(text).split())
_pages = Environment(
    loader=FileSystemLoader(FOLDER),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
    autoescape=True,
)


def rendered(name: str, **values: Any) -> str:
    """A Jinja2 template of `templates/` with these values; an undefined name is an error, never an empty string."""
    return _environment.get_template(name).render(**values)


def page(name: str, **values: Any) -> str:
    """A template of `templates/` that is HTML, with these values, each of them escaped."""
    return _pages.get_template(name).render(**values)


def text(name: str) -> str:
    """A file of `templates/` as it is."""
    return (FOLDER / name).read_text()
