"""Hosts that answer each of Poolward's scripts as real ones did (tests/unit/recorded/), and remember what they ran.

Behind pyinfra's @fake connector, which finds an answer by a part of the command: here that is a whole script.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from poolward import render, scram
from poolward.shell import SCRIPTS

RECORDED = Path(__file__).parents[1] / "unit" / "recorded"
BARE = (RECORDED / "pooler-bare.txt").read_text()
SECRETS = {name: f"canary-{name}" for name in ("pgbouncer_auth", "pgbouncer_probe")}
VERIFIERS = {name: scram.verifier(secret) for name, secret in SECRETS.items()}


class Answer(dict[str, Any]):
    """A response that is made, and noted, at the moment the connector asks for it."""

    def __init__(self, make: Callable[[], Any]) -> None:
        super().__init__()
        self._make = make
        self._made: Any = None

    def get(self, key: str, default: Any = None) -> Any:
        if key == "success":  # the first thing the connector wants to know
            self._made = self._make()
            return self._made is not None
        return (self._made or "") if key == "stdout" else ("it failed on purpose" if self._made is None else default)


class Simulated:
    """One host. `faults` by script: "fail", "cut" (half an answer) or "empty"."""

    def __init__(self, name: str, log: Path, faults: Mapping[str, str], *, deployed: bool) -> None:
        self.name, self.log, self.faults = name, log, faults
        self.installed = self.configured = self.secrets_made = deployed

    def responses(self) -> dict[str, Answer]:
        answers = {"\ncreate=yes\n": Answer(lambda: self._run("make_secrets"))}
        for path in sorted(SCRIPTS.glob("*.sh"), key=lambda path: -path.stat().st_size):
            if path.stem != "common":
                quoted = path.read_text().replace("'", "'\"'\"'")
                answers[quoted] = Answer(partial(self._run, path.stem))
        return answers

    def _run(self, script: str) -> str | None:
        with self.log.open("a") as log:
            log.write(f"{self.name} {script}\n")
        fault = self.faults.get(script)
        answer: str | None = None if fault == "fail" else getattr(self, f"_{script}", str)()
        if answer is None or fault is None:
            return answer
        return {"cut": answer[: len(answer) * 2 // 3], "empty": ""}[fault]


class SimulatedPooler(Simulated):
    def __init__(self, name: str, recording: str, log: Path, faults: Mapping[str, str], *, deployed: bool) -> None:
        super().__init__(name, log, faults, deployed=deployed)
        self.recording = (RECORDED / recording).read_text()

    def _observe_pooler(self) -> str:
        if self.configured:
            return self.recording
        known, unit = self.recording.split("@unit\n")[0], BARE.split("@unit\n")[1]
        if self.installed:
            return f"{known}@unit\n{unit}".replace("UnitFileState=", "UnitFileState=masked")
        candidate = known.split("@candidate\n")[1]
        return f"{BARE.split('@candidate')[0]}@candidate\n{candidate}@unit\n{unit}"

    def _install(self) -> str:
        self.installed = True
        return ""

    def _read_secret_file(self) -> str:
        lines = render.userlist_txt({"pgbouncer_auth": SECRETS["pgbouncer_auth"]}).splitlines()
        return "@text\n" + "".join(f"|{line}\n" for line in lines if self.configured) + "@end\n"

    def _try_candidate(self) -> str:
        return self.recording[self.recording.index("@version\n") :]

    def _switch(self) -> str:
        self.configured = True
        return ""

    def _take_back(self) -> str:
        self.configured = False
        return ""

    def _login(self) -> str:
        right = "failed on purpose" if self.faults.get("proof") else "ok"
        return "".join(f"@entry{number}\n{right}\n" for number in range(3)) + "@log\n@end\n"


class SimulatedServer(Simulated):
    def _observe_server(self) -> str:
        answer = (RECORDED / "postgresql-17.txt").read_text()
        if self.configured:
            return answer
        server, passwords, rest = answer.removeprefix("@server\n").split("\n@", 2)
        roles, kinds = json.loads(server), json.loads(passwords.removeprefix("passwords\n"))
        for role in SECRETS:
            del roles["roles"][role], kinds[role]
        return f"@server\n{json.dumps(roles)}\n@passwords\n{json.dumps(kinds)}\n@{rest}"

    def _lease(self) -> str:
        return "free 0 -\n\n"

    def _make_secrets(self) -> str:
        self.secrets_made = True
        return self._secrets()

    def _secrets(self) -> str:
        answer = ""
        for name, secret in SECRETS.items():
            answer += f"@secret {name}\n" + (f"{secret}\n" if self.secrets_made else "")
            answer += f"@verifier {name}\n" + (f"{VERIFIERS[name]}\n" if self.configured else "")
        return f"{answer}@end\n"

    def _run_sql(self) -> str:
        self.configured = True
        return ""
