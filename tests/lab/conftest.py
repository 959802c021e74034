"""Live tests run on the lab that LAB_NAME names (`make lab-up`)."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import paramiko
import pytest

from lab.docker import docker
from lab.state import State
from lab.topology import REPOSITORY, Lab
from tests.lab.support import deployed, on, pyinfra


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """First what the lab is before a deploy; last what needs another host, which makes each deploy longer."""
    items.sort(
        key=lambda item: (
            item.path.name != "test_lab.py",
            item.get_closest_marker("pool3") is not None,
            item.get_closest_marker("dock1") is not None,
            item.path.name == "test_app_local.py",
        )
    )


@pytest.fixture(scope="session")
def lab() -> Lab:
    lab = Lab.from_environment()
    if not State(lab).hosts():
        pytest.fail(f"The lab {lab.name} is not up: python -m lab up", pytrace=False)
    # The demo leaves the services behind their poolers.
    if any("env.before-poolward" in on(lab, host, "ls -A /etc/*/") for host in ("app1", "app2")):
        run = pyinfra(data={"soak": 1}, deploy="deploy/rollback.py", timeout=300)
        if run.returncode:  # A test of app-local poolers that was cut off leaves them behind those.
            own = "inventories/lab_app_local.py"
            run = pyinfra(data={"soak": 1}, deploy="deploy/rollback.py", timeout=300, inventory=own)
        assert run.returncode == 0, run.text
    return lab


@pytest.fixture(scope="module")
def as_declared() -> None:
    """The lab deployed as its inventory says before a module's tests; whatever a test changes, it puts back itself."""
    deployed()


@pytest.fixture(scope="session")
def pool3(lab: Lab) -> Iterator[str]:
    """The third pooler, with the newest PgBouncer: up and deployed until the tests end."""
    with _up(lab, "pool3"):
        deployed()
        yield "pool3"


@pytest.fixture(scope="session")
def db2(lab: Lab) -> Iterator[str]:
    """The second database server: up until the tests end, and no entry of the lab's own inventory is on it."""
    with _up(lab, "db2"):
        yield "db2"


@pytest.fixture(scope="session")
def dock1(lab: Lab) -> Iterator[str]:
    """The Docker host: up until the tests end."""
    with _up(lab, "dock1"):
        yield "dock1"


@contextmanager
def _up(lab: Lab, name: str) -> Iterator[None]:
    state = State(lab)
    mine = name not in state.hosts()
    subprocess.run([sys.executable, "-m", "lab", "up", "--with", name], cwd=REPOSITORY, check=True)
    yield
    if mine:
        docker("rm", "--force", "--volumes", lab.container(name))
        state.record_hosts({other: host for other, host in state.hosts().items() if other != name})


@pytest.fixture(params=["pool1", "pool2", pytest.param("pool3", marks=pytest.mark.pool3)])
def pooler(request: pytest.FixtureRequest) -> str:
    """Each pooler in turn: PgBouncer 1.24, 1.18 and 1.26."""
    name: str = request.param
    if name == "pool3":
        request.getfixturevalue("pool3")
    return name


@pytest.fixture
def put_back() -> Iterator[None]:
    """For a test that deploys something else: afterwards the lab is as its inventory says."""
    yield
    deployed()


@pytest.fixture
def ssh(lab: Lab) -> Iterator[Callable[[str], paramiko.SSHClient]]:
    """Logs in to a lab host as its operator."""
    state = State(lab)
    clients: list[paramiko.SSHClient] = []

    def login(host: str) -> paramiko.SSHClient:
        client = paramiko.SSHClient()
        clients.append(client)
        client.load_host_keys(str(state.known_hosts))
        address = state.hosts()[host].address
        client.connect(address, username="operator", key_filename=str(state.ssh_key), look_for_keys=False)
        return client

    yield login
    for client in clients:
        client.close()
