"""The lab's hosts: containers with systemd as PID 1, brought up in parallel, each configured once."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lab import apps, database, dock, engine
from lab.docker import docker, file_script, shell
from lab.progress import step
from lab.state import ReadyHost, Secrets, State
from lab.topology import HOSTS, Host, Lab, Service
from lab.wait import until
from poolward.errors import CommandFailed, PoolwardError

BOOT_TIMEOUT = 90.0
CAP_SYS_RESOURCE = 24

# What systemd needs, short of --privileged: that fails where the machine itself lacks a capability.
SYSTEMD_OPTIONS = (
    "--cap-add=ALL", "--cap-drop=SYS_MODULE", "--cap-drop=SYS_TIME",
    "--security-opt=seccomp=unconfined", "--security-opt=systempaths=unconfined", "--security-opt=apparmor=unconfined",
    "--cgroupns=private", "--tmpfs=/run", "--tmpfs=/run/lock", "--tmpfs=/tmp:exec",
    "--sysctl=net.ipv6.conf.all.disable_ipv6=0", "--shm-size=256m", "--restart=unless-stopped",
)  # fmt: skip


def up(lab: Lab, hosts: Sequence[Host], images: dict[str, str]) -> bool:
    """Bring these hosts up; those that are complete and of the current image stay as they are. True if any was made."""
    state = State(lab)
    ready = state.hosts()
    running = containers(lab)
    complete = {
        host.name
        for host in hosts
        if host.name in ready
        and ready[host.name].container in running
        and (ready[host.name].image, ready[host.name].address) == (images[host.name], lab.address(host))
    }
    missing = [host for host in hosts if host.name not in complete]
    stopped = [name for name in complete if not running[ready[name].container]]
    if not missing and not stopped:
        return False

    secrets = state.secrets()
    engine.room_for_many_hosts()
    ensure_network(lab)
    with ThreadPoolExecutor(len(HOSTS)) as pool:
        booting = [pool.submit(_restart, lab, name) for name in stopped]
        made = {host.name: pool.submit(_make, lab, host, images[host.name], secrets) for host in missing}
        for restarted in booting:
            restarted.result()
        ready |= {name: future.result() for name, future in made.items()}
        # the services come last: they want their database
        list(pool.map(lambda host: _start_services(lab, host, secrets), [h for h in missing if h.group == "apps"]))
    state.record_hosts(ready)
    return True


def down(lab: Lab) -> None:
    """Leave nothing: containers, network, keys and passwords."""
    found = containers(lab)
    if found:
        with step(f"removing {len(found)} hosts"):
            docker("rm", "--force", "--volumes", *found)
    if docker("network", "ls", "--quiet", "--filter", f"label={lab.label}"):
        docker("network", "rm", lab.network)
    forget(lab)


def forget(lab: Lab) -> None:
    shutil.rmtree(lab.directory, ignore_errors=True)
    if lab.directory.parent.exists() and not any(lab.directory.parent.iterdir()):
        lab.directory.parent.rmdir()


def containers(lab: Lab) -> dict[str, bool]:
    """The lab's containers by id, and whether each runs."""
    listing = docker("ps", "--all", "--no-trunc", "--filter", f"label={lab.label}", "--format", "{{.ID}} {{.State}}")
    return {line.split()[0]: line.split()[1] == "running" for line in listing.splitlines()}


def other_labs(lab: Lab) -> list[str]:
    """The names of the other labs on this machine, whoever brought them up: they share the engine and the images."""
    key = lab.label.split("=")[0]
    listing = docker("ps", "--all", "--filter", f"label={key}", "--format", f'{{{{.Label "{key}"}}}}')
    return sorted(set(listing.split()) - {lab.name})


def set_flag(lab: Lab, flag: str, on: bool) -> None:
    """Put or remove /run/lab/<flag> on the hosts of services, where these look for it."""
    command = ["touch"] if on else ["rm", "-f"]
    for host in HOSTS:
        if host.group in ("apps", "docker") and host.name in State(lab).hosts():
            docker("exec", lab.container(host.name), *command, f"/run/lab/{flag}")


