"""Is it still as it was meant? What should be against what is, as findings an operator can read. Pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass

from poolward import advice, apply, auth, hba, settings, vulnerabilities
from poolward.desired import PoolerConfig
from poolward.errors import Problem
from poolward.fleet import PROBE_ROLE, Fleet, Pooler, Server
from poolward.observed import HbaRule, PoolerState, ServerState
from poolward.settings import Version

_EXEC_START = "/usr/sbin/pgbouncer /etc/pgbouncer/pgbouncer.ini"
_STARTS = re.compile(r"argv\[\]=(.*?) ;")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: where, what, and what is wrong with it (empty: nothing)."""

    where: str
    what: str
    wrong: tuple[str, ...] = ()
    note: str = ""
    """Said even where nothing is wrong."""

    @property
    def ok(self) -> bool:
        return not self.wrong


def pooler_findings(config: PoolerConfig, state: PoolerState, *, userlist: Sequence[apply.Difference]) -> list[Finding]:
    """Everything about one pooler host but the login; `userlist`: the secrets in it that are not as wanted."""
    name, console = config.pooler.name, state.console
    running = list(apply.running_differences(config, console)) if console else []
    service = apply.service_differences(config, state)
    files = [*apply.unfinished(state), *apply.file_differences(config, state), *userlist]
    listeners = ", ".join(state.listeners) or "none"
    return [
        Finding(name, config.runtime.product, tuple(_package_problems(config, state)), _package_note(state)),
        Finding(name, "service", (*_told(service), *_unit_problems(config, state)), state.unit["ActiveState"]),
        Finding(name, "files", _told(files), _files_note(config)),
        Finding(name, "running values", _told(running) if console else ("the console does not answer",)),
        *_health(name, state),
        Finding(name, "listeners", tuple(_listener_problems(config, state)), listeners),
        Finding(name, "open files", tuple(_open_files_problems(config, state)), _limits(config, state)),
        Finding(name, "databases in use", tuple(_paused(state))),
    ]


def login_finding(pooler: str, problem: str | None) -> Finding:
    """The login proof: None is a login that succeeded through every entry."""
    return Finding(pooler, "login through every entry", (problem,) if problem else ())


def user_finding(pooler: Pooler, problems: Iterable[Problem]) -> Finding:
    """The users of a pooler's userlist.txt and of its console, by what PostgreSQL says of their roles."""
    wrong = tuple(f"{problem.where.partition(': ')[2]}: {problem.message}" for problem in problems)
    return Finding(pooler.name, "users in userlist.txt", wrong, ", ".join(user.name for user in pooler.auth_users))


def server_findings(
    fleet: Fleet,
    server: Server,
    state: ServerState,
    versions: Mapping[str, Version | None],
    addresses: Mapping[str, str],
    *,
    secrets_match: bool | None,
) -> list[Finding]:
    """Everything that was seen of the database side of one server; `versions` by pooler.

    `secrets_match` None means that the secrets were out of reach.
    """
    lookups = auth.databases_with_lookup(fleet, server, versions)
    setup = auth.differences(server, state, lookups)
    if secrets_match is False:
        setup.append("a stored password is not the one the poolers have")
    looked_into = {name: inside for name in lookups if (inside := state.databases[name].inside)}
    rights = [f"{name}: {right}" for name, inside in looked_into.items() for right in inside.other_rights]
    nothing_else = tuple(f"it also holds rights on or owns {right}" for right in rights)
    looked = f"in {', '.join(looked_into) or 'no database'}"
    by_query = [
        Finding(server.name, "roles and lookup function", tuple(setup), looked),
        Finding(server.name, f"{server.auth_role} has nothing else", nothing_else),
    ]
    by_file = [Finding(server.name, f"role {PROBE_ROLE}", tuple(setup), auth.left_behind(server, state))]
    found = [
        *(by_query if server.auth_query else by_file),
        Finding(server.name, "primary", ("it is a standby now",) if state.in_recovery else ()),
    ]
    if state.hba is not None:
        wrong = _hba_problems(fleet, server, state, state.hba, versions, addresses)
        found.append(Finding(server.name, "pg_hba.conf", tuple(wrong)))
    return found


def released_findings(
    fleet: Fleet, server: Server, state: ServerState, addresses: Mapping[str, str], poolers: Iterable[str]
) -> list[Finding]:
    """Of a server that these poolers have no entry on: it lets them in no more."""
    return [Finding(server.name, "pg_hba.conf", tuple(_block_problems(fleet, server, state, poolers, addresses)))]


def _package_problems(config: PoolerConfig, state: PoolerState) -> Iterable[str]:
    if not state.installed:
        yield "PgBouncer is not installed"
        return
    if config.pooler.package_version not in (None, state.package_version):
        yield f"pgbouncer_version: {state.package_version} → {config.pooler.package_version}"
    if not state.held:
        yield "the package is not held: an unattended upgrade would restart PgBouncer"


def _package_note(state: PoolerState) -> str:
    """Names a newer version, so that the hold hides no security fix; that it exists is no drift."""
    note = f"PgBouncer {state.package_version or '-'}"
    if state.candidate and state.package_version and state.candidate != state.package_version:
        note += f"; apt offers {state.candidate}: read its changelog, set pgbouncer_version to it and deploy"
    known = vulnerabilities.sentence(state.package_version) if state.package_version else ""
    return f"{note}. {known}" if known else note


