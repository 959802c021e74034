"""Environment files read and changed. What is written here of systemd is asked of systemd in tests/lab."""

from __future__ import annotations

import re

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from poolward.env_file import replaced, variables
from poolward.errors import PoolwardError

# Every file with what a service started by systemd finds of it.
AWKWARD: dict[bytes, dict[str, str]] = {
    b"": {},
    b"A=1": {"A": "1"},
    b"A=1\nB=2\n": {"A": "1", "B": "2"},
    b"A=1\r\nB='2'\r\n": {"A": "1", "B": "2"},
    b"A=1\rB=2": {"A": "1", "B": "2"},
    b"A=1\nB=2\nA=3\n": {"A": "3", "B": "2"},
    b"\n\n \t\nA=1\n\n": {"A": "1"},
    b"# A=1\n;A=2\n  # A=3\nB=4\n": {"B": "4"},
    b"A=1 # none\n": {"A": "1 # none"},
    b"A=#1;2\n": {"A": "#1;2"},
    b"A=\nB= \nC=''\nD=\"\"\n": {"A": "", "B": "", "C": "", "D": ""},
    b"  A  =  1 2  \n": {"A": "1 2"},
    b"A=' 1 '\nB=\" 2 \"\n": {"A": " 1 ", "B": " 2 "},
    b"A='1'\"2\" 3\n": {"A": "123"},
    b"A=1'2'\"3\"\n": {"A": "1'2'\"3\""},
    b"A='it\\'\nB='x\n'\n": {"A": "it\\", "B": "x\n"},
    b'A="\\"\\\\\\`\\$\\n\\x"\n': {"A": '"\\`$\\n\\x'},
    b'A="one\\\ntwo\nthree"\n': {"A": "onetwo\nthree"},
    b"A=one\\\n  two\nB=\\a\\'\\ \n": {"A": "one  two", "B": "a' "},
    b"A=one\\\r\nB=2\n": {"A": "one", "B": "2"},
    b"A=$HOME ${B} %h `id`\n": {"A": "$HOME ${B} %h `id`"},
    b"export A=1\n1B=2\nC-D=3\n=4\nE\nF=5\n": {"F": "5"},
    b"# caf\xe9\nA=\xc3\xa9\n": {"A": "é"},
    b"\xef\xbb\xbfA=1\nB=2\n": {"B": "2"},
    b"A='open\nB=1": {"A": "open\nB=1"},
    b"A=1\\": {"A": "1"},
    b"A==1=2\n": {"A": "=1=2"},
    b"DATABASE_URL=postgresql://u:p%40$\\\\@db1:5432/d?options=-c%20x\n": {
        "DATABASE_URL": "postgresql://u:p%40$\\@db1:5432/d?options=-c%20x"
    },
}
# Files that systemd does not take, or not every systemd alike.
REFUSED = {
    b"A=\xe9\n": "Line 1 is not UTF-8",
    b"B=1\n\xe9=2\n": "Line 2 is not UTF-8",
    b"A=1\0\n": "NUL",
    b"# comment\\\nA=1\n": "before 254",
}


@pytest.mark.parametrize("content", AWKWARD, ids=repr)
def test_what_a_service_finds(content: bytes) -> None:
    assert variables(content) == AWKWARD[content]


@pytest.mark.parametrize("content", REFUSED, ids=repr)
def test_a_file_that_systemd_does_not_take_is_refused(content: bytes) -> None:
    with pytest.raises(PoolwardError, match=REFUSED[content]):
        variables(content)
    with pytest.raises(PoolwardError, match=REFUSED[content]):
        replaced(content, {"A": "2"})


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"# \xe9 db1\nA=db1\r\nB=db1", b"# \xe9 db1\nA=pool1\r\nB=db1"),
        (b"A=x\nA='db1'\n", b"A=x\nA='pool1'\n"),
        (b'A = "db1"  \n', b'A = "pool1"  \n'),
        (b"A=db1  \n", b"A=pool1  \n"),
        (b"A='d'\"b\"1\n", b"A='pool1'\n"),
        (b"A=d\\\nb1\n", b"A=pool1\n"),
        (b"A=\n", b"A=pool1\n"),
        (b"A=''\n", b"A='pool1'\n"),
        (b"B=1", b"B=1\nA=pool1\n"),
        (b"B=1\r\n", b"B=1\r\nA=pool1\r\n"),
        (b"", b"A=pool1\n"),
        (b"export A=db1\n", b"export A=db1\nA=pool1\n"),
    ],
)
def test_changed_in_place(content: bytes, expected: bytes) -> None:
    assert replaced(content, {"A": "pool1"}) == expected


