"""The trial login takes from a service's settings what libpq knows, and nothing from the operator's environment."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from poolward import declared_services, dsn, service, trial
from poolward.errors import Problem, Refused
from poolward.login_check import libpqs_own
from poolward.service import Address

# Of Prisma, pgx and Rails.
OTHERS = ("schema=public", "connection_limit=5", "pgbouncer=true", "pool_max_conns=4", "pool=5")


@pytest.mark.parametrize("other", OTHERS)
def test_what_only_another_driver_knows_does_not_fail_the_login(other: str) -> None:
    url = f"postgresql://app:x@db1:5432/shop?{other}&sslmode=require&application_name=web"
    parameters = trial._parameters(dsn.parse(url, {}))
    assert libpqs_own(dict(parameters)) == {"sslmode": "require", "application_name": "web"}


def test_asyncpgs_word_for_sslmode_is_kept() -> None:
    parameters = trial._parameters(dsn.parse("postgresql+asyncpg://app:x@db1/shop?ssl=verify-full", {}))
    assert libpqs_own(dict(parameters)) == {"sslmode": "verify-full"}


def test_the_operators_own_environment_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    request = {"keywords": {"hostaddr": "127.0.0.1", "port": 1, "user": "app", "dbname": "shop"}, "prepare": False}
    monkeypatch.setenv("PGSERVICE", "prod")
    answer = trial._answer(request)
    assert "service" not in str(answer["error"])
    assert "Is the server running" in str(answer["error"])


def test_a_jdbc_url_may_have_its_login_beside_it() -> None:
    """As Spring's services have it."""
    words = {"name": "web", "host": "app1", "unit": "web.service", "env_file": "/etc/web/env", "pooler": "pool1"}
    words |= {"user_variable": "DB_USER", "password_variable": "DB_PASSWORD"}
    problems: list[Problem] = []
    told = {"services": [{**words, "url_variables": ["DB_URL"]}]}
    (declared,) = declared_services.read({"app1": told}, ["app1"], ["pool1"], problems)
    assert not problems
    variables = {"DB_URL": "jdbc:postgresql://db1:5432/shop", "DB_USER": "app", "DB_PASSWORD": "hunter2"}
    found = service.settings_of(declared, variables)["DB_URL"]
    assert (found.user, found.password) == ("app", SecretStr("hunter2"))
    moved = service.moved_variables(declared, variables, {"DB_URL": Address("pool1", 6432, "shop")})
    assert moved == {"DB_URL": "jdbc:postgresql://pool1:6432/shop"}
    with pytest.raises(Refused, match="DB_USER says app"):
        service.settings_of(declared, {**variables, "DB_URL": "jdbc:postgresql://db1/shop?user=other"})
