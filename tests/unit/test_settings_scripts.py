"""The scripts that rewrite a service's settings and put them back, run here on files of a test's own."""

from __future__ import annotations

import base64
import json
import os
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from poolward import shell
from poolward.service import Service
from poolward.shell import SCRIPTS, services

DIRECT, POOLED = b"URL=postgresql://app@db1/shop\n", b"URL=postgresql://app@pool1:6432/shop\n"
Act = Callable[..., None]


@pytest.fixture
def act(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Act:
    """Runs one of the scripts about a service, with what Poolward keeps on a host in a folder of the test's."""
    scripts = tmp_path / "scripts"
    scripts.mkdir()
    for path in SCRIPTS.glob("*.sh"):
        text = path.read_text().replace("state_dir=/var/lib/poolward", f"state_dir={tmp_path}/state")
        (scripts / path.name).write_text(text)
    monkeypatch.setattr(shell, "SCRIPTS", scripts)

    def run(name: str, declared: Service, *lines: bytes | str, fails: str = "", **variables: str | bool) -> None:
        encoded = [line if isinstance(line, str) else base64.b64encode(line).decode() for line in lines]
        command = services.script(name, "do it", 20, declared, event="{}", **variables)
        given = "".join(f"{line}\n" for line in encoded)
        done = subprocess.run(["sh", "-c", command.text], input=given, capture_output=True, text=True, check=False)
        assert (done.returncode != 0, done.stderr.strip()) == (bool(fails), fails)

    return run


def switched(
    act: Act, declared: Service, *lines: bytes | str, keep: bool = True, again: bool = False, fails: str = ""
) -> None:
    act("switch_service", declared, *lines, mark=json.dumps({"goal": "pooled"}), keep=keep, again=again, fails=fails)


@pytest.fixture
def env_file(tmp_path: Path) -> Path:
    path = tmp_path / "etc" / "My App" / "env"
    path.parent.mkdir(parents=True)
    path.write_bytes(DIRECT)
    path.chmod(0o640)
    return path


def test_a_move_and_its_way_back_leave_the_file_as_it_was(act: Act, env_file: Path) -> None:
    declared = Service("web", "app1", env_file=str(env_file))
    switched(act, declared, DIRECT, POOLED)
    assert (env_file.read_bytes(), env_file.stat().st_mode & 0o777) == (POOLED, 0o640)
    assert sorted(os.listdir(env_file.parent)) == ["env", "env.before-poolward", "env.unproved-poolward"]
    act("take_back_service", declared, DIRECT, "-", fails="its settings were changed by somebody else meanwhile")
    act("take_back_service", declared, POOLED, "-")
    act("finish_service", declared, forget=True)
    assert (env_file.read_bytes(), env_file.stat().st_mode & 0o777) == (DIRECT, 0o640)
    assert os.listdir(env_file.parent) == ["env"]


ELSEWHERE = POOLED.replace(b"6432", b"6433")


@pytest.mark.parametrize("proved", [True, False], ids=["proved", "taken back"])
def test_a_move_to_another_pooler_leaves_the_way_back_of_the_first_one(act: Act, env_file: Path, proved: bool) -> None:
    declared = Service("web", "app1", env_file=str(env_file))
    switched(act, declared, DIRECT, POOLED)
    act("finish_service", declared, forget=False)
    switched(act, declared, POOLED, ELSEWHERE, again=True)
    if not proved:
        act("take_back_service", declared, ELSEWHERE, "-")
        assert env_file.read_bytes() == POOLED
    act("finish_service", declared, forget=False)
    assert sorted(os.listdir(env_file.parent)) == ["env", "env.before-poolward"]
    assert Path(f"{env_file}.before-poolward").read_bytes() == DIRECT
    act("finish_service", declared, forget=True)
    assert os.listdir(env_file.parent) == ["env"]


def test_what_an_interrupted_move_set_aside_is_no_way_back_for_a_later_first_move(act: Act, env_file: Path) -> None:
    declared = Service("web", "app1", env_file=str(env_file))
    Path(f"{env_file}.first-poolward").write_bytes(b"of last year")
    switched(act, declared, DIRECT, POOLED)
    act("finish_service", declared, forget=False)
    assert Path(f"{env_file}.before-poolward").read_bytes() == DIRECT
    assert sorted(os.listdir(env_file.parent)) == ["env", "env.before-poolward"]


@pytest.fixture(params=["a file", "commands"])
def held_in(request: pytest.FixtureRequest, env_file: Path) -> Service:
    """A service whose settings are that file's, or what commands print of it."""
    if request.param == "a file":
        return Service("web", "app1", env_file=str(env_file))
    written = ("sh", "-c", f"cat >{shlex.quote(str(env_file))}")
    return Service("web", "app1", read_command=("cat", str(env_file)), write_command=written)


@pytest.mark.parametrize("earlier", [False, True], ids=["a first move", "a move to another pooler"])
@pytest.mark.parametrize("writes", range(1, 5))
def test_a_loss_of_power_in_a_switch_leaves_a_way_back_to_where_it_was(
    act: Act, held_in: Service, env_file: Path, tmp_path: Path, writes: int, earlier: bool
) -> None:
    """All of a switch dies at once after so many of its writes are on the disk: each is followed by `sync`."""
    there, wanted = (POOLED, ELSEWHERE) if earlier else (DIRECT, POOLED)
    if earlier:
        switched(act, held_in, DIRECT, POOLED)
        act("finish_service", held_in, forget=False)
    at_first = left_by_moves(tmp_path)
    shell_functions, counted = tmp_path / "scripts" / "common.sh", tmp_path / "counted"
    whole = shell_functions.read_text()
    dies = f'sync() {{ command sync "$@"; echo >>{counted}; [ $(wc -l <{counted}) != {writes} ] || kill -KILL 0; }}\n'
    shell_functions.write_text(whole + dies)
    killed = "Killed\nit was killed: it took longer than 20 s, or the host ran out of memory"
    switched(act, held_in, there, wanted, again=earlier, fails=killed)
    shell_functions.write_text(whole)
    marked = any(path.name.endswith(("unproved", "unproved-poolward")) for path in left_by_moves(tmp_path))
    if marked and env_file.read_bytes() == wanted:
        act("take_back_service", held_in, wanted, "-")
    act("finish_service", held_in, forget=not earlier)
    assert env_file.read_bytes() == there
    assert left_by_moves(tmp_path) == at_first


def left_by_moves(tmp_path: Path) -> dict[Path, bytes]:
    """Every file of the host's but its journal and its lock."""
    folders = [folder for folder in (tmp_path / "etc", tmp_path / "state") if folder.exists()]
    files = [path for folder in folders for path in folder.rglob("*")]
    kept = [path for path in files if path.name not in ("journal.jsonl", "services.lock", "changed")]
    return {path: b"" if path.is_dir() else path.read_bytes() for path in kept}


def test_where_the_address_alone_goes_back_all_else_stays(act: Act, env_file: Path) -> None:
    declared = Service("web", "app1", env_file=str(env_file))
    switched(act, declared, DIRECT, POOLED)
    rotated = POOLED.replace(b"app@", b"app:new@")
    env_file.write_bytes(rotated)
    act("take_back_service", declared, rotated, DIRECT.replace(b"app@", b"app:new@"))
    assert env_file.read_bytes() == DIRECT.replace(b"app@", b"app:new@")
    assert sorted(os.listdir(env_file.parent)) == ["env", "env.unproved-poolward"]


def test_settings_of_a_command_go_back_whole_or_by_their_address(act: Act, tmp_path: Path) -> None:
    held = tmp_path / "held"
    written = ("sh", "-c", f"cat >{held}")
    declared = Service("web", "app1", read_command=("cat", str(held)), write_command=written)
    rotated = POOLED.replace(b"app@", b"app:new@")
    held.write_bytes(DIRECT)
    for there, wanted, left in ((POOLED, "-", DIRECT), (rotated, DIRECT + b"#", DIRECT + b"#"), (b"torn", "-", DIRECT)):
        held.write_bytes(DIRECT)
        switched(act, declared, DIRECT, POOLED)
        held.write_bytes(there)
        act("take_back_service", declared, "-" if there == b"torn" else there, wanted)
        assert held.read_bytes() == left
        act("finish_service", declared, forget=True)


def test_the_operator_s_commands_find_the_host_s_own_umask_and_language(act: Act, tmp_path: Path) -> None:
    held, told = tmp_path / "held", tmp_path / "told"
    noted = f"echo $(umask) $(pwd) ${{LC_ALL-none}} >>{told}"
    declared = Service(
        "web",
        "app1",
        read_command=("sh", "-c", f"{noted}; cat {held}"),
        write_command=("sh", "-c", f"{noted}; rm {held}; cat >{held}"),
    )
    held.write_bytes(DIRECT)
    before = os.umask(0o027)
    try:
        switched(act, declared, DIRECT, POOLED)
    finally:
        os.umask(before)
    assert set(told.read_text().splitlines()) == {"0027 / none"}
    assert held.stat().st_mode & 0o777 == 0o640
    kept = tmp_path / "state" / "services" / "web"
    assert {path.stat().st_mode & 0o777 for path in kept.iterdir()} == {0o600}, "what is ours stays root's alone"


def test_nothing_is_written_through_a_link_that_the_service_s_user_planted(act: Act, env_file: Path) -> None:
    victim = env_file.parent.parent / "shadow"
    victim.write_text("secret")
    names = ["env.poolward-new", "env.before-poolward.part", "env.unproved-poolward.part"]
    declared = Service("web", "app1", env_file=str(env_file))
    for now, wanted in ((DIRECT, POOLED), (POOLED, DIRECT)):
        for name in names:
            link = env_file.parent / name
            link.unlink(missing_ok=True)
            link.symlink_to(victim)
        switched(act, declared, now, wanted)
        assert env_file.read_bytes() == wanted
        assert victim.read_text() == "secret"
        assert not env_file.is_symlink()
        assert not (env_file.parent / "env.before-poolward").is_symlink()


def test_what_an_interrupted_write_left_is_in_nobody_s_way(act: Act, env_file: Path) -> None:
    left = env_file.parent / "env.poolward-new"
    left.mkdir()
    (left / "new").write_bytes(b"half")
    switched(act, Service("web", "app1", env_file=str(env_file)), DIRECT, POOLED)
    assert env_file.read_bytes() == POOLED
    assert not left.exists()


def test_half_a_line_in_the_host_s_journal_hides_no_other(act: Act, env_file: Path, tmp_path: Path) -> None:
    declared = Service("web", "app1", env_file=str(env_file))
    kept = tmp_path / "state" / "journal.jsonl"
    for left in (b"", b'{"at": 1', b'{"at": 1}\n'):
        kept.parent.mkdir(exist_ok=True)
        kept.write_bytes(left)
        act("finish_service", declared, forget=False)
        act("finish_service", declared, forget=False)
        assert kept.read_bytes().split(b"\n") == [*left.splitlines(), b"{}", b"{}", b""]


def test_what_finishes_it_by_hand_does_so_behind_a_link_and_in_any_folder(act: Act, env_file: Path) -> None:
    link = env_file.parent.parent / "link"
    link.symlink_to(env_file)
    declared = Service("web", "app1", env_file=str(link), unit=r"w\x2dx.service")
    switched(act, declared, DIRECT, POOLED)
    back, restart, forget = services.by_hand(declared, str(env_file))
    assert services.settings_of(declared, str(env_file)).before == f"{env_file}.before-poolward"
    for command in (back, forget):
        subprocess.run(["sh", "-ec", command], check=True)
    assert link.is_symlink()
    assert env_file.read_bytes() == DIRECT
    assert os.listdir(env_file.parent) == ["env"]
    printed = subprocess.run(["sh", "-c", f"systemctl() {{ printf '%s ' \"$@\"; }}; {restart}"], capture_output=True)
    assert printed.stdout == rb"restart w\x2dx.service "
