"""The operator's words for one host (`pgbouncer_…` in group data): their names and types, and which are missing."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from poolward.errors import Problem

# Without these nobody can say where a pooler listens and how its clients log in.
_ESSENTIAL = ("listen_addr", "listen_port", "unix_socket_dir", "auth_type")


class Knobs(BaseModel):
    """The operator's words in group_data, for one host; every name is described in group_data/all.py."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    defaults: dict[str, Any] = Field(default_factory=dict)
    app_local_defaults: dict[str, Any] = Field(default_factory=dict)
    topology: Literal["shared", "app-local"] = "shared"
    settings: dict[str, Any] = Field(default_factory=dict)
    databases: dict[str, dict[str, Any]] = Field(default_factory=dict)
    users: dict[str, dict[str, Any]] = Field(default_factory=dict)
    peers: dict[str, Any] = Field(default_factory=dict)
    allow_superusers: list[str] = Field(default_factory=list)
    hba: list[str] = Field(default_factory=list)
    manage_hba: bool = False
    allow_overcommit: bool = False
    version: str | None = None
    minimum_version: str | None = None
    auth_secret_command: list[str] | None = None
    probe_secret_command: list[str] | None = None
    auth_query: bool = True
    auth_users: dict[str, dict[str, Any]] = Field(default_factory=dict)
    runtime: Literal["package", "docker"] = "package"
    network: str | None = None
    image: str | None = None
    publish: list[str] = Field(default_factory=list)

    @property
    def app_local(self) -> bool:
        return self.topology == "app-local"

    @property
    def written(self) -> dict[str, Any]:
        """What is written into `[pgbouncer]`, but for Poolward's own: the operator's words over the defaults."""
        return {**self.all_defaults, **self.settings}

    @property
    def all_defaults(self) -> dict[str, Any]:
        """The defaults of this pooler's topology."""
        return {**self.defaults, **(self.app_local_defaults if self.app_local else {})}


def read(host: str, data: Mapping[str, Any], problems: list[Problem]) -> Knobs:
    """One host's words; what is wrong with them goes to `problems`."""
    prefix = "pgbouncer_"
    given = {key.removeprefix(prefix): value for key, value in data.items() if key.startswith(prefix)}
    for own in ("auth_database", "auth_role"):
        given.pop(own, None)
    try:
        knobs = Knobs.model_validate(given)
    except ValidationError as error:
        for found in error.errors():
            name = prefix + ".".join(str(part) for part in found["loc"])
            if found["type"] == "extra_forbidden":
                problems.append(Problem(host, f"{name} is no word of Poolward's", _meant(name)))
            else:
                problems.append(Problem(host, f"{name}: {found['msg']}", "see group_data/all.py"))
        # Without the wrong words the others are read all the same, so that what is wrong in them is said too.
        wrong = {str(found["loc"][0]) for found in error.errors()}
        knobs = Knobs.model_validate({key: value for key, value in given.items() if key not in wrong})
    if not knobs.defaults:
        problems.append(
            Problem(host, "Poolward's defaults (group_data/all.py) were not loaded", "run from the top of the clone")
        )
    elif lacking := [name for name in _ESSENTIAL if name not in knobs.written]:
        problems.append(
            Problem(
                host,
                f"pgbouncer_defaults lacks {', '.join(lacking)}",
                "leave it as group_data/all.py has it, and write yours into pgbouncer_settings",
            )
        )
    return knobs


def _meant(name: str) -> str:
    known = sorted(f"pgbouncer_{field}" for field in Knobs.model_fields)
    near = get_close_matches(name, known, 1)
    return f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
