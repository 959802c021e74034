"""What is written where a service's settings are: for a move, and for the way back. Pure."""

from __future__ import annotations

import base64
from collections.abc import Mapping

from poolward import compose_settings, env_file
from poolward.observed import ServiceState
from poolward.service import Service


def switched(declared: Service, state: ServiceState, changes: Mapping[str, str]) -> str:
    """The standard input of `switch_service.sh`; raises PoolwardError where the settings cannot be rewritten."""
    assert state.text is not None
    values = state.text.content
    if state.written is None:
        there = values if state.unfinished is None else None
        return _lines(there, env_file.replaced(values, changes))
    content, before = state.written.file.content, env_file.variables(state.before.content) if state.before else {}
    if state.written.original and all(before.get(name) == value for name, value in changes.items()):
        wanted = compose_settings.returned(content, state.written.original.content, _within(declared), changes)
    else:
        wanted = compose_settings.replaced(content, _within(declared), env_file.variables(values), changes)
    return _lines(content, wanted, values)


def taken_back(declared: Service, state: ServiceState) -> str:
    """The standard input of `take_back_service.sh` where Compose reads the file: the address as it stood there before.

    Empty where there is nothing to put back. Raises PoolwardError where the file has changed too much. That is told by
    the file itself: what Compose makes of it may come from elsewhere.
    """
    written = state.written
    if written is None or written.original is None:
        return ""
    names = filter(None, (declared.host_variable, declared.port_variable, declared.database_variable))
    content = written.file.content
    moved = (*declared.url_variables, *names)
    wanted = compose_settings.returned(content, written.original.content, _within(declared), moved)
    return "" if wanted == content else _lines(content, wanted)


def _within(declared: Service) -> str:
    """The service whose `environment` it is, where its settings are in the Compose file itself."""
    return "" if declared.env_file else declared.compose_service


def _lines(*texts: bytes | None) -> str:
    """Each in base64; - where what is there is nobody's."""
    return "".join(f"{'-' if text is None else base64.b64encode(text).decode()}\n" for text in texts)
