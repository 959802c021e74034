"""The direct path of what has moved: closed where nobody needs it, and open again before anybody goes back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.topology import Lab, host_named
from tests.lab import cutover_support as support
from tests.lab.cutover_support import cutover, direct, pooled, rollback, sockets
from tests.lab.support import Run, on, psql, pyinfra

pytestmark = pytest.mark.usefixtures("as_declared", "as_before")

ALONE, SHARED = "grafana", "worker"
"""One has its role to itself on its host; the role of the other has three services there that stay direct."""
ROLE = support.service_named(ALONE).role


def close(*names: str) -> Run:
    return pyinfra("--json", data={"only": ",".join(names)} if names else {}, deploy="deploy/close.py")


def open_again(*names: str) -> Run:
    return pyinfra("--json", data={"only": ",".join(names)} if names else {}, deploy="deploy/open.py")


def hba(lab: Lab) -> str:
    return on(lab, "db1", "cat /etc/postgresql/17/main/pg_hba.conf")


def lets_in(lab: Lab) -> bool:
    """Whether PostgreSQL comes to ask for a password on the service's old path, or turns it away before."""
    said = on(lab, "app2", f"""
        exec 3<>/dev/tcp/{lab.address(host_named("db1"))}/5432
        body=$(printf '\\0\\3\\0\\0user\\0{ROLE}\\0database\\0postgres\\0\\0' | od -An -v -tx1 | tr -d ' \\n')
        size=$(printf '%08x' $((${{#body}} / 2 + 4)))
        printf "$(printf '%s%s' "$size" "$body" | sed 's/../\\\\x&/g')" >&3
        timeout 5 head -c 1 <&3
    """)  # fmt: skip
    assert said in ("R", "E")
    return said == "R"


@pytest.fixture
def as_before(lab: Lab) -> Iterator[None]:
    """Every service direct, and pg_hba.conf without our lines; afterwards again."""
    assert rollback().returncode == 0
    before = hba(lab)
    yield
    assert rollback().returncode == 0
    assert open_again().returncode == 0
    assert hba(lab) == before


def test_closed_where_nobody_needs_it_and_open_again_before_anybody_goes_back(lab: Lab):
    too_early = close()
    assert too_early.returncode == 1
    assert "No service goes through a pooler." in too_early.text

    opened = len(sockets(lab, ALONE, 5432))
    assert cutover(ALONE, SHARED).returncode == 0
    assert lets_in(lab)
    run = close()
    assert run.returncode == 0, run.text
    app1, app2 = (lab.address(host_named(name)) for name in ("app1", "app2"))
    assert f"closed: {ROLE} from {app2} to db1 ({ALONE})" in run.text
    assert f"stays open: postgres from {app1} to db1 ({SHARED}): " in run.text
    assert "is direct, with the same role" in run.text
    assert not lets_in(lab)
    assert (direct(lab, ALONE), pooled(lab, ALONE, "pool2")) == (0, opened)
    assert hba(lab).splitlines()[2:4] == [
        f'host all "{ROLE}" {app2}/32 reject  # {ALONE}',
        "# END poolward: closed direct paths",
    ]
    assert psql(lab, "SELECT count(*) FROM pg_hba_file_rules WHERE error IS NOT NULL") == "0"

    again = close()
    assert (again.returncode, again.totals["success"]) == (0, 0), again.text
    assert "Nothing is to be closed" in again.text

    opening = open_again(ALONE)
    assert opening.returncode == 0, opening.text
    assert lets_in(lab)

    assert close().returncode == 0
    assert not lets_in(lab)
    assert rollback(ALONE).returncode == 0
    assert lets_in(lab)
    assert direct(lab, ALONE) == opened
