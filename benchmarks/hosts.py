"""The benchmark's own lab, beside yours: db1, pool1, pool2, and on request more poolers that are like pool1."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lab import engine, hosts, images
from lab.docker import build, docker, shell
from lab.inventory import lab_hosts
from lab.progress import step
from lab.state import State
from lab.topology import Group, Host, Lab, host_named
from poolward.errors import PoolwardError

HERE = Path(__file__).parent
LAB = Lab.named("bench", "10.89.0.0/24")
LIGHT = tuple(Host(f"light{number:02}", "poolers", "trixie", 100 + number, optional=True) for number in range(1, 100))
HOSTS = (host_named("db1"), host_named("pool1"), host_named("pool2"), *LIGHT)


@contextmanager
def running(count: int) -> Iterator[Sequence[Host]]:
    """This many hosts, booted; removed at the end, whatever happens."""
    wanted = HOSTS[: max(count, 2)]
    os.environ.update(LAB_NAME=LAB.name, LAB_SUBNET=LAB.subnet)
    engine.ensure()
    if hosts.containers(LAB):
        raise PoolwardError(
            "Another benchmark runs on this machine, or one was killed.",
            "Wait for it, or remove its hosts: LAB_NAME=bench python -m lab down",
        )
    try:
        hosts.up(LAB, wanted, _with_python(images.ensure(wanted)))
        yield wanted
    finally:
        hosts.down(LAB)


def stop_recording(names: Sequence[str]) -> None:
    """The lab's sshd writes down every command; Ansible sends many more of them, so that would count against it."""
    for name in names:
        shell(LAB.container(name), "sed -i '/^Match User/,$d' /etc/ssh/sshd_config.d/lab.conf\nsystemctl reload ssh\n")


def inventory(group: Group) -> list[tuple[str, dict[str, Any]]]:
    """The hosts of a group that are up, for benchmarks/fleet.py."""
    ready = State(LAB).hosts()
    return lab_hosts(group, [host for host in HOSTS if host.name in ready])


def _with_python(tags: dict[str, str]) -> dict[str, str]:
    present = set(docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}").split())
    made = {tag: tag.replace("poolward-lab-", "poolward-bench-") for tag in tags.values()}
    for parent in sorted(made):
        if made[parent] not in present:
            with step(f"building the image {made[parent]}: the same with Python, for Ansible"):
                dockerfile = str(HERE / "Dockerfile")
                build(made[parent], dockerfile, str(HERE / "ansible"), {images.LABEL: "bench"}, {"PARENT": parent})
    return {name: made[tag] for name, tag in tags.items()}