def health(lab: Lab, services: Sequence[Service]) -> dict[str, str]:
    """What the services of one host say about themselves, as JSON lines by name; empty where one does not answer."""
    script = "import sys, urllib.request, urllib.error\n"
    script += "for port in sys.stdin.read().split():\n"
    script += "    try: print(urllib.request.urlopen(f'http://127.0.0.1:{port}/health', timeout=3).read().decode())\n"
    script += "    except urllib.error.HTTPError as answer: print(answer.read().decode())\n"
    script += "    except OSError: print()\n"
    ports = " ".join(str(service.port) for service in services)
    container = lab.container(services[0].host)
    answers = docker("exec", "-i", container, "python3", "-c", script, stdin=ports).splitlines()
    return {service.name: answer for service, answer in zip(services, answers, strict=True)}


def ensure_network(lab: Lab) -> None:
    if docker("network", "ls", "--quiet", "--filter", f"label={lab.label}"):
        return
    try:
        docker("network", "create", f"--subnet={lab.subnet}", f"--label={lab.label}", lab.network)
    except CommandFailed as error:
        raise PoolwardError(
            f"The network {lab.subnet} could not be made: {error.message}", "Choose another one with LAB_SUBNET."
        ) from error


def run_options(lab: Lab, host: Host) -> tuple[str, ...]:
    """What `docker run` needs for a host of the lab, beside its name and image."""
    names = [f"--add-host={other.name}:{lab.address(other)}" for other in HOSTS if other != host]
    place = (f"--label={lab.label}", f"--network={lab.network}", f"--ip={lab.address(host)}")
    nested = dock.RUN_OPTIONS if host.group == "docker" else ()
    return (*SYSTEMD_OPTIONS, *_machine_options(), *nested, *place, *names)


def account_script(host: Host, secrets: Secrets) -> str:
    """The sudo user: login by key; sudo without a password, but on one host."""
    keys = file_script("/home/operator/.ssh/authorized_keys", secrets.public_key + "\n", "0600", "operator:operator")
    rule = "operator ALL=(ALL:ALL) ALL" if host.sudo_password else "operator ALL=(ALL:ALL) NOPASSWD: ALL"
    script = "install -d -m 0700 -o operator -g operator /home/operator/.ssh\n" + keys
    script += file_script("/etc/sudoers.d/operator", rule + "\n", "0440")
    if host.sudo_password:
        script += f"printf '%s\\n' {shlex.quote(f'operator:{secrets.sudo_password}')} | chpasswd\n"
    return script


def _make(lab: Lab, host: Host, image: str, secrets: Secrets) -> ReadyHost:
    container, address = lab.container(host.name), lab.address(host)
    with step(f"{host.name} ({host.suite}, {address})"):
        docker("rm", "--force", "--volumes", container)
        named = (f"--name={container}", f"--hostname={host.name}")
        identity = docker("run", "--detach", *named, *run_options(lab, host), image).strip()
        _wait_for_boot(container)
        shell(container, account_script(host, secrets))
        if host.group == "databases":
            database.seed(lab, host.name, secrets.roles[host.name])
        if host.group == "docker":
            dock.install(lab, host, secrets.roles[host.name])
        host_key = shell(container, "cut -d' ' -f1,2 /etc/ssh/ssh_host_ed25519_key.pub").strip()
    return ReadyHost(identity, image, address, host_key)


def _start_services(lab: Lab, host: Host, secrets: Secrets) -> None:
    with step(f"services on {host.name}"):
        apps.install(lab, host.name, secrets.roles["db1"])


def _restart(lab: Lab, name: str) -> None:
    with step(f"starting {name} again"):
        docker("start", lab.container(name))
        _wait_for_boot(lab.container(name))


def _wait_for_boot(container: str) -> None:
    def booted() -> bool:
        waiting = "systemctl is-system-running --wait 2>&1 || true"
        answer = docker("exec", container, "sh", "-c", waiting, timeout=BOOT_TIMEOUT).strip()
        if answer == "degraded":
            failed = docker("exec", container, "systemctl", "--failed", "--plain", "--no-legend").strip()
            raise PoolwardError(f"{container} booted with failed units: {failed}")
        return answer == "running"

    until(f"{container} has booted", booted, BOOT_TIMEOUT)


def _machine_options() -> tuple[str, ...]:
    """A capability this machine does not have cannot be given."""
    status = Path("/proc/self/status")
    if not status.exists():
        return ()
    bounding = next(int(line.split()[1], 16) for line in status.read_text().splitlines() if line.startswith("CapBnd"))
    return () if bounding >> CAP_SYS_RESOURCE & 1 else ("--cap-drop=SYS_RESOURCE",)
