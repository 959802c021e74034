"""No secret anywhere: not in what pyinfra says, not in a command line, an environment, a log or a stray file.

One long story is told once, in every output mode and with failures on purpose; each test then searches one place. The
same searches find a leak that is planted on purpose (test_leaks.py), or they would prove nothing.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab import recorder
from lab.process_sampler import ProcessSampler
from lab.state import State
from lab.topology import HOSTS, REPOSITORY, Lab
from tests.lab import leaks
from tests.lab.leaks import File
from tests.lab.support import Run, deployed, on, poolers, psql, purge_database, purge_pooler, pyinfra, settings_with

ALWAYS = [host.name for host in HOSTS if not host.optional]
POOLERS = ["pool1", "pool2"]
DEBUG_LOG = REPOSITORY / "pyinfra-debug.log"
BREAKS = """
from pyinfra.api import operation
from poolward.deploys.pgbouncer import pgbouncer

@operation()
def breaks():
    raise RuntimeError("on purpose")
    yield

pgbouncer()
breaks(name="Breaks")
"""
REFUSED_CANDIDATE = settings_with(
    client_tls_sslmode="require", client_tls_key_file="/etc/hostname", client_tls_cert_file="/etc/hostname"
)
NO_LOGIN = settings_with(
    server_tls_sslmode="verify-full",  # the server's certificate is its own
    server_tls_ca_file="/etc/ssl/certs/ca-certificates.crt",
    query_wait_timeout=1,
    server_login_retry=1,
)


@dataclass(frozen=True)
class Story:
    runs: Mapping[str, Run]
    secrets: Mapping[str, str]
    verifiers: Mapping[str, str]
    """As PostgreSQL stored them in the course of it, those of the applications too."""
    debug_log: str
    """What pyinfra wrote into its pyinfra-debug.log when it met the exception."""
    sampler: ProcessSampler
    began: str


@pytest.fixture(scope="module")
def story(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """From purged hosts on; at its end the operator's own secret is the one in use."""
    folder = tmp_path_factory.mktemp("operator")
    operators, operators_probe = (secrets.token_urlsafe(9) + leaks.AWKWARD for _ in range(2))
    bring: dict[str, object] = {
        "pgbouncer_auth_secret_command": ["cat", _file(folder, "own.secret", operators + "\n")],
        "pgbouncer_probe_secret_command": ["cat", _file(folder, "probe.secret", operators_probe + "\n")],
    }
    blank = {"pgbouncer_auth_secret_command": ["cat", _file(folder, "blank.secret", f" {operators}")]}
    fails = {"pgbouncer_auth_secret_command": ["sh", "-c", f"cat {folder}/own.secret | tee /dev/stderr; exit 3"]}
    for pooler in POOLERS:
        purge_pooler(lab, pooler)
    purge_database(lab)
    for host in ALWAYS:
        recorder.reset(host)
    began = on(lab, "db1", "date '+%F %T'").strip()
    runs: dict[str, Run] = {}
    with ProcessSampler() as sampler:
        runs["first"] = pyinfra("-vvv", "--debug-all", "--diff")
        verifiers = _verifiers(lab, "first")
        runs["nothing to do"] = pyinfra("-vvv", "--json", "--diff")
        changed = bring | settings_with(tcp_keepidle=55)
        runs["changing"] = pyinfra("-vvv", "--debug", "--json", "--diff", data=changed)
        verifiers |= _verifiers(lab, "changing")
        runs["verify"] = pyinfra("-vvv", "--debug", "--json", data=changed, deploy="deploy/verify.py")
        # From here on there would be something to change again: the secret made on db1, the former setting.
        runs["dry"] = pyinfra("-vvv", "--debug-all", "--diff", "--dry")
        runs["operations"] = pyinfra("-vvv", "--debug", "--debug-operations", "--json")
        runs["facts"] = pyinfra("-vvv", "--debug", "--debug-facts")
        loud = ("-vvv", "--debug-all", "--diff", "--limit")
        runs["candidate refused"] = pyinfra(*loud, "pool2", data=bring | REFUSED_CANDIDATE)
        runs["no login"] = pyinfra(*loud, "pool2", data=bring | NO_LOGIN)
        runs["command fails"] = pyinfra(*loud, "pool1", data=fails)
        runs["secret refused"] = pyinfra(*loud, "pool2", data=blank)
        runs["exception"] = pyinfra(*loud, "pool1", data=bring, deploy=_file(folder, "breaks.py", BREAKS))
        debug_log = DEBUG_LOG.read_text()
        on(lab, "db1", "systemctl stop postgresql@17-main")
        try:
            runs["PostgreSQL stopped"] = pyinfra(*loud, "pool2", data=bring)
        finally:
            on(lab, "db1", "systemctl start postgresql@17-main")
    folder_on_db1 = "/var/lib/poolward/secrets"
    found = {name: on(lab, "db1", f"cat {folder_on_db1}/pgbouncer_{name}").strip() for name in ("auth", "probe")}
    yield Story(
        runs,
        {"operator's": operators, "operator's probe": operators_probe, **found},
        verifiers,
        debug_log,
        sampler,
        began,
    )
    DEBUG_LOG.unlink()
    deployed()


