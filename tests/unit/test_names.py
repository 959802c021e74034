"""What settings are asked for names before anybody reads them for themselves."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from pyinfra.api import State

from poolward import names
from poolward.observed import ServiceState
from poolward.observed.composed import SettingsFile
from poolward.service import Service
from poolward.shell import SCRIPTS
from tests.unit import samples


@dataclass
class Told:
    """As much of a service's state as names are read from."""

    text: SettingsFile
    before: SettingsFile | None = None


def test_settings_that_cannot_be_read_bar_no_other_service() -> None:
    fleet = samples.lab()
    broken, whole = (Service(name, "app1", url_variables=("DATABASE_URL",)) for name in ("broken", "whole"))
    good = SettingsFile("0", "0", "600", 0, b"DATABASE_URL=postgresql://app:x@192.0.2.11/shop\n")
    misspelt = SettingsFile("0", "0", "600", 0, b"DATABASE_UR=postgresql://app:x@192.0.2.11/shop\n")
    for told in (Told(misspelt), Told(good, before=misspelt)):
        states = cast("dict[str, ServiceState]", {"broken": told, "whole": Told(good)})
        assert names.resolved(cast(State, None), [broken, whole], states, fleet) == {"broken": {}, "whole": {}}


def test_a_group_whose_name_has_a_blank_makes_no_host_unreadable(tmp_path: Path) -> None:
    """The line of owner, group and mode has three words on every host, whatever they are called there."""
    script = (SCRIPTS / "observe_services.sh").read_text()
    function = script[script.index("file() {") : script.index("\n}\n") + 3]
    (tmp_path / "env").write_text("A=1\n")
    said = subprocess.run(["sh", "-c", f"{function}\nfile {tmp_path}/env"], capture_output=True, text=True, check=True)
    assert said.stdout.splitlines()[0].split()[:2] == [str(os.getuid()), str((tmp_path / "env").stat().st_gid)]
