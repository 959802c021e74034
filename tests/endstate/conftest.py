"""What should be true on the hosts of any inventory after a deploy; read-only.

pytest tests/endstate --inventory inventories/prod.py
"""

from __future__ import annotations

import pytest

from tests.endstate.fleet import Inventory, Pooler, Server

_LOADED = pytest.StashKey[Inventory]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--inventory", default="inventories/lab.py", help="the pyinfra inventory to check (%(default)s)")


def pytest_configure(config: pytest.Config) -> None:
    try:
        config.stash[_LOADED] = Inventory.load(config.getoption("--inventory"))
    except ValueError as error:
        raise pytest.UsageError(str(error)) from error


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    inventory = metafunc.config.stash[_LOADED]
    if "entry" in metafunc.fixturenames:
        pairs = [(pooler, entry) for pooler in inventory.poolers for entry in pooler.entries]
        metafunc.parametrize(("pooler", "entry"), pairs, ids=[f"{pooler}-{entry}" for pooler, entry in pairs])
    elif "pooler" in metafunc.fixturenames:
        # A module about one way of running PgBouncer says which.
        runtime = getattr(metafunc.module, "RUNTIME", None)
        poolers = [pooler for pooler in inventory.poolers if runtime in (None, pooler.runtime)]
        metafunc.parametrize("pooler", poolers, ids=repr)
    elif "server" in metafunc.fixturenames:
        # Testinfra looks on hosts; of a server without one `poolward verify` tells what can be known.
        away = pytest.mark.skip(reason="its host is out of reach: postgresql_dsn")
        servers = [pytest.param(one, marks=[away] if one.hostless else []) for one in inventory.servers]
        metafunc.parametrize("server", servers, ids=[repr(one) for one in inventory.servers])


@pytest.fixture
def poolers(request: pytest.FixtureRequest, server: Server) -> list[Pooler]:
    """The poolers with an entry on this server."""
    return request.config.stash[_LOADED].served_by(server)
