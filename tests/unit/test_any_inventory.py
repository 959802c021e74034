"""Whatever JSON an operator writes, the answer is a fleet or a sentence, never a traceback."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import fields
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from poolward import declaration
from poolward.catalogue import table
from poolward.desired import pooler_config
from poolward.errors import PoolwardError
from poolward.reparse import parse_ini
from poolward.service import Service
from tests.unit.samples import BOOKWORM, FORKY, GROUPS, TRIXIE, hosts

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-1, 70_000), st.floats(), st.text(max_size=8),
    st.sampled_from(["db1", "session", "20", "0", "", "'", '"', "a b", "x;y", "*", "0660", "é", "on"]),
)  # fmt: skip
values = st.one_of(scalars, st.lists(scalars, max_size=2), st.dictionaries(st.text(max_size=3), scalars, max_size=1))


def names(section: str) -> st.SearchStrategy[str]:
    known = sorted({name for found, name in table() if found == section})
    return st.one_of(st.sampled_from(known), st.text(max_size=6))


entry_names = st.one_of(st.sampled_from(["shop", "shop-2", "pgbouncer", "pgbouncer_auth", "*"]), st.text(max_size=6))
entries = st.dictionaries(names("databases"), values, max_size=3).map(lambda keys: {"host": "db1", **keys})
whole = {
    "name": "web",
    "host": "app1",
    "unit": "w.service",
    "env_file": "/e",
    "url_variables": ["U"],
    "pooler": "pool1",
}
service_words = st.sampled_from([field.name for field in fields(Service)])
services = st.dictionaries(st.one_of(service_words, st.text(max_size=4)), values, max_size=2).map(
    lambda changes: {**whole, **changes}
)
words = {
    "pgbouncer_settings": st.one_of(st.dictionaries(names("pgbouncer"), values, max_size=2), values),
    "pgbouncer_databases": st.one_of(st.dictionaries(entry_names, entries, max_size=2), values),
    "pgbouncer_users": st.one_of(
        st.dictionaries(st.text(max_size=5), st.dictionaries(names("users"), values, max_size=2), max_size=2), values
    ),
    "pgbouncer_auth_users": st.one_of(
        st.dictionaries(
            st.one_of(st.sampled_from(["anna", "pgbouncer_auth", "pgbouncer_probe"]), st.text(max_size=5)),
            st.dictionaries(st.sampled_from(["verifier_from", "password_command", "verifier"]), values, max_size=2),
            max_size=2,
        ),
        values,
    ),
    "pgbouncer_auth_query": st.one_of(st.booleans(), values),
    "pgbouncer_peers": st.one_of(
        st.dictionaries(st.sampled_from(["pool1", "pool2", "pool9"]), st.one_of(st.integers(0, 3), values)), values
    ),
    "pgbouncer_version": st.one_of(st.sampled_from(["1.18.0", "1.24.1", "1.26.1-1"]), values),
    "pgbouncer_defaults": st.dictionaries(names("pgbouncer"), values, max_size=2),
    "services": st.one_of(st.lists(st.one_of(services, values), max_size=2), values),
    **dict.fromkeys(("pgbouncer_allow_superusers", "pgbouncer_manage_hba", "pgbouncer_auth_secret_command"), values),
    **dict.fromkeys(("pgbouncer_auth_role", "pgbouncer_auth_database", "postgresql_port", "address"), values),
}
# one or two words at a time: with many, one of them is always refused and hides the others
knobs = st.lists(st.sampled_from(sorted(words)), min_size=1, max_size=2, unique=True).flatmap(
    lambda chosen: st.fixed_dictionaries({name: words[name] for name in chosen})
)


@settings(max_examples=300, deadline=None)
@given(changes=knobs)
def test_any_inventory_is_read_or_refused(changes: dict[str, Any]):
    with suppress(PoolwardError):
        fleet = declaration.read(hosts(**changes), GROUPS)
        assert all(service.moves or service.direct for service in fleet.services)
        for version in (BOOKWORM, TRIXIE, FORKY):
            with suppress(PoolwardError):
                made = pooler_config(fleet, "pool1", version)
                read = parse_ini(made.ini)
                assert read.databases.keys() == made.databases.keys()
                assert all(int(line["max_db_connections"]) > 0 for line in read.databases.values())
                assert made.open_files > 0
                assert made.service_file.startswith("# Written by Poolward")
                assert made.login_address
