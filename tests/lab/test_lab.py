"""The lab is what it claims to be: real hosts, closed doors, the incident on demand, an honest recorder."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import paramiko
import psycopg
import pytest

from lab import hosts, recorder
from lab.docker import docker, shell
from lab.process_sampler import ProcessSampler
from lab.state import State
from lab.topology import HOSTS, MAIN, REPOSITORY, SERVICES, Lab, host_named
from lab.wait import until

Login = Callable[[str], paramiko.SSHClient]
pytestmark = pytest.mark.usefixtures("lab")

ALWAYS = [host for host in HOSTS if not host.optional]
TOO_MANY_CONNECTIONS = "53300"


def run(client: paramiko.SSHClient, command: str) -> tuple[int, str]:
    _, stdout, _ = client.exec_command(command, timeout=30)
    output = stdout.read().decode()
    return stdout.channel.recv_exit_status(), output


def report(lab: Lab) -> dict[str, dict[str, object]]:
    """What every service says; a service that does not answer is an error here."""
    answers = {}
    for name in sorted({service.host for service in SERVICES}):
        answers |= hosts.health(lab, [service for service in SERVICES if service.host == name])
    return {name: json.loads(answer) for name, answer in answers.items()}


def refused(lab: Lab) -> int:
    return sum(numbers["connect_failed"].get(TOO_MANY_CONNECTIONS, 0) for numbers in report(lab).values())


@pytest.mark.parametrize("host", ALWAYS, ids=lambda host: host.name)
def test_host_runs_systemd_without_failed_units(lab: Lab, host):
    container = lab.container(host.name)
    assert docker("exec", container, "systemctl", "is-system-running").strip() == "running"
    assert docker("exec", container, "hostname").strip() == host.name
    assert f"VERSION_CODENAME={host.suite}" in docker("exec", container, "cat", "/etc/os-release")


@pytest.mark.parametrize("host", ALWAYS, ids=lambda host: host.name)
def test_operator_is_not_root_and_sudo_asks_only_on_pool2(ssh: Login, host):
    client = ssh(host.name)
    assert run(client, "id -un") == (0, "operator\n")
    status, who = run(client, "sudo -n id -un")
    assert (status, who) == ((1, "") if host.sudo_password else (0, "root\n"))


def test_sudo_password_opens_pool2(lab: Lab, ssh: Login):
    stdin, stdout, _ = ssh("pool2").exec_command("sudo -S -p '' id -un", timeout=30)
    stdin.write(State(lab).sudo_password.read_text() + "\n")
    assert stdout.read() == b"root\n"


def test_names_resolve_to_the_fixed_addresses(lab: Lab):
    for host in ALWAYS:
        found = docker("exec", lab.container("pool2"), "getent", "ahostsv4", host.name).split()[0]
        assert found == lab.address(host)


def test_pooler_hosts_are_bare_and_have_the_packages_at_hand(lab: Lab):
    for name in ("pool1", "pool2"):
        archives = docker("exec", lab.container(name), "ls", "/var/cache/apt/archives")
        assert "pgbouncer_" in archives
        assert "postgresql-client-" in archives


def test_server_turns_away_strangers(lab: Lab):
    address = lab.address(host_named("db1"))
    password = State(lab).role_passwords()["postgres"]
    with pytest.raises(psycopg.OperationalError, match=r"no pg_hba\.conf entry"):
        psycopg.connect(host=address, dbname=MAIN, user="postgres", password=password, connect_timeout=5)


@pytest.mark.parametrize("name", ["pool1", "pool2"])
def test_server_turns_away_the_poolers_until_a_deploy(lab: Lab, name):
    rules = "SELECT address FROM pg_hba_file_rules WHERE address IS NOT NULL"
    command = ("exec", "--user=postgres", lab.container("db1"), "psql", "-XAtc", rules)
    if lab.address(host_named(name)) in docker(*command).split():
        pytest.skip("a deploy has opened it")
    startup = r"\x00\x00\x00\x29\x00\x03\x00\x00user\x00postgres\x00database\x00postgres\x00\x00"
    answer = shell(lab.container(name), f"exec 3<>/dev/tcp/db1/5432; printf '{startup}' >&3; cat <&3")
    assert "no pg_hba.conf entry" in answer


def test_declared_services_are_the_ones_that_run(lab: Lab):
    declared = runpy.run_path(str(REPOSITORY / "group_data" / "lab.py"))["services"]
    assert {(s["name"], s["host"], s["unit"]) for s in declared} == {(s.name, s.host, s.unit) for s in SERVICES}
    for service in declared:
        variables = [service[key] for key in service if key.endswith("_variable")] + service.get("url_variables", [])
        settings = docker("exec", lab.container(service["host"]), "cat", service["env_file"])
        assert all(f"\n{variable}=" in settings for variable in variables)


def test_every_service_works(lab: Lab):
    before = report(lab)
    until(
        "every service completes a transaction",
        lambda: all(report(lab)[name]["succeeded"] > before[name]["succeeded"] for name in before),
        timeout=20,
    )


@pytest.fixture
def peak(lab: Lab) -> Iterator[None]:
    hosts.set_flag(lab, "peak", True)
    yield
    hosts.set_flag(lab, "peak", False)


@pytest.mark.usefixtures("peak")
def test_the_peak_is_the_incident_and_passes(lab: Lab):
    before = refused(lab)
    until("connections are refused with 53300", lambda: refused(lab) > before, timeout=30)

    hosts.set_flag(lab, "peak", False)
    usual = {service.name: service.pool for service in SERVICES}
    until(
        "every service is back to its usual pool",
        lambda: {name: numbers["connections"] for name, numbers in report(lab).items()} == usual,
        timeout=60,
    )
    calm = refused(lab)
    test_every_service_works(lab)
    assert refused(lab) == calm


def test_recorder_keeps_every_command_line_and_its_status(ssh: Login):
    recorder.reset("pool1")
    client = ssh("pool1")
    awkward = "printf '%s' 'it is \"a\\b\" $HOME é'\ntrue; exit 3"
    assert run(client, awkward) == (3, 'it is "a\\b" $HOME é')
    client.open_sftp().listdir("/tmp")
    assert recorder.commands("pool1") == [awkward, "/usr/lib/openssh/sftp-server"]
    assert [record.status for record in recorder.records("pool1")] == [3, None]


def test_recorder_holds_the_answer_to_the_chosen_command(ssh: Login):
    recorder.reset("app1")
    client = ssh("app1")
    recorder.hold_after("app1", 2)
    assert run(client, "true") == (0, "")
    channel = client.exec_command("echo second")[1].channel
    recorder.wait_held("app1", timeout=10)
    assert recorder.commands("app1") == ["true", "echo second"]
    assert not channel.exit_status_ready()

    recorder.release("app1")
    assert channel.recv_exit_status() == 0


def test_process_sampler_sees_a_secret_in_an_argument_and_in_an_environment(ssh: Login):
    client = ssh("pool1")
    with ProcessSampler() as sampler:
        run(client, "sh -c 'sleep 0.05; : canary-in-argv'; CANARY=canary-in-environ sleep 0.05")
    assert sampler.having("canary-in-argv")
    assert sampler.having("CANARY=canary-in-environ")
    assert not sampler.having(f"canary-{time.monotonic_ns()}")


def test_secrets_are_for_their_owner_only(lab: Lab):
    assert lab.directory.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in lab.directory.iterdir()} == {0o600}


def test_no_role_password_is_in_the_server_log(lab: Lab):
    log = docker("exec", lab.container("db1"), "sh", "-c", "cat /var/log/postgresql/*.log", timeout=60)
    assert not [role for role, password in State(lab).role_passwords().items() if password in log]


def test_pyinfra_reaches_every_host_as_root():
    command = [sys.executable, "-m", "pyinfra", "-y", "inventories/lab.py", "exec", "--", "test $(id -u) = 0"]
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr
