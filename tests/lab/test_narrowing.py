"""An entry that is taken out: pg_hba.conf lets go of its database only after the poolers have."""

from __future__ import annotations

import copy

import pytest

from lab.topology import Lab, host_named
from tests.lab.support import deployed, psql, pyinfra, settings_with
from tests.unit.samples import group_data

pytestmark = [pytest.mark.usefixtures("as_declared"), pytest.mark.usefixtures("put_back")]
TAKEN_OUT = "tracksolid-archive"


def without_the_archive() -> dict[str, object]:
    databases = copy.deepcopy(group_data("lab")["pgbouncer_databases"])
    del databases[TAKEN_OUT]
    return {"pgbouncer_databases": databases}


def let_in(lab: Lab, pooler: str) -> bool:
    """Whether PostgreSQL's own reading of its rules lets the pooler into the database."""
    address = lab.address(host_named(pooler))
    rule = f"address = '{address}' AND '{TAKEN_OUT}' = ANY (database)"
    return psql(lab, f"SELECT count(*) FROM pg_hba_file_rules WHERE {rule}") == "1"


def test_a_refused_candidate_leaves_the_old_configuration_everything_it_serves(lab: Lab) -> None:
    broken = settings_with(
        client_tls_sslmode="require", client_tls_key_file="/etc/hostname", client_tls_cert_file="/etc/hostname"
    )
    run = pyinfra(data={**without_the_archive(), "pgbouncer_settings": broken})
    assert run.returncode == 1
    assert let_in(lab, "pool1")
    assert let_in(lab, "pool2")


def test_a_run_of_one_pooler_lets_go_for_that_one_alone_and_a_second_run_changes_nothing(lab: Lab) -> None:
    run = pyinfra("--limit", "pool1", data=without_the_archive())
    assert run.returncode == 0, run.text
    assert not let_in(lab, "pool1")
    assert let_in(lab, "pool2")
    deployed(without_the_archive())
    assert not let_in(lab, "pool2")
    assert deployed(without_the_archive()).totals["success"] == 0