def _files_note(config: PoolerConfig) -> str:
    """No version has a SHOW HBA (seen up to 1.26), so what the process made of that file cannot be asked."""
    return "as declared; pg_hba.conf as a file, for PgBouncer does not show its rules" if config.hba else ""


def _unit_problems(config: PoolerConfig, state: PoolerState) -> Iterable[str]:
    """What the next start would do, where somebody overrides the unit in a file of their own. A deploy leaves it be."""
    if state.unit["LoadState"] != "loaded":
        return
    others = [path for path in state.unit["DropInPaths"].split() if path != config.runtime.service_file]
    if state.unit["FragmentPath"].startswith("/etc/"):
        others.append(state.unit["FragmentPath"])
    by = f" ({', '.join(others)}: remove it, then systemctl daemon-reload)" if others else ""
    starts = _STARTS.search(state.unit["ExecStart"])
    if starts is None or starts[1] != _EXEC_START:
        yield f"ExecStart: {starts[1] if starts else 'none'} → {_EXEC_START}{by}"
    limit = state.unit["LimitNOFILESoft"]
    if others and limit.isdecimal() and int(limit) < config.open_files_need:
        yield f"LimitNOFILE at the next start: {limit} → {config.open_files}{by}"


def _health(name: str, state: PoolerState) -> Iterable[Finding]:
    """What a container's own check says; the service of a package has none."""
    if health := state.unit.get("Health"):
        wrong = ("docker inspect pgbouncer shows its last answers",) if health == "unhealthy" else ()
        yield Finding(name, "health check", wrong, health)


def _told(differences: Iterable[apply.Difference]) -> tuple[str, ...]:
    return tuple(map(str, differences))


def _listener_problems(config: PoolerConfig, state: PoolerState) -> Iterable[str]:
    # 1.18 runs on when it could not bind an address: it merely warns, so the unit looks healthy.
    wanted = str(config.port)
    bound = {
        listener.rpartition(":")[0].strip("[]")
        for listener in state.listeners
        if not listener.startswith("/") and listener.rpartition(":")[2] == wanted
    }
    listens = settings.text(settings.known("pgbouncer", "listen_addr"), config.settings.get("listen_addr", ""))
    addresses = [one.strip() for one in listens.split(",") if one.strip()]
    if addresses and not bound:
        yield f"nothing listens on TCP port {wanted}"
    elif silent := [one for one in addresses if not _is_bound(one, bound)]:
        yield f"nothing listens on {', '.join(silent)} port {wanted}"
    if not any(listener.endswith(f"/.s.PGSQL.{wanted}") for listener in state.listeners):
        yield f"there is no Unix socket for port {wanted}"


def _is_bound(address: str, bound: Set[str]) -> bool:
    """Whether somebody listens there; of a name nobody here knows which address it has."""
    try:
        version = ipaddress.ip_address(address).version
    except ValueError:
        return True
    return bool(bound & {address, "*", "0.0.0.0" if version == 4 else "::"})


def _open_files_problems(config: PoolerConfig, state: PoolerState) -> Iterable[str]:
    if state.open_files is None:
        yield "no process runs"
    elif state.open_files[0] < config.open_files_need:
        allowed, need = state.open_files[0], config.open_files_need
        yield f"the process may open {allowed} files and may need {need}: new clients would hang"


def _limits(config: PoolerConfig, state: PoolerState) -> str:
    return f"{state.open_files[0] if state.open_files else 0} allowed, {config.open_files_need} needed at worst"


def _paused(state: PoolerState) -> Iterable[str]:
    for row in state.console.databases if state.console else ():
        for condition, verb in (("paused", "RESUME"), ("disabled", "ENABLE")):
            if row.get(condition) == "1":
                yield f"{row['name']} is {condition}: somebody said so on the console; {verb} {row['name']} ends it"


def _hba_problems(
    fleet: Fleet,
    server: Server,
    state: ServerState,
    rules: Sequence[HbaRule],
    poolers: Collection[str],
    addresses: Mapping[str, str],
) -> Iterable[str]:
    if state.hba_loaded is False:
        yield "the file was changed after PostgreSQL last read it"
    yield from _block_problems(fleet, server, state, poolers, addresses)
    for name in poolers:
        databases: Sequence[str] = advice.databases_of(fleet, server, name)
        if name in addresses and advice.serves(fleet, server, name):
            lacking = hba.missing(rules, databases, addresses[name], server.own_roles[0])
            if lacking:
                yield f"no rule lets {name} ({addresses[name]}) into {', '.join(lacking)}"


def _block_problems(
    fleet: Fleet, server: Server, state: ServerState, poolers: Iterable[str], addresses: Mapping[str, str]
) -> Iterable[str]:
    if server.manage_hba and state.hba_block is not None:
        wanted = hba.block_of(advice.databases_by_pooler(fleet, server), addresses, state.hba_block, poolers)
        missing, stray = hba.block_differences(wanted, state.hba_block)
        yield from (f"Poolward's block lacks the line: {line}" for line in missing)
        yield from (f"Poolward's block has a line that no pooler needs: {line}" for line in stray)
