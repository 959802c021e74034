"""The searches of leaks.py find a leak that was planted on purpose."""

from __future__ import annotations

import json
import secrets
import shlex
from collections.abc import Callable

import paramiko
import pytest

from lab import recorder
from lab.process_sampler import ProcessSampler
from lab.topology import Lab
from tests.lab import leaks
from tests.lab.leaks import File
from tests.lab.support import on, psql, pyinfra


@pytest.fixture
def canary() -> dict[str, str]:
    return {"canary": secrets.token_urlsafe(9) + leaks.AWKWARD}


FOUND = {"canary"}


@pytest.mark.usefixtures("lab")
def test_a_leak_in_pyinfras_output_is_found(canary: dict[str, str]):
    shown = pyinfra("-vvv", "--data", f"secret={canary['canary']}", deploy="debug-inventory")
    assert leaks.named(canary, shown.text) == FOUND


@pytest.mark.parametrize("written", [shlex.quote, lambda text: shlex.quote(f"sh -c {shlex.quote(text)}"), json.dumps])
def test_a_leak_in_a_command_line_is_found(
    ssh: Callable[[str], paramiko.SSHClient], canary: dict[str, str], written: Callable[[str], str]
):
    recorder.reset("app1")
    ssh("app1").exec_command(f"true {written(canary['canary'])}")[1].channel.recv_exit_status()
    assert leaks.in_command_lines(canary, "app1") == FOUND


@pytest.mark.parametrize("carrier", ["sh -c 'sleep 0.1; :' _ {}", "SECRET={} sleep 0.1"], ids=["argv", "environment"])
def test_a_leak_in_a_process_is_found(lab: Lab, canary: dict[str, str], carrier: str):
    with ProcessSampler() as sampler:
        on(lab, "pool1", carrier.format(shlex.quote(canary["canary"])))
    assert leaks.in_processes(canary, sampler) == FOUND


def test_a_leak_in_a_journal_is_found(lab: Lab, canary: dict[str, str]):
    began = on(lab, "pool1", "date '+%F %T'").strip()
    on(lab, "pool1", f"logger {shlex.quote(canary['canary'])}; journalctl --sync")
    assert leaks.in_journal(canary, lab, "pool1", began) == FOUND


def test_a_leak_in_a_statement_is_found(lab: Lab, canary: dict[str, str]):
    literal = canary["canary"].replace("'", "''")
    psql(lab, f"BEGIN; CREATE ROLE leaking PASSWORD '{literal}'; ROLLBACK")
    assert leaks.in_statements(canary, lab) == FOUND
    assert any(file.path.startswith("/var/log/postgresql/") for file in leaks.in_files(canary, lab, "db1"))


@pytest.mark.parametrize("place", leaks.PLACES.split())
def test_a_leak_in_a_file_is_found(lab: Lab, canary: dict[str, str], place: str):
    path = f"{place}/.poolward-leak"
    on(lab, "pool2", f"umask 022; printf %s {shlex.quote(json.dumps(canary['canary']))} >{path}")
    try:
        assert leaks.in_files(canary, lab, "pool2") == {File(path, "644 root root", frozenset(FOUND))}
    finally:
        on(lab, "pool2", f"rm {path}")
