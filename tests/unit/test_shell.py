"""Values reach a real shell as they are, and every script is one that shell can read."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolward import shell
from poolward.shell import SCRIPTS, Command, script
from poolward.shell.psql import service_file

words = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)
SHELLS = [name for name in ("dash", "bash", "busybox") if shutil.which(name)]


def run(command: Command) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["sh", "-c", command.text], capture_output=True, timeout=30, check=False)


@pytest.fixture(scope="module")
def own_script(tmp_path_factory: pytest.TempPathFactory):
    """Puts a script of a test's own beside the real ones."""
    folder = tmp_path_factory.mktemp("scripts")
    shutil.copy(SCRIPTS / "common.sh", folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shell, "SCRIPTS", folder)
        yield lambda name, text: (folder / f"{name}.sh").write_text(text)


@settings(max_examples=60, deadline=None)
@given(value=words)
def test_value_arrives_as_it_is(own_script, value: str):
    own_script("print", 'printf %s "$value"')
    assert run(script("print", "print", 10, value=value)).stdout == value.encode()


@settings(max_examples=30, deadline=None)
@given(items=st.lists(words.filter(lambda item: "\n" not in item and item), max_size=5))
def test_list_arrives_as_one_line_per_item(own_script, items: list[str]):
    own_script("loop", "printf '%s\\n' \"$items\" | while IFS= read -r item; do printf '<%s>' \"$item\"; done")
    assert run(script("loop", "loop", 10, items=items)).stdout.decode() == "".join(
        f"<{item}>" for item in items or [""]
    )


def test_item_with_a_line_break_is_refused():
    with pytest.raises(ValueError, match="line break"):
        script("login", "log in", 5, services=["a\nb"], role="x")


@pytest.mark.parametrize(("flag", "said"), [(True, b"yes"), (False, b"")])
def test_flag_is_a_word_or_nothing(own_script, flag, said):
    own_script("print", 'printf %s "$value"')
    assert run(script("print", "print", 10, value=flag)).stdout == said


def test_failure_and_unset_variable_end_the_script(own_script):
    own_script("fails", "false\necho on")
    own_script("unset", 'echo "$nothing"\necho on')
    for name in ("fails", "unset"):
        done = run(script(name, "fail", 10))
        assert done.returncode != 0
        assert b"on" not in done.stdout


def test_script_is_ended_at_its_bound(own_script):
    own_script("hang", "echo why >&2; sleep 30")
    done = run(script("hang", "hang", 1))
    assert (done.returncode, done.stderr) == (124, b"why\nit took longer than 1 s\n")


def test_script_that_was_killed_says_so_and_one_that_failed_says_nothing_more(own_script):
    own_script("killed", "kill -KILL $$")
    own_script("fails", "exit 3")
    assert b"it was killed: it took longer than 9 s, or" in run(script("killed", "be killed", 9)).stderr
    assert (run(script("fails", "fail", 9)).returncode, run(script("fails", "fail", 9)).stderr) == (3, b"")


def test_files_are_private_and_the_language_is_fixed(own_script):
    own_script("surroundings", 'umask; pwd; echo "$LC_ALL"')
    assert run(script("surroundings", "look", 10)).stdout.decode().split() == ["0077", "/", "C.UTF-8"]


def test_fail_says_why_on_standard_error(own_script):
    own_script("refuse", 'fail "not like this"')
    done = run(script("refuse", "refuse", 10))
    assert (done.returncode, done.stdout, done.stderr) == (1, b"", b"not like this\n")


@pytest.mark.parametrize("name", sorted(str(path.relative_to(SCRIPTS)) for path in SCRIPTS.rglob("*.sh")))
def test_script_is_readable_to_every_shell(name: str):
    for program in SHELLS:
        command = ["busybox", "sh"] if program == "busybox" else [program]
        assert subprocess.run([*command, "-n", str(SCRIPTS / name)], check=False).returncode == 0


@pytest.mark.parametrize("value", [" x", "x ", "x\t", "a\nb", "a\rb", "\n"])
def test_service_file_refuses_what_it_cannot_hold(value: str):
    with pytest.raises(ValueError, match="password") as caught:
        service_file({"probe": {"password": value}})
    assert repr(value) not in str(caught.value)


@given(st.dictionaries(st.sampled_from(["host", "dbname", "password"]), words, min_size=1))
def test_service_file_holds_a_value_or_refuses_it(keys: dict[str, str]):
    try:
        text = service_file({"probe": keys})
    except ValueError:
        assert any(value != value.strip() or "\n" in value or "\r" in value for value in keys.values())
        return
    lines = text.split("\n")
    assert lines[0] == "[probe]"
    assert dict(line.split("=", 1) for line in lines[1:] if line) == keys


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Path]:
    """A `docker exec` that starts nothing the first so many times, as runc does now and then, and notes what it got."""

    def failing(times: int) -> Path:
        got = tmp_path / "got"
        got.mkdir()
        (tmp_path / "docker").write_text(
            f"#!/bin/sh\nn=$(ls {got} | wc -l)\ncat >{got}/$n\n[ $n -ge {times} ] || exit 126\n"
            "printf '%s ' \"$@\"\nexit 3\n"
        )
        (tmp_path / "docker").chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        return got

    return failing


def into_container(stdin: str) -> subprocess.CompletedProcess[str]:
    library = (SCRIPTS / "places" / "docker.sh").read_text()
    command = ["sh", "-euc", f"{library}\ninto_container db psql"]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=30, check=False)


@pytest.mark.parametrize("stdin", ["SELECT 1;\nSELECT 2;\n", ""])
def test_a_process_the_engine_did_not_start_is_asked_for_again_with_its_input(engine, stdin: str):
    got = engine(2)
    asked = into_container(stdin)
    assert (asked.returncode, asked.stdout.split()) == (3, ["exec", "-i", "db", "psql"])
    assert [path.read_text() for path in sorted(got.iterdir())] == [stdin] * 3


def test_an_engine_that_starts_nothing_is_named(engine):
    got = engine(9)
    asked = into_container("")
    assert asked.returncode == 126
    assert "started no process" in asked.stderr
    assert len(list(got.iterdir())) == 3


def test_a_password_is_masked_and_a_name_that_ends_in_the_word_is_not():
    text = (SCRIPTS / "observe_pooler.sh").read_text()
    mask = next(line for line in text.splitlines() if "sed -E" in line and "password" in line).split("sed -E ")[1]
    masked = mask.split(' "$file"')[0]
    said = "onepassword = host=a\nb = host=c password=canary user=d\n;password='can''ary'\n\tpassword = canary\n"
    done = subprocess.run(["sh", "-c", f"sed -E {masked}"], input=said, capture_output=True, text=True, check=True)
    assert done.stdout == "onepassword = host=a\nb = host=c password=*** user=d\n;password=***\n\tpassword = ***\n"