def _file(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.touch(mode=0o600)
    path.write_text(text)
    return str(path)


def _verifiers(lab: Lab, when: str) -> dict[str, str]:
    rows = psql(lab, "SELECT rolname, rolpassword FROM pg_authid WHERE rolpassword IS NOT NULL").splitlines()
    return {f"{role}, {when}": verifier for role, verifier in (row.split("|") for row in rows)}


def test_the_story_is_what_it_says(lab: Lab, story: Story):
    """Every run reached what it is there for, or searching it would say nothing."""
    good = {"first", "nothing to do", "changing", "dry", "operations", "facts", "verify"}
    assert {name for name, run in story.runs.items() if run.returncode == 0} == good
    assert story.runs["nothing to do"].totals["success"] == 0
    assert story.runs["changing"].totals["success"] == 1 + len(poolers(lab))  # auth_setup.sql, and each configuration
    said = {
        "dry": "tcp_keepidle: 55 → 60",
        "candidate refused": "its own PgBouncer refuses the new configuration",
        "no login": "The probe cannot log in through",
        "command fails": "ended with exit code 3",
        "secret refused": "it begins or ends with a blank",
        "exception": "on purpose",
        "PostgreSQL stopped": "PostgreSQL could not be asked",
    }
    assert {name for name, sentence in said.items() if sentence not in story.runs[name].text} == set()


@pytest.mark.parametrize("kind", ["secrets", "verifiers"])
def test_pyinfra_says_none_in_any_mode(story: Story, kind: str):
    assert "on purpose" in story.debug_log
    texts = {name: run.text for name, run in story.runs.items()} | {"its debug log": story.debug_log}
    assert {name for name, text in texts.items() if leaks.named(getattr(story, kind), text)} == set()


@pytest.mark.parametrize("host", ALWAYS)
def test_no_command_line_of_any_host_has_one(story: Story, host: str):
    assert leaks.in_command_lines({**story.secrets, **story.verifiers}, host) == set()


def test_pyinfra_itself_shows_the_sudo_password(lab: Lab, story: Story):
    """In pool2's command lines, and on the operator's screen under --debug: the README says so.

    If pyinfra stops doing it, this fails, and the README has something better to say.
    """
    sudo = {"sudo": State(lab).sudo_password.read_text()}
    assert {host for host in ALWAYS if leaks.in_command_lines(sudo, host)} == {"pool2"}
    assert any(f" PYINFRA_SUDO_PASSWORD={sudo['sudo']} " in line for line in recorder.commands("pool2"))
    assert leaks.named(sudo, story.runs["operations"].stdout)
    # Not without --debug, nor where pool2 was out of the run.
    quiet = {name for name, run in story.runs.items() if not leaks.named(sudo, run.text)}
    assert quiet == {"nothing to do", "command fails", "exception"}


def test_no_process_showed_one(story: Story):
    assert leaks.in_processes({**story.secrets, **story.verifiers}, story.sampler) == set()


@pytest.mark.parametrize("host", ALWAYS)
def test_no_journal_has_one(lab: Lab, story: Story, host: str):
    assert leaks.in_journal(story.secrets, lab, host, story.began) == set()


def test_no_statement_had_one(lab: Lab, story: Story):
    assert leaks.in_statements(story.secrets, lab) == set()


ON_A_POOLER = {
    File("/etc/pgbouncer/userlist.txt", "640 root postgres", frozenset({"operator's"})),
    # It too: later switches changed settings alone.
    File("/etc/pgbouncer/userlist.txt.previous", "640 root postgres", frozenset({"operator's"})),
}
HOLDERS = {
    "db1": {
        File("/var/lib/poolward/secrets/pgbouncer_auth", "600 root root", frozenset({"auth"})),
        File("/var/lib/poolward/secrets/pgbouncer_probe", "600 root root", frozenset({"probe"})),
    },
    "pool1": ON_A_POOLER,
    "pool2": ON_A_POOLER,
}


@pytest.mark.parametrize("host", ALWAYS)
def test_only_the_files_that_have_to_hold_one(lab: Lab, story: Story, host: str):
    """PostgreSQL's log of every statement, its data and the temporary folders are among what is searched."""
    assert leaks.in_files(story.secrets, lab, host) == HOLDERS.get(host, set())


def test_the_clone_holds_none(story: Story):
    assert leaks.in_clone(story.secrets) == set()
