"""The lab's images, built from Debian packages: no registry is needed, one is used where it answers."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lab import engine
from lab.docker import build, docker
from lab.progress import step
from lab.topology import Host
from poolward.errors import CommandFailed, PoolwardError

CONTEXT = Path(__file__).parent
LABEL = "org.poolward.lab.image"
# What each image is made of, relative to this directory; a change of any byte makes a new tag.
INPUTS = {
    "host": ("images/host",),
    "database": ("images/database",),
    "pooler": ("images/pooler",),
    "app": ("images/app", "services"),
    # with what runs on it
    "dock": ("images/dock", "images/timescaledb", "images/service", "images/database/lab.conf", "services"),
    "timescaledb": ("images/timescaledb", "images/database/lab.conf"),
    "service": ("images/service", "services"),
}
# The images of the containers on a Docker host, made from the same base as the hosts.
ON_DOCKER_HOSTS = ("timescaledb", "service")
APT_OPTIONS = ("Acquire::Check-Valid-Until", "Acquire::Check-Date", "Acquire::http::Proxy", "Acquire::https::Proxy")


def ensure(hosts: Iterable[Host]) -> dict[str, str]:
    """Build what is missing and return the image of every host, by the host's name."""
    hosts = tuple(hosts)
    present = set(docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}").split())
    suites = sorted({host.suite for host in hosts})
    kinds = [sorted({host.image for host in hosts if host.suite == suite}) for suite in suites]
    with ThreadPoolExecutor() as pool:
        built = pool.map(lambda suite, kinds: _suite_images(suite, kinds, present), suites, kinds)
        tags = {key: tag for images in built for key, tag in images.items()}
    return {host.name: tags[host.suite, host.image] for host in hosts}


def on_docker_hosts(suite: str) -> dict[str, str]:
    """The images a Docker host needs, by the name it knows them by: the plain base, and what is built on it."""
    base = f"debian:{suite}-slim"
    return {base: base} | {f"lab/{kind}": _tag(kind, suite, base) for kind in ON_DOCKER_HOSTS}


def remove() -> None:
    """Remove every image the lab has built, of this and of earlier versions, and the bases it made itself."""
    for image in docker("image", "ls", "--quiet", "--filter", f"label={LABEL}").split():
        docker("image", "rm", "--force", image)


def _suite_images(suite: str, kinds: Sequence[str], present: set[str]) -> dict[tuple[str, str], str]:
    base = f"debian:{suite}-slim"
    if base not in present:
        _make_base(suite, base)
    if "dock" in kinds:
        for kind in ON_DOCKER_HOSTS:
            _image(kind, suite, base, present)
    parent = _image("host", suite, base, present)
    with ThreadPoolExecutor(len(kinds)) as pool:
        tags = pool.map(lambda kind: _image(kind, suite, parent, present), kinds)
        return {(suite, kind): tag for kind, tag in zip(kinds, tags, strict=True)}


def _image(kind: str, suite: str, parent: str, present: set[str]) -> str:
    tag = _tag(kind, suite, parent)
    if tag not in present:
        with step(f"building the image {tag}"):
            dockerfile = str(CONTEXT / "images" / kind / "Dockerfile")
            build(tag, dockerfile, str(CONTEXT), labels={LABEL: kind}, arguments={"PARENT": parent})
    return tag


def _tag(kind: str, suite: str, parent: str) -> str:
    return f"poolward-lab-{kind}:{suite}-{_fingerprint(kind, parent)}"


def _fingerprint(kind: str, parent: str) -> str:
    digest = hashlib.sha256(docker("image", "inspect", "--format", "{{.Id}}", parent).encode())
    for directory in INPUTS[kind]:
        top = CONTEXT / directory
        for path in sorted(top.rglob("*") if top.is_dir() else (top,)):
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(f"{path.relative_to(CONTEXT)} {path.stat().st_mode:o}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:10]


def _make_base(suite: str, tag: str) -> None:
    try:
        with step(f"pulling {tag}"):
            docker("pull", "--quiet", tag, timeout=300)
            return
    except CommandFailed:
        pass
    if not engine.can_install():
        raise PoolwardError(
            f"{tag} can neither be pulled nor built here.",
            "Pull it where a registry answers, or run as root on Debian.",
        )
    if shutil.which("mmdebstrap") is None:
        engine.install("mmdebstrap")
    with step(f"no registry answers: making {tag} from Debian packages"), tempfile.TemporaryDirectory() as directory:
        # a file first: in a pipe, a failed mmdebstrap would import an empty image with exit status 0
        archive = Path(directory) / "root.tar"
        options = [f"--aptopt={option}" for option in _machine_apt_options()]
        _run("mmdebstrap", "--quiet", "--variant=minbase", "--dpkgopt=force-unsafe-io", "--include=ca-certificates",
             *options, suite, str(archive), *_machine_sources(suite))  # fmt: skip
        docker("import", "--change", 'CMD ["/bin/bash"]', "--change", f"LABEL {LABEL}=base", str(archive), tag)


def _machine_sources(suite: str) -> list[str]:
    """The mirrors this machine itself uses, for another suite."""
    own = _own_suite()
    form = "$(REPO_URI) $(RELEASE)"
    targets = set(_run("apt-get", "indextargets", "--format", form, "Created-By: Packages").splitlines())
    pairs = sorted(tuple(target.split(" ", 1)) for target in targets)
    lines = [
        f"deb {uri} {suite}{release.removeprefix(own)} main"
        for uri, release in pairs
        if release in (own, f"{own}-updates", f"{own}-security")
    ]
    if not lines:
        raise PoolwardError("This machine's apt knows no Debian mirror.", "Add one to /etc/apt/sources.list.d.")
    return lines


def _own_suite() -> str:
    release = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    return release.get("VERSION_CODENAME", "").strip('"')


def _machine_apt_options() -> list[str]:
    dump = _run("apt-config", "dump").splitlines()
    return [line.removesuffix(";") for line in dump if line.startswith(APT_OPTIONS) and not line.endswith('"";')]


def _run(*command: str) -> str:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise CommandFailed(f"{command[0]} failed: {result.stderr.strip()[-1000:]}")
    return result.stdout
