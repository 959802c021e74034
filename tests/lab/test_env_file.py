"""What systemd itself makes of an environment file, on Debian 13 and 12: a transient unit that prints what it found."""

from __future__ import annotations

import base64
import random

import pytest

from lab.topology import Lab
from poolward.env_file import variables
from poolward.errors import PoolwardError
from tests.lab.support import on
from tests.unit.test_env_file import AWKWARD, REFUSED

TOKENS = [*(b"A= B= A= C=1 ' \" ' \" \\ \\ # ; = $ x \xc3\xa9 \xff".split()), b"\n", b"\n", b"\r\n", b" ", b"export "]


def environments(lab: Lab, host: str, files: list[bytes]) -> list[dict[str, str] | None]:
    """Per file what a service started with it finds of it; None where systemd does not start the service."""
    given = "\n".join(f"|{base64.b64encode(content).decode()}" for content in files)
    answers = on(
        lab,
        host,
        f"""
        file=/run/poolward-env-test
        while read -r line; do
            base64 -d <<<"${{line#|}}" > $file
            systemd-run --quiet --collect --wait --pipe -p EnvironmentFile=$file /usr/bin/env -0 </dev/null \\
                2>/dev/null | base64 -w0 || true
            echo
        done <<'EOF'
{given}
EOF
        rm $file
        """,
        timeout=300,
    ).splitlines()
    found = [_environment(base64.b64decode(answer)) for answer in answers]
    of_its_own = found[0] or {}
    return [one and {name: one[name] for name in one if name not in of_its_own} for one in found]


def _environment(printed: bytes) -> dict[str, str] | None:
    pairs = (item.decode().partition("=") for item in printed.split(b"\0")[:-1])
    return {name: value for name, _, value in pairs} or None


@pytest.mark.parametrize("host", ["app1", "pool2"])
def test_systemd_finds_what_we_find(lab: Lab, host: str) -> None:
    dice = random.Random(f"{host}: the same files in every run")
    thrown = [b"".join(dice.choices(TOKENS, k=dice.randint(4, 24))) for _ in range(40)]
    files = [b"", *AWKWARD, *thrown]
    for content, found in zip(files, environments(lab, host, files), strict=True):
        try:
            assert variables(content) == (found or {}), content
        except PoolwardError:
            assert found is None or content in REFUSED or b"\\" in content, content


@pytest.mark.parametrize("host", ["app1", "pool2"])
def test_systemd_starts_nothing_with_a_file_we_refuse(lab: Lab, host: str) -> None:
    refused = [content for content, reason in REFUSED.items() if reason != "before 254"]
    assert environments(lab, host, [b"", *refused])[1:] == [None] * len(refused)


def test_a_comment_that_ends_in_a_backslash_means_two_things(lab: Lab) -> None:
    """Why it is refused: Debian 13 and Debian 12 do not agree on it."""
    content = next(content for content, reason in REFUSED.items() if reason == "before 254")
    assert [environments(lab, host, [b"", content])[1] for host in ("app1", "pool2")] == [{"A": "1"}, {}]
