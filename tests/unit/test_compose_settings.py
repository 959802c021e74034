"""Values in Compose files and env_files: what changes is exchanged, every other byte stays, doubt is refused."""

from __future__ import annotations

import traceback

import pytest
import yaml

from poolward.compose_settings import replaced, returned
from poolward.errors import PoolwardError

STACK = """\
# the stack
x-common: &common
  TZ: UTC
services:
  web:
    environment:
      <<: *common
      DATABASE_URL: "postgres://app:${DB_PASSWORD}@timescale_db:5432/app?application_name=web"  # where it is
      QUOTED: 'it''s at timescale_db:5432'
      DOLLAR: "pa$$word@timescale_db"
      PORT: 5432
      ESCAPED: "a\\tb timescale_db"
      FROM_ELSEWHERE: ${DB_HOST}
      FOLDED: >-
        timescale_db
        5432
      AWKWARD: "host=timescale_db password='p%w$$d\\\\\\\\\\\\'\\\"@:/?#&\\u00e9'"
  cron:
    environment:
    - PGHOST=timescale_db
    - "PGPORT=5432"
  first: {environment: &shared {PGHOST: timescale_db}}
  second: {environment: *shared}
"""
READ = {
    "DATABASE_URL": "postgres://app:s3cret@timescale_db:5432/app?application_name=web",
    "QUOTED": "it's at timescale_db:5432",
    "DOLLAR": "pa$word@timescale_db",
    "PORT": "5432",
    "ESCAPED": "a\tb timescale_db",
    "FROM_ELSEWHERE": "timescale_db",
    "FOLDED": "timescale_db 5432",
    "AWKWARD": "host=timescale_db password='p%w$d\\\\\\'\"@:/?#&é'",
}
ENV = """\
# settings; not PGHOST=this
export PGHOST=timescale_db # the database
PGPORT="5432"
DATABASE_URL="postgres://app:p\\"w\\$d@timescale_db:5432/app"
LITERAL='host=timescale_db port=5432 password=$x'
VIA=${HOST}:5432
"""
ENV_READ = {
    "PGHOST": "timescale_db",
    "PGPORT": "5432",
    "DATABASE_URL": 'postgres://app:p"w$d@timescale_db:5432/app',
    "LITERAL": "host=timescale_db port=5432 password=$x",
    "VIA": "timescale_db:5432",
}


def moved(value: str) -> str:
    return value.replace("timescale_db", "pgbouncer").replace("5432", "6432")


@pytest.mark.parametrize("name", ["DATABASE_URL", "QUOTED", "DOLLAR", "PORT", "ESCAPED", "AWKWARD"])
def test_in_a_compose_file_only_what_differs_is_written_anew(name: str) -> None:
    written = replaced(STACK.encode(), "web", READ, {name: moved(READ[name])}).decode()
    (line,) = set(written.splitlines()) - set(STACK.splitlines())
    before = next(one for one in STACK.splitlines() if one.strip().startswith(f"{name}:"))
    assert line == moved(before)
    assert written.replace(line, before) == STACK
    assert returned(written.encode(), STACK.encode(), "web", [name]).decode() == STACK
    assert yaml.safe_load(written)["services"]["cron"] == yaml.safe_load(STACK)["services"]["cron"]


def test_environment_may_be_a_list() -> None:
    now = {"PGHOST": "timescale_db", "PGPORT": "5432"}
    written = replaced(STACK.encode(), "cron", now, {name: moved(value) for name, value in now.items()}).decode()
    assert "    - PGHOST=pgbouncer\n" in written
    assert '    - "PGPORT=6432"\n' in written
    assert yaml.safe_load(written)["services"]["web"] == yaml.safe_load(STACK)["services"]["web"]


def test_each_service_goes_back_by_itself() -> None:
    """The file is one for all: what the other one has now must stay."""
    cron = {"PGHOST": "timescale_db"}
    first = replaced(STACK.encode(), "cron", cron, {"PGHOST": "pgbouncer"})
    both = replaced(first, "web", READ, {"DATABASE_URL": moved(READ["DATABASE_URL"])})
    web_alone = replaced(STACK.encode(), "web", READ, {"DATABASE_URL": moved(READ["DATABASE_URL"])})
    assert returned(both, STACK.encode(), "cron", ["PGHOST"]) == web_alone
    assert (
        returned(returned(both, STACK.encode(), "cron", ["PGHOST"]), first, "web", ["DATABASE_URL"]) == STACK.encode()
    )


