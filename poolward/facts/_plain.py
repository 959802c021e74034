"""Records as plain data, so that `pyinfra INVENTORY fact … --json` can print them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from poolward.settings import Version


def plain(value: Any) -> Any:
    """The same in dicts, lists, text and numbers; a version as text."""
    if isinstance(value, Version):
        return str(value)
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value
