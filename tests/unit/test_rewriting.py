"""The way back: what was kept where only the move changed the settings, and else the address alone."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest

from poolward import rewriting
from poolward.moves import Settings
from poolward.observed import ServiceState
from poolward.observed.composed import SettingsFile, Written
from poolward.service import Address, Service

WEB = Service("web", "app1", unit="web.service", env_file="/etc/web/env", url_variables=("URL",))
CONTAINED = replace(WEB, unit="", compose_file="/srv/c.yml", compose_service="web", env_file="/srv/web.env")
THROUGH = {"URL": Address("pool1", 6432, "shop")}
JANUARY = b"# db\nURL='postgresql://app:january@db1:5432/shop'\n"
MARCH = JANUARY.replace(b"january", b"march")
MARK = {"goal": "direct"}


def pooled(content: bytes) -> bytes:
    return content.replace(b"db1:5432", b"pool1:6432")


def file(content: bytes | None) -> SettingsFile | None:
    return None if content is None else SettingsFile("root", "root", "600", 1.0, content)


def beside(now: bytes | None, before: bytes | None, unfinished: bytes | None = None) -> ServiceState:
    state = ServiceState("/etc/web/env", None, file(now), file(before), MARK, "")
    return replace(state, unfinished=file(unfinished))


def composed(now: bytes, before: bytes | None, read: bytes | None = None) -> ServiceState:
    """The same where Compose reads the file; `read` is what it makes of it, as an environment file."""

    def values(content: bytes) -> dict[str, str]:
        return {"URL": content.split(b"'")[1].decode()}

    here, kept = file(now), file(before)
    assert here
    written = Written(here, kept, values(read or now))
    state = beside(None, None if before is None else f"URL={values(before)['URL']}\n".encode())
    return replace(state, settings=written.settings, written=written)


def taken_back(declared: Service, state: ServiceState) -> list[bytes | str]:
    printed = rewriting.taken_back(declared, state, THROUGH).splitlines()
    return [line if line == "-" else base64.b64decode(line) for line in printed]


def test_what_only_the_move_changed_comes_back_as_it_was_kept() -> None:
    assert taken_back(WEB, beside(pooled(JANUARY), JANUARY)) == [pooled(JANUARY), "-"]
    # Nobody's: the file is gone, or a write of either text broke off.
    assert taken_back(WEB, beside(None, JANUARY)) == ["-", "-"]
    for begun in (pooled(JANUARY), JANUARY):
        assert taken_back(WEB, beside(b"UR", JANUARY, begun)) == ["-", "-"]
    assert taken_back(CONTAINED, composed(pooled(JANUARY), JANUARY)) == [pooled(JANUARY), JANUARY]


def test_a_password_that_is_younger_than_what_was_kept_stays() -> None:
    for state in (beside(pooled(MARCH), JANUARY), beside(b"UR", JANUARY, pooled(MARCH))):
        there = "-" if state.unfinished else pooled(MARCH)
        assert taken_back(WEB, state) == [there, MARCH]
    assert taken_back(CONTAINED, composed(pooled(MARCH), JANUARY)) == [pooled(MARCH), MARCH]


def test_what_names_the_server_already_is_left_alone() -> None:
    for now in (JANUARY, MARCH):
        assert taken_back(WEB, beside(now, JANUARY)) == []
        assert taken_back(WEB, beside(now, None)) == []
    assert taken_back(CONTAINED, composed(JANUARY, JANUARY)) == taken_back(CONTAINED, composed(MARCH, JANUARY)) == []


@pytest.mark.parametrize(
    ("standing", "kept_again"), [("direct", True), ("mixed", False), ("pooled", False), ("unknown", False)]
)
def test_after_a_way_back_that_was_not_proved_the_next_move_keeps_what_is_there_now(
    standing: Settings, kept_again: bool
) -> None:
    for before in (JANUARY, None):
        for declared, state in ((WEB, beside(MARCH, before)), (CONTAINED, composed(MARCH, before))):
            assert rewriting.is_way_back(declared, state, standing, THROUGH) is kept_again
            proved = replace(state, unproved=None)
            assert rewriting.is_way_back(declared, proved, standing, THROUGH)


def test_what_a_move_wrote_is_not_kept_though_compose_reads_the_server_s_address_elsewhere() -> None:
    state = composed(pooled(JANUARY), JANUARY, read=JANUARY)
    assert not rewriting.is_way_back(CONTAINED, state, "direct", THROUGH)
    assert taken_back(CONTAINED, state) == [pooled(JANUARY), JANUARY]
