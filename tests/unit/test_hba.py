"""PostgreSQL takes the first rule that matches, and what the operator wrote in pg_hba.conf stays as it was."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolward import hba
from poolward.hba import BEGIN, END, block_of, first_match, lines, missing, rules_by_address, with_block
from poolward.observed import HbaRule

POOLER = "192.0.2.21"
HOST_MASK = "255.255.255.255"


def rule(
    line: int,
    address: str | None = POOLER,
    netmask: str | None = HOST_MASK,
    *,
    kind: str = "host",
    databases: tuple[str, ...] = ("all",),
    users: tuple[str, ...] = ("all",),
    method: str = "scram-sha-256",
    error: str | None = None,
) -> HbaRule:
    return HbaRule(line, kind, databases, users, address, netmask, method, error)


# (rules, TLS) → the line that meets the auth role's connection from the pooler to the database shop
CASES = {
    "its own rule": ([rule(1)], False, 1),
    "the first of two": ([rule(1, method="reject"), rule(2)], False, 1),
    "another address comes first": ([rule(1, "192.0.2.9"), rule(2)], False, 2),
    "a network": ([rule(1, "192.0.2.0", "255.255.255.0")], False, 1),
    "another network": ([rule(1, "192.0.3.0", "255.255.255.0")], False, None),
    "every address": ([rule(1, "all", None)], False, 1),
    "0.0.0.0/0": ([rule(1, "0.0.0.0", "0.0.0.0")], False, 1),
    "::/0 is no IPv4": ([rule(1, "::", "::")], False, None),
    "hostssl without TLS": ([rule(1, kind="hostssl"), rule(2)], False, 2),
    "hostssl with TLS": ([rule(1, kind="hostssl"), rule(2)], True, 1),
    "hostnossl with TLS": ([rule(1, kind="hostnossl"), rule(2)], True, 2),
    "local is no TCP": ([rule(1, None, None, kind="local")], False, None),
    "another database": ([rule(1, databases=("crm",)), rule(2, databases=("crm", "shop"))], False, 2),
    "sameuser": ([rule(1, databases=("sameuser",))], False, None),
    "a pattern of databases": ([rule(1, databases=("/^sh",))], False, 1),
    "a pattern of other databases": ([rule(1, databases=("/^cr",))], False, None),
    "replication is no database": ([rule(1, databases=("replication",))], False, None),
    "another role": ([rule(1, users=("app",)), rule(2, users=("app", "pgbouncer_auth"))], False, 2),
    "a pattern of roles": ([rule(1, users=("/^pgbouncer_",))], False, 1),
    "a broken line": ([rule(1, error="invalid IP mask"), rule(2)], False, 2),
    "a host name cannot be told": ([rule(1, "pool1.example", None)], False, None),
    "none": ([], False, None),
}


@pytest.mark.parametrize(("rules", "tls", "line"), CASES.values(), ids=CASES)
def test_first_match(rules, tls, line):
    found = first_match(rules, "shop", "pgbouncer_auth", POOLER, tls=tls)
    assert (found.line if found else None) == line


def test_ipv6_pooler():
    rules = [rule(1, "2001:db8::", "ffff:ffff::")]
    assert first_match(rules, "shop", "pgbouncer_auth", "2001:db8::21", tls=False) is rules[0]


def test_databases_a_pooler_cannot_reach():
    rules = [rule(1, databases=("crm",), method="reject"), rule(2, databases=("crm", "shop")), rule(3, kind="hostssl")]
    assert missing(rules, ["crm", "shop", "docs"], POOLER, "pgbouncer_auth") == ["crm"]
    assert missing(rules[:2], ["crm", "shop", "docs"], POOLER, "pgbouncer_auth") == ["crm", "docs"]


def test_lines_name_each_pooler_and_quote_every_database():
    wanted = {"pool2": ["shop"], "pool1": ["tracksolid-archive", 'odd"name', "all"]}
    text = lines(wanted, {"pool1": POOLER, "pool2": "2001:db8::22"})[1:]
    assert text == (
        f'host "all","odd""name","tracksolid-archive" all {POOLER}/32 scram-sha-256  # pool1',
        'host "shop" all 2001:db8::22/128 scram-sha-256  # pool2',
    )


def test_pooler_without_an_address_gets_no_line():
    assert len(lines({"pool1": ["shop"]}, {})) == 1


def test_the_block_keeps_lines_of_poolers_the_run_cannot_speak_for():
    today = (
        "# a note",
        'host "gone" all 192.0.2.1/32 scram-sha-256  # pool1',
        'host "b" all 192.0.2.2/32 scram-sha-256  # pool2',
        'host "b" all 192.0.2.9/32 scram-sha-256  # old',
    )
    # pool2 is outside of the run, and the inventory has no address of it
    block = block_of({"pool1": ["a"], "pool2": ["b"]}, {"pool1": "192.0.2.1"}, today, ["pool1"])
    assert block[1:] == (today[3], 'host "a" all 192.0.2.1/32 scram-sha-256  # pool1', today[2])
    # nor a pooler that this run has seen to have no database here any more
    assert block_of({"pool1": ["a"]}, {"pool1": "192.0.2.1"}, today, ["pool1", "pool2"]) == block[:3]
    assert block_of({}, {}, today[:2], ["pool1"]) == ()
    # whoever comes next finds nothing to change
    assert block_of({"pool1": ["a"], "pool2": ["b"]}, {"pool2": "192.0.2.2"}, block, ["pool2"]) == block


def test_rules_by_single_address_are_told_apart_from_networks_and_loopback():
    rules = [rule(1), rule(2, "192.0.2.0", "255.255.255.0"), rule(3, "127.0.0.1"), rule(4, None, None, kind="local")]
    assert rules_by_address(rules) == rules[:1]


own_line = st.sampled_from(["local all all peer", "host all all 0.0.0.0/0 reject", "", "# a note", BEGIN, END])
whole_file = st.lists(own_line, max_size=8).map(lambda found: "".join(f"{line}\n" for line in found))
block_lines = st.lists(st.sampled_from(["host a", "host b  # pool1", r"\1 \g<0>"]), max_size=3)
no_mark = own_line.filter(lambda line: line not in (BEGIN, END))


@given(whole_file, block_lines.filter(bool))
def test_writing_the_block_again_changes_nothing(text: str, block: list[str]):
    once = with_block(text, block)
    assert with_block(once, block) == once
    assert "\n".join((BEGIN, *block, END)) in once


@given(st.lists(no_mark, max_size=8), block_lines, block_lines.filter(bool))
def test_lines_around_the_block_stay(others: list[str], first: list[str], second: list[str]):
    text = "".join(f"{line}\n" for line in others)
    changed = with_block(with_block(text, first), second)
    begin, end = changed.index(f"{BEGIN}\n"), changed.index(f"{END}\n")
    assert changed[:begin].rstrip("\n") == text.rstrip("\n")
    assert changed[begin:end].splitlines()[1:] == second
    assert changed[end:] == f"{END}\n"
    assert with_block(changed, ()) == text.rstrip("\n") + "\n"


@given(st.lists(no_mark, max_size=8), st.lists(no_mark, max_size=8), block_lines)
def test_an_empty_block_leaves_only_the_lines_around_it(before: list[str], behind: list[str], block: list[str]):
    text = "".join(f"{line}\n" for line in before).rstrip("\n")
    whole = with_block(text, [*block, "host a"]) + "".join(f"{line}\n" for line in behind)
    without = with_block(whole, [])
    assert without.split("\n") == [*text.split("\n"), *behind, ""]
    assert with_block(without, []) == without


@pytest.mark.parametrize(
    "damaged", [f"{BEGIN}\nmine\n", f"{END}\nmine\n{BEGIN}\n", f"{BEGIN}\nmine\n{BEGIN}\nours\n{END}\n"]
)
def test_where_a_mark_was_deleted_no_line_of_the_operator_is_lost(damaged: str):
    assert "mine" in with_block(with_block(damaged, ["a"]), ["b"]).splitlines()


def test_rule_is_shown_on_one_line():
    assert hba.shown(rule(7, databases=("a", "b"))) == f"line 7: host a,b all {POOLER} scram-sha-256"


def test_a_whole_network_is_covered_by_a_rule_as_wide_and_by_no_narrower_one():
    assert (
        lines({"pool1": ["shop"]}, {"pool1": "172.18.0.0/16"})[1]
        == 'host "shop" all 172.18.0.0/16 scram-sha-256  # pool1'
    )
    wide, narrow = rule(1, "172.16.0.0", "255.240.0.0"), rule(1, "172.18.0.0", "255.255.255.0")
    assert missing([wide], ["shop"], "172.18.0.0/16", "pgbouncer_auth") == []
    assert missing([narrow], ["shop"], "172.18.0.0/16", "pgbouncer_auth") == ["shop"]
    assert missing([rule(1, "::", "::")], ["shop"], "172.18.0.0/16", "pgbouncer_auth") == ["shop"]
