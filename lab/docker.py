"""The docker command line, as functions. Whatever is secret goes in by stdin: arguments can be read by every user."""

from __future__ import annotations

import os
import shlex
import subprocess
from functools import cache

from poolward.errors import CommandFailed

_NOT_STARTED = 126
"""`docker exec` exits so, without a word, when the engine could not start the process: nothing of it has run."""
_ATTEMPTS = 3


def docker(*arguments: str, stdin: str | None = None, timeout: float = 120) -> str:
    """Run one docker command and return its standard output."""
    for _ in range(_ATTEMPTS):
        try:
            result = subprocess.run(
                ["docker", *arguments],
                input=stdin,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise CommandFailed(f"docker {arguments[0]} did not end within {timeout:.0f} s.") from error
        if (result.returncode, result.stderr) != (_NOT_STARTED, ""):
            break
    if result.returncode:
        raise CommandFailed(f"docker {' '.join(arguments[:4])} failed: {_tail(result.stderr or result.stdout)}")
    return result.stdout


def build(tag: str, dockerfile: str, context: str, labels: dict[str, str], arguments: dict[str, str]) -> None:
    """Build one image; the legacy builder serves where the buildx plugin is not installed."""
    options = [part for name, value in labels.items() for part in ("--label", f"{name}={value}")]
    options += [part for name, value in arguments.items() for part in ("--build-arg", f"{name}={value}")]
    result = subprocess.run(
        ["docker", "build", "--tag", tag, "--file", dockerfile, *options, context],
        env={**os.environ, "DOCKER_BUILDKIT": "1" if _has_buildx() else "0"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if result.returncode:
        raise CommandFailed(f"The image {tag} could not be built:\n{_tail(result.stdout)}")


def shell(container: str, script: str, *, timeout: float = 120) -> str:
    """Run a bash script as root in a container; it travels by stdin, so it may hold secrets."""
    return docker("exec", "-i", container, "bash", "-euo", "pipefail", "-s", stdin=script, timeout=timeout)


def file_script(path: str, content: str, mode: str = "0644", owner: str = "root:root") -> str:
    """The lines of a shell script that create a file: first its mode, then its content (`printf` is a builtin)."""
    user, group = owner.split(":")
    where = shlex.quote(path)
    return f"install -D -m {mode} -o {user} -g {group} /dev/null {where}\nprintf %s {shlex.quote(content)} > {where}\n"


@cache
def _has_buildx() -> bool:
    return subprocess.run(["docker", "buildx", "version"], capture_output=True, check=False).returncode == 0


def _tail(output: str, lines: int = 15) -> str:
    return "\n".join(output.strip().splitlines()[-lines:])
