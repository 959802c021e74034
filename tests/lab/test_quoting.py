"""What psql and libpq really make of the texts we hand them: awkward ones, and any that hypothesis thinks of."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lab.docker import docker
from lab.topology import Lab, host_named
from poolward.auth import secret_problem
from poolward.shell.psql import service_file, with_variables
from poolward.templates import rendered
from tests.lab.support import deployed, psql

AWKWARD = [
    "", "plain", "it's", "''", '"quoted"', "back\\slash", "\\", "\\\\", "\\n", "\\'", "trailing\\", "a\nb", "\r\n",
    "tab\there", " spaces ", "$HOME `id` $(id)", "%s %24 %", ":x :'x' :\"x\"", "{braces}", "-- comment", "/* */",
    ";", "ünïcödé 😀", "\u200b\u00a0", "\x01\x1b\x7f", "E'\\x41'", "$$dollar$$", "\\gexec", "\\! id", "a\\;b", "~", "^",
]  # fmt: skip
text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=60)
thorough = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
ROLE = "quoting_test"


def through_psql(lab: Lab, values: list[str]) -> list[bytes]:
    """Each value set as a psql variable, used as a literal, and sent back by PostgreSQL in hex."""
    queries = "\n".join(f"SELECT encode(convert_to(:'v{number}', 'UTF8'), 'hex');" for number in range(len(values)))
    script = with_variables(queries, {f"v{number}": value for number, value in enumerate(values)})
    client = ["runuser", "-u", "postgres", "--", "psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-f", "-"]
    answer = docker("exec", "-i", "-w", "/", "-e", "LC_ALL=C.UTF-8", lab.container("db1"), *client, stdin=script)
    return [bytes.fromhex(line) for line in answer.split("\n")[:-1]]


def test_awkward_texts_pass_through_psql(lab: Lab):
    assert through_psql(lab, AWKWARD) == [value.encode() for value in AWKWARD]


@thorough
@given(values=st.lists(text, min_size=1, max_size=40))
def test_any_text_passes_through_psql(lab: Lab, values: list[str]):
    assert through_psql(lab, values) == [value.encode() for value in values]


def test_names_of_superusers_are_literals_in_the_lookup_function(lab: Lab):
    names, nobody = [name for name in AWKWARD if name], "no \\'body\\"
    texts = {"auth_role": "it's \\ auth", "allow_superusers": names, "nobody": nobody, "nobodys_secret": "'\\"}
    body = rendered("user_lookup.sql.j2", **texts)
    for setting in ("on", "off"):  # as a session may have it
        asked = f"SELECT name FROM ({body.replace('$1', 'NULL')}) q(name, secret)"
        assert psql(lab, f"SET standard_conforming_strings = {setting}; {asked}") == nobody


@pytest.fixture(scope="module")
def role(lab: Lab) -> Iterator[str]:
    deployed()
    psql(lab, f"DROP ROLE IF EXISTS {ROLE}; CREATE ROLE {ROLE} LOGIN")
    yield ROLE
    psql(lab, f"DROP ROLE {ROLE}")


def login(lab: Lab, password: str) -> str:
    """What psql says that logs in to db1 with this password in a service file."""
    keys = {"host": lab.address(host_named("db1")), "dbname": "tracksolid_db", "user": ROLE, "password": password}
    script = "cat | PGSERVICEFILE=/dev/stdin PGSERVICE=entry psql -XqAt -c 'SELECT current_user' 2>&1 || true"
    return docker("exec", "-i", lab.container("pool1"), "sh", "-c", script, stdin=service_file({"entry": keys})).strip()


def set_password(lab: Lab, password: str) -> None:
    script = with_variables(f"ALTER ROLE {ROLE} PASSWORD :'password';", {"password": password})
    client = ["runuser", "-u", "postgres", "--", "psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-f", "-"]
    docker("exec", "-i", "-w", "/", "-e", "LC_ALL=C.UTF-8", lab.container("db1"), *client, stdin=script)


@pytest.mark.parametrize("password", [value for value in AWKWARD if secret_problem(value) is None])
def test_secret_we_take_logs_in(lab: Lab, role: str, password: str):
    set_password(lab, password)
    assert login(lab, password) == role


def test_another_secret_does_not(lab: Lab, role: str):
    set_password(lab, AWKWARD[1])
    assert f'authentication failed for user "{role}"' in login(lab, AWKWARD[2])


def test_longest_secret_we_take_logs_in(lab: Lab, role: str):
    longest = max(length for length in range(1, 4000) if secret_problem("x" * length) is None)
    password = secrets.token_hex(longest)[:longest]
    set_password(lab, password)
    assert login(lab, password) == role
