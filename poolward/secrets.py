"""The pooler's own two secrets: where they come from, and whether PostgreSQL's stored verifier agrees with them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from pyinfra.api import Host, Inventory, State

from poolward import auth, remote, scram, shell
from poolward.errors import PoolwardError
from poolward.fleet import PROBE_ROLE, Server
from poolward.observed import sections

_COMMAND_TIMEOUT = 30
_kept: WeakKeyDictionary[State, dict[str, Secrets]] = WeakKeyDictionary()


@dataclass(frozen=True)
class Secrets:
    """Both secrets of one server and PostgreSQL's verifiers of them; none of it is ever printed."""

    auth: str | None = field(repr=False)
    probe: str | None = field(repr=False)
    auth_verifier: str = field(repr=False)
    probe_verifier: str = field(repr=False)

    @property
    def complete(self) -> bool:
        return self.auth is not None and self.probe is not None

    @property
    def auth_matches(self) -> bool:
        """Whether PostgreSQL's stored verifier was made from this secret."""
        return self.auth is not None and scram.matches(self.auth_verifier, self.auth)

    @property
    def probe_matches(self) -> bool:
        return self.probe is not None and scram.matches(self.probe_verifier, self.probe)

    @property
    def match(self) -> bool:
        """Whether PostgreSQL has both."""
        return self.auth_matches and self.probe_matches


def read(host: Host, server: Server, *, create: bool = False) -> Secrets:
    """Read both secrets (making the missing ones on the database host if `create`) and the stored verifiers.

    Raises PoolwardError when a secret cannot be used as it is, without repeating it.
    """
    names = [server.auth_role, PROBE_ROLE]
    command = shell.script("secrets", "read the pooler's own secrets", 30, port=server.port, names=names, create=create)
    found = sections(remote.must(host, command).splitlines())
    kept = {name: "\n".join(line.removeprefix("|") for line in found[f"secret {name}"]) or None for name in names}
    own = _usable({**kept, **_supplied(server)}, server)
    verifiers = {name: "".join(found[f"verifier {name}"]) for name in names}
    return Secrets(own[server.auth_role], own[PROBE_ROLE], verifiers[server.auth_role], verifiers[PROBE_ROLE])


def keep(host: Host, server: Server, own: Secrets) -> None:
    """Keep, for the rest of this run, the secrets a server was seen to agree with: its poolers need not ask again."""
    if host.state.is_executing:
        _kept.setdefault(host.state, {})[server.name] = own


def of_servers(inventory: Inventory, servers: Iterable[Server]) -> tuple[dict[str, str], dict[str, str]]:
    """The auth and the probe secrets by server name: kept in this run, else read on each server's own host.

    Raises PoolwardError when one is missing.
    """
    auth_secrets: dict[str, str] = {}
    probe_secrets: dict[str, str] = {}
    for server in servers:
        auth_secret, probe_secret = _of_server(inventory, server)
        if auth_secret is None or probe_secret is None:
            raise PoolwardError(f"The pooler's own secrets are missing on {server.name}.", "Run the whole deploy.")
        auth_secrets[server.name], probe_secrets[server.name] = auth_secret, probe_secret
    return auth_secrets, probe_secrets


def _of_server(inventory: Inventory, server: Server) -> tuple[str | None, str | None]:
    if server.dsn:
        supplied = _usable(_supplied(server), server)
        return supplied.get(server.auth_role), supplied.get(PROBE_ROLE)
    own = _kept.get(inventory.state, {}).get(server.name) or read(inventory.get_host(server.name), server)
    return own.auth, own.probe


def _supplied(server: Server) -> dict[str, str | None]:
    """What the operator's own commands print, by role; they run here, and no host is needed."""
    supplied: dict[str, str | None] = {}
    if server.auth_secret_command:
        supplied[server.auth_role] = _from_command(server.auth_secret_command, "pgbouncer_auth_secret_command")
    if server.probe_secret_command:
        supplied[PROBE_ROLE] = _from_command(server.probe_secret_command, "pgbouncer_probe_secret_command")
    return supplied


def _usable(own: dict[str, str | None], server: Server) -> dict[str, str | None]:
    for name, secret in own.items():
        if secret is not None and (problem := auth.secret_problem(secret)):
            raise PoolwardError(f"The secret of {name} for {server.name} cannot be used: {problem}.", "Give another.")
    return own


def _from_command(command: Sequence[str], knob: str) -> str:
    """Run the operator's own command here; its output goes nowhere but into the secret."""
    hint = "Run it by hand to see what it says."
    try:
        done = subprocess.run(command, capture_output=True, timeout=_COMMAND_TIMEOUT, check=False, text=True)
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError) as error:
        # `from None`: the original exception carries the command's output
        raise PoolwardError(f"{knob} ({command[0]}) could not be run: {type(error).__name__}.", hint) from None
    if done.returncode != 0:
        raise PoolwardError(f"{knob} ({command[0]}) ended with exit code {done.returncode}.", hint)
    return done.stdout.removesuffix("\n")