@pytest.mark.parametrize(
    ("service", "name", "said"),
    [
        ("web", "FROM_ELSEWHERE", "another variable or an escape is"),
        ("web", "FOLDED", "not written on one line"),
        ("web", "TZ", "TZ is set in another place than this file"),
        ("first", "PGHOST", "an anchor that other services use"),
        ("second", "PGHOST", "an anchor that other services use"),
        ("nobody", "PGHOST", "PGHOST is set in another place"),
    ],
)
def test_what_cannot_be_exchanged_alone_is_refused(service: str, name: str, said: str) -> None:
    now = {**READ, "TZ": "UTC", "PGHOST": "timescale_db"}
    with pytest.raises(PoolwardError, match=said) as refused:
        replaced(STACK.encode(), service, now, {name: moved(now[name]) + "x"})
    assert "timescale_db" not in str(refused.value)


def test_a_file_that_says_something_else_than_compose_reads_is_refused() -> None:
    with pytest.raises(PoolwardError, match="do not agree on PORT"):
        replaced(STACK.encode(), "web", {"PORT": "5433"}, {"PORT": "6432"})


@pytest.mark.parametrize("name", ["PGHOST", "PGPORT", "DATABASE_URL", "LITERAL"])
def test_in_an_env_file_only_what_differs_is_written_anew(name: str) -> None:
    written = replaced(ENV.encode(), "", ENV_READ, {name: moved(ENV_READ[name])}).decode()
    (line,) = set(written.splitlines()) - set(ENV.splitlines())
    (before,) = set(ENV.splitlines()) - set(written.splitlines())
    assert line == moved(before)
    assert returned(written.encode(), ENV.encode(), "", [name]).decode() == ENV


def test_only_the_part_behind_another_variable_can_change() -> None:
    assert b"VIA=${HOST}:6432\n" in replaced(ENV.encode(), "", ENV_READ, {"VIA": "timescale_db:6432"})
    with pytest.raises(PoolwardError, match="another variable"):
        replaced(ENV.encode(), "", ENV_READ, {"VIA": "pgbouncer:6432"})


@pytest.mark.parametrize("content", ["", "A=1", "A=1\n", "A=1\r\nB=2\r\n"])
def test_a_variable_that_is_not_there_comes_at_the_end_and_goes_again(content: str) -> None:
    written = replaced(content.encode(), "", {}, {"PGPORT": "6432"})
    assert written.decode().splitlines() == [*content.splitlines(), "PGPORT=6432"]
    assert returned(written, content.encode(), "", ["PGPORT"]) == content.encode()


def test_where_a_value_fits_in_two_ways_nothing_is_guessed() -> None:
    """Where the password ends, nobody can tell from `x@db@db`."""
    text = "U=${A}@db${B}\n"
    with pytest.raises(PoolwardError, match="cannot be told where the variables"):
        replaced(text.encode(), "", {"U": "x@db@db"}, {"U": "x@pool@db"})


def test_where_only_a_part_is_unclear_the_rest_can_change() -> None:
    """A password with a colon: which part of `u:a:b` is whose does not matter."""
    text = "U=postgres://${A}:${B}@db:5432/x\n"
    now = {"U": "postgres://u:a:b@db:5432/x"}
    assert (
        replaced(text.encode(), "", now, {"U": "postgres://u:a:b@pool:6432/x"})
        == b"U=postgres://${A}:${B}@pool:6432/x\n"
    )


def test_a_variable_that_stands_nowhere_is_not_added_to_a_compose_file() -> None:
    with pytest.raises(PoolwardError, match="PGDATABASE is not written in `environment` of cron itself"):
        replaced(STACK.encode(), "cron", {"PGHOST": "timescale_db"}, {"PGDATABASE": "6432"})


def test_what_is_refused_quotes_no_file() -> None:
    content = b"services: [\n  s3cret: {"
    with pytest.raises(PoolwardError, match="It is not YAML") as refused:
        replaced(content, "web", {}, {"PORT": "1"})
    assert "s3cret" not in "".join(traceback.format_exception(refused.value))
