"""The Docker engine the lab runs on: the one that runs, else Debian's, installed and started here."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from lab.progress import say, step
from lab.wait import until
from poolward.errors import PoolwardError

PACKAGES = ("docker.io", "iptables", "mmdebstrap", "iproute2", "ca-certificates")
LOG = Path("/var/log/poolward-lab-dockerd.log")
PID_FILES = (Path("/var/run/docker.pid"), Path("/var/run/docker/containerd/containerd.pid"))
START_TIMEOUT = 60.0
INOTIFY_INSTANCES = Path("/proc/sys/fs/inotify/max_user_instances")
INOTIFY_WANTED = 1024


def ensure() -> None:
    """Return when a Docker engine answers."""
    if answers():
        return
    if not can_install():
        raise PoolwardError(
            "The lab needs a running Docker engine that this user may use, or root on Debian to install one.",
            "Start Docker, or run this as root on Debian; `docker info` shows what is in the way.",
        )
    if shutil.which("dockerd") is None:
        install(*PACKAGES)
    with step("starting the Docker engine"):
        _start()


def room_for_many_hosts() -> None:
    """Every systemd takes five or more inotify instances, and Linux gives all containers together 128 by default."""
    if not INOTIFY_INSTANCES.exists() or int(INOTIFY_INSTANCES.read_text()) >= INOTIFY_WANTED:
        return
    if os.access(INOTIFY_INSTANCES, os.W_OK):
        say(f"Setting fs.inotify.max_user_instances to {INOTIFY_WANTED} until the next boot")
        INOTIFY_INSTANCES.write_text(str(INOTIFY_WANTED))


def answers() -> bool:
    if shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", "version"], capture_output=True, check=False, timeout=30).returncode == 0


def can_install() -> bool:
    return os.geteuid() == 0 and Path("/etc/debian_version").exists() and shutil.which("apt-get") is not None


def install(*packages: str) -> None:
    """Install Debian packages on this machine, saying so first."""
    say(f"Installing on this machine, with apt-get: {' '.join(packages)}")
    with step("apt-get install"):
        _apt_get("update")
        _apt_get("install", "--yes", "--no-install-recommends", *packages)


def _apt_get(*arguments: str) -> None:
    result = subprocess.run(
        ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=120", *arguments],
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        raise PoolwardError(f"apt-get {arguments[0]} failed: {result.stderr.strip()[-1000:]}")


def _start() -> None:
    if Path("/run/systemd/system").exists():
        subprocess.run(["systemctl", "start", "docker"], check=False)
    elif not _starting():
        for stale in PID_FILES:
            stale.unlink(missing_ok=True)
        with LOG.open("ab") as log:
            # a session of its own: the engine outlives the terminal or the job that called us
            subprocess.Popen(["dockerd"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    until(f"the Docker engine answers (its log: {LOG})", answers, START_TIMEOUT)


def _starting() -> bool:
    """Whether the pid file names a living engine: after a crash it names a zombie (no command line) or another one."""
    try:
        pid = int(PID_FILES[0].read_text())
        return b"dockerd" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError):
        return False
