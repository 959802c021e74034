"""How PgBouncer runs on a host, and where PostgreSQL does: the only place that tells a package from a container.

What a pooler should be (`desired`) and what has to change (`apply`) are the same for both. A runtime says what differs:
the file that makes PgBouncer run there, who owns its configuration, and which library of shell functions does the work.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from poolward import templates

Action = Literal["none", "reload", "restart", "recreate", "start"]


@dataclass(frozen=True)
class Place:
    """Where a script runs: the shell libraries that know how things are done there, and their variables."""

    libraries: tuple[str, ...]
    variables: Mapping[str, str | int] = field(default_factory=dict)


@dataclass(frozen=True)
class Wanted:
    """What of a pooler's configuration the file that runs it depends on."""

    open_files_need: int
    open_files: int
    socket_dir: str
    logfile: str
    probe: Mapping[str, str | int]
    """How the probe logs in through the first entry, as libpq's keywords; no password."""
    serves: tuple[str, ...] = ()
    """The units on its own host that connect through it."""


@dataclass(frozen=True)
class Installation:
    """The script that brings PgBouncer to a host, with its variables and its standard input."""

    script: str
    said: str
    """What it does, to be said when it is done."""
    variables: Mapping[str, str] = field(default_factory=dict)
    stdin: str | None = None


@dataclass(frozen=True)
class Stale:
    """A process that is not what its file says, in words, and what mends that."""

    what: str
    is_now: str
    should_be: str
    action: Action


class Runtime(Protocol):
    """One way of running PgBouncer on a host."""

    @property
    def place(self) -> Place: ...

    @property
    def product(self) -> str:
        """What is installed, in a word."""

    @property
    def installation(self) -> Installation: ...

    @property
    def stale(self) -> Stale: ...

    @property
    def upgrade(self) -> Action:
        """What another version means for a running one."""

    @property
    def service(self) -> str:
        """What runs, as an operator calls it."""

    @property
    def service_file(self) -> str:
        """The path of the file that says how it runs."""

    @property
    def service_file_called(self) -> str: ...

    @property
    def owner(self) -> tuple[str, str, str]:
        """Owner, group and mode of the configuration, as `stat` prints them."""

    @property
    def probe_file(self) -> bool:
        """Whether a file with the probe's secret lies beside the configuration, for a health check."""

    @property
    def addressed_by_host(self) -> bool:
        """Whether its connections come from the host's own address."""

    @property
    def network_name(self) -> str:
        """How it is found by containers on its own network; empty where it is in none."""

    @property
    def by_hand(self) -> str:
        """How to put the previous configuration back when everything else failed."""

    def service_text(self, wanted: Wanted) -> str:
        """The text of that file."""

    def taken_by(self, found: str | None, wanted: str) -> Action:
        """What makes a changed file of that kind take effect."""


_PREVIOUS = (
    "By hand: cp -p /etc/pgbouncer/pgbouncer.ini.previous /etc/pgbouncer/pgbouncer.ini, the same with userlist.txt"
)


@dataclass(frozen=True)
class Package:
    """Debian's package, under systemd."""

    version: str | None = None
    """Debian's version of the package; None: whichever there is."""

    place = Place(("places/pooler", "places/pooler_package"))
    product = "package"
    stale = Stale("the unit", "changed on disk", "loaded", "restart")
    upgrade: Action = field(default="restart", init=False)
    service = "pgbouncer.service"
    service_file = "/etc/systemd/system/pgbouncer.service.d/poolward.conf"
    service_file_called = "the unit's drop-in"
    owner = ("root", "postgres", "640")
    probe_file = False
    addressed_by_host = True
    network_name = ""
    by_hand = f"{_PREVIOUS}, then systemctl restart pgbouncer."

    @property
    def installation(self) -> Installation:
        said = "installed with the service masked, and held: an upgrade would restart it unasked"
        return Installation("install", said, {"version": self.version or ""})

    def service_text(self, wanted: Wanted) -> str:
        """The systemd drop-in."""
        directories = (wanted.socket_dir, wanted.logfile.rpartition("/")[0])
        return templates.rendered(
            "pgbouncer.service.conf.j2",
            open_files_need=wanted.open_files_need,
            open_files=wanted.open_files,
            open_files_hard=max(65536, wanted.open_files),
            writable=[f"-{path}" for path in directories if path.startswith("/")],
            serves=wanted.serves,
        )

    def taken_by(self, found: str | None, wanted: str) -> Action:
        """Most of a unit counts from its next start on."""
        return "reload" if found and _needs_start(found) == _needs_start(wanted) else "restart"


@dataclass(frozen=True)
class Docker:
    """A container, by Compose, on a network that is there already."""

    network: str
    image: str | None = None
    """The operator's own; None: one that is built on the host from Debian's packages."""
    publish: tuple[str, ...] = ()
    """The ports it is published on, as Compose writes them; empty: reachable on its network alone."""
    version: str | None = None
    """The version of PgBouncer to build the image with."""

    product = "image"
    upgrade: Action = field(default="recreate", init=False)
    stale = Stale("the container", "of another image or Compose file", "as they are on the host", "recreate")
    service = "the container pgbouncer"
    service_file = "/etc/poolward/docker-compose.yml"
    service_file_called = "docker-compose.yml"
    owner = ("6432", "6432", "600")
    probe_file = True
    addressed_by_host = False
    network_name = "pgbouncer"
    by_hand = f"{_PREVIOUS}, then docker restart pgbouncer."

    @property
    def place(self) -> Place:
        variables = {"network": self.network, "image": self.image_tag, "published": "\n".join(self.publish)}
        return Place(("places/docker", "places/pooler", "places/pooler_docker"), variables)

    @property
    def installation(self) -> Installation:
        said = f"the image {self.image_tag} is on the host, and has PgBouncer and psql"
        return Installation("image", said, stdin=self.dockerfile)

    @property
    def dockerfile(self) -> str:
        """What the image is built from; empty for one of the operator's own."""
        return "" if self.image else templates.rendered("Dockerfile.j2", version=self.version, uid=self.owner[0])

    @property
    def image_tag(self) -> str:
        """The image's name: of one built here it tells what it was built from."""
        return self.image or f"poolward/pgbouncer:{_digest(self.dockerfile)}"

    def service_text(self, wanted: Wanted) -> str:
        """The Compose file; its own digest is a label in it, by which a container can be told from its file."""
        values = {
            "image": self.image_tag,
            "network": self.network,
            "publish": self.publish,
            "owner": ":".join(self.owner[:2]),
            "uid": self.owner[0],
            "wanted": wanted,
        }
        text = templates.rendered("docker-compose.yml.j2", **values, digest="")
        return templates.rendered("docker-compose.yml.j2", **values, digest=_digest(text))

    def taken_by(self, found: str | None, wanted: str) -> Action:  # noqa: ARG002 - any change means another container
        """A container is what it was created as."""
        return "recreate"


def postgresql(port: int, container: str | None, superuser: str | None = None) -> Place:
    """Where a PostgreSQL server is asked: on its host, or in a container there, as this superuser."""
    if container:
        variables: dict[str, str | int] = {"port": port, "container": container, "superuser": superuser or ""}
        return Place(("places/docker", "places/server_container"), variables)
    return Place(("places/server_host",), {"port": port})


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _needs_start(drop_in: str) -> list[str]:
    """The lines that count from the next start on: a limit can be raised, and an order is systemd's to know."""
    return [line for line in drop_in.splitlines() if not line.startswith(("LimitNOFILE=", "Before=", "#"))]