@pytest.mark.parametrize(
    ("content", "value", "expected"),
    [
        (b"A='x'", "it's", b'A="it\'s"'),
        (b"A=x", " x", b"A=\\ x"),
        (b"A=x", 'a"$`\\', b'A=a\\"$`\\\\'),
        (b'A="x"', 'a"$`\\', b'A="a\\"\\$\\`\\\\"'),
        (b"A=x", "a\nb", b'A="a\nb"'),
        (b"", "a b", b'A="a b"\n'),
    ],
)
def test_a_value_that_needs_it_is_quoted(content: bytes, value: str, expected: bytes) -> None:
    assert replaced(content, {"A": value}) == expected


def test_several_variables_change_together_and_one_that_has_its_value_stays() -> None:
    content = b"HOST=db1\nPORT='5432'\nNAME=\"shop\"\n"
    changes = {"HOST": "pool1", "PORT": "6432", "NAME": "shop"}
    assert replaced(content, changes) == b"HOST=pool1\nPORT='6432'\nNAME=\"shop\"\n"


@pytest.mark.parametrize("content", [b"B='open", b'B="open\\', b"B=1\n# open\\"], ids=repr)
def test_a_file_that_takes_no_further_line_is_refused(content: bytes) -> None:
    with pytest.raises(PoolwardError):
        replaced(content, {"A": "1"})


# How a value may be spelt between what is before and behind it.
spellings = st.sampled_from(
    [b"", b"x", b"'", b'"', b"\\'", b'\\"', b"\\\\", b"\\ ", b"\\\n", b"$", b"%40", b"@", b"\xc3\xa9", b"#", b"/", b"`"]
)  # fmt: skip
lines = st.sampled_from(
    [b"# db1\n", b"\n", b"; \xff\r\n", b"B=db1\n", b"C='db1'\r\n", b' D = "db1"  \n', b"export A=db1\n"]
)
around = st.lists(lines, max_size=3).map(b"".join)


@settings(max_examples=300, deadline=None)
@given(around, st.lists(spellings, max_size=5), st.lists(spellings, max_size=5), around)
def test_a_host_within_a_value_is_changed_and_back_and_no_other_byte_is(
    before: bytes, head: list[bytes], tail: list[bytes], after: bytes
) -> None:
    raw_head, raw_tail = b"".join(head), b"".join(tail)
    content = before + b"A=" + raw_head + b"host-one" + raw_tail + b"\n" + after
    assume(
        not (b"\xff" in after and re.search(rb"['\"]", raw_head + raw_tail))
    )  # within open quotes no systemd takes it
    found = variables(content)
    assume(found.get("A", "").count("host-one") == 1)
    value = found["A"].replace("host-one", "2nd")
    changed = replaced(content, {"A": value})
    assert changed == before + b"A=" + raw_head + b"2nd" + raw_tail + b"\n" + after
    assert variables(changed) == {**found, "A": value}
    assert replaced(changed, {"A": found["A"]}) == content


any_value = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)


@settings(max_examples=300, deadline=None)
@given(around, st.sampled_from([b"", b"A=\n", b"A='x'\n", b'A = "x" \n', b"A=x \r\n"]), around, any_value)
def test_any_value_can_be_given(before: bytes, line: bytes, after: bytes, value: str) -> None:
    content = before + line + after
    changed = replaced(content, {"A": value})
    assert variables(changed) == {**variables(content), "A": value}
    if line and value != variables(content)["A"]:
        assert changed.startswith(before + re.match(rb"A *= *", line)[0])
        assert changed.endswith(re.search(rb"\s*$", line)[0] + after)


def test_no_value_is_said_when_a_file_is_refused() -> None:
    with pytest.raises(PoolwardError) as caught:
        replaced(b"A=canary\nB='canary", {"C": "canary"})
    assert "canary" not in f"{caught.value} {caught.value!r}"
