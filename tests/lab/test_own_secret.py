"""The operator's own secret: it comes from a command, whatever is in it, or is refused without being repeated."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from lab.topology import Lab
from tests.lab.support import client, deployed, psql, pyinfra, settings_with

pytestmark = pytest.mark.usefixtures("as_declared")

AWKWARD = "c4n4ry p\"w' %s $HOME `id` \\' @:/?#&=;, ünï ß"


def by_command(directory: Path, secret: str) -> dict[str, object]:
    """Group data that reads the secret of the poolers' role from a command on the operator's machine."""
    file = directory / "secret"
    file.write_text(secret)
    return {"pgbouncer_auth_secret_command": ["cat", str(file)]}


@pytest.mark.usefixtures("put_back")
def test_a_secret_from_a_command_works_whatever_is_in_it(lab: Lab, tmp_path: Path):
    client(lab, "pool1").close()
    client(lab, "pool2").close()
    began = psql(lab, "SELECT clock_timestamp()")
    run = deployed(by_command(tmp_path, AWKWARD + "\n"))
    assert "the password of pgbouncer_auth is not the one the poolers have" in run.text
    assert "c4n4ry" not in run.text
    # No connection that was open before hides whether the new secret serves.
    older = f"SELECT count(*) FROM pg_stat_activity WHERE usename = 'pgbouncer_auth' AND backend_start < '{began}'"
    assert psql(lab, older) == "0"
    for pooler in ("pool1", "pool2"):
        client(lab, pooler).close()
    assert deployed(by_command(tmp_path, AWKWARD + "\n")).totals["success"] == 0


@pytest.mark.parametrize(
    ("secret", "reason"),
    [
        ("c4n4ry first line\nsecond line", "it has a line break"),
        (" c4n4ry", "it begins or ends with a blank"),
        ("", "it is empty"),
        ("SCRAM-SHA-256$4096:" + base64.b64encode(b"c4n4ry").decode(), "it looks like a hash"),
    ],
    ids=["line_break", "blank", "empty", "hash"],
)
def test_a_secret_that_cannot_be_used_is_refused_and_not_repeated(lab: Lab, tmp_path: Path, secret: str, reason: str):
    stored = "SELECT rolpassword FROM pg_authid WHERE rolname = 'pgbouncer_auth'"
    before = psql(lab, stored)
    run = pyinfra("-vvv", data=by_command(tmp_path, secret))
    assert run.returncode == 1
    assert "The secret of pgbouncer_auth for db1 cannot be used" in run.text
    assert reason in run.text
    assert "c4n4ry" not in run.text
    assert not secret or secret not in run.text
    assert psql(lab, stored) == before
    client(lab, "pool1").close()


def test_a_command_that_fails_is_named_and_its_output_is_not(tmp_path: Path):
    script = tmp_path / "vault"
    script.write_text("#!/bin/sh\necho c4n4ry\necho c4n4ry >&2\nexit 3\n")
    script.chmod(0o700)
    run = pyinfra("-vvv", data={"pgbouncer_auth_secret_command": [str(script)]})
    assert run.returncode == 1
    assert "pgbouncer_auth_secret_command" in run.text
    assert "ended with exit code 3" in run.text
    assert "c4n4ry" not in run.text


@pytest.mark.usefixtures("put_back")
def test_a_new_secret_is_for_every_pooler_or_for_none(lab: Lab, tmp_path: Path):
    stored = "SELECT rolpassword FROM pg_authid WHERE rolname = 'pgbouncer_auth'"
    before, words = psql(lab, stored), by_command(tmp_path, "c4n4ry another")
    for host in ("pool1", "db1"):
        run = pyinfra("--limit", host, data=words)
        assert run.returncode == 1
        assert "outside this run, would go on with the old one" in run.text
        assert psql(lab, stored) == before
    # A candidate that is refused leaves this pooler with a secret that serves no longer, and that is said.
    words |= settings_with(client_tls_sslmode="require", client_tls_key_file="/none", client_tls_cert_file="/none")
    run = pyinfra(data=words)
    assert run.returncode == 1
    assert "PostgreSQL has the new secret of pgbouncer_auth already" in run.text
    assert psql(lab, stored) != before
