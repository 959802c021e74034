"""What is written where a service's settings are: for a move, and for the way back. Pure."""

from __future__ import annotations

import base64
from collections.abc import Mapping

from poolward import compose_settings, env_file, service
from poolward.moves import Settings
from poolward.observed import ServiceState
from poolward.service import Address, Service


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


def is_way_back(declared: Service, state: ServiceState, standing: Settings, moved: Mapping[str, Address]) -> bool:
    """Whether the settings as they are now are the way back: what was there before a move, not what an interrupted one
    left. `moved` is where a move sends each connection.

    Where the server is named, that is younger than what an earlier move kept, and so are the passwords beside it. Only
    what Compose reads may come from elsewhere than the file in which an interrupted move wrote.
    """
    if state.unproved is None or standing != "direct":
        return state.unproved is None
    return state.before is None or state.written is None or not _is_as_moved(declared, state, moved)


def taken_back(declared: Service, state: ServiceState, moved: Mapping[str, Address]) -> str:
    """The standard input of `take_back_service.sh`; empty where there is nothing to put back.

    What was kept comes back as it was where the settings are what the move made of it; `moved` is where that sends each
    connection. Where somebody has changed them since, as with a new password, only the address goes back. Raises
    PoolwardError where the settings have changed too much.
    """
    if state.before is None:
        return ""
    if state.written is not None:
        return _taken_back_in_compose_file(declared, state, moved)
    kept, there = state.before.content, state.settings.content if state.settings and not state.unfinished else None
    if kept == there:
        return ""
    if state.text is None or state.text.content in (kept, _moved(declared, kept, moved)):
        return _lines(there, None)
    wanted = _moved(declared, state.text.content, _addresses(declared, kept))
    return "" if wanted == there else _lines(there, wanted)


def _taken_back_in_compose_file(declared: Service, state: ServiceState, moved: Mapping[str, Address]) -> str:
    """Where to is told by the file itself: what Compose makes of it may come from elsewhere."""
    assert state.written
    assert state.before
    if state.written.original is None:
        return ""
    content, within = state.written.file.content, _within(declared)
    wanted = compose_settings.returned(content, state.written.original.content, within, _names(declared))
    if wanted != content and not _is_as_moved(declared, state, moved):
        now = env_file.variables(state.written.settings.content)
        changes = service.moved_variables(declared, now, _addresses(declared, state.before.content))
        wanted = compose_settings.replaced(content, within, now, changes)
    return "" if wanted == content else _lines(content, wanted)


def _is_as_moved(declared: Service, state: ServiceState, moved: Mapping[str, Address]) -> bool:
    """Whether a file of Compose's writes what a move may change as that makes it of what it kept."""
    if state.written is None or state.written.original is None or state.before is None:
        return False
    content, within, kept = state.written.file.content, _within(declared), env_file.variables(state.before.content)
    changes = service.moved_variables(declared, kept, moved)
    then = compose_settings.replaced(state.written.original.content, within, kept, changes)
    return compose_settings.returned(content, then, within, _names(declared)) == content


def _moved(declared: Service, content: bytes, addresses: Mapping[str, Address]) -> bytes:
    changes = service.moved_variables(declared, env_file.variables(content), addresses)
    return env_file.replaced(content, changes)


def _addresses(declared: Service, content: bytes) -> dict[str, Address]:
    """Where settings send each connection."""
    found = service.settings_of(declared, env_file.variables(content))
    return {name: Address(one.host, one.port, one.database) for name, one in found.items()}


def _names(declared: Service) -> tuple[str, ...]:
    """The variables that a move may change."""
    parts = (declared.host_variable, declared.port_variable, declared.database_variable)
    return (*declared.url_variables, *filter(None, parts))


def _within(declared: Service) -> str:
    """The service whose `environment` it is, where its settings are in the Compose file itself."""
    return "" if declared.env_file else declared.compose_service


def _lines(*texts: bytes | None) -> str:
    """Each in base64; - for what is nobody's, and for what was kept, as it was."""
    return "".join(f"{'-' if text is None else base64.b64encode(text).decode()}\n" for text in texts)
