"""What has to happen on a pooler: what differs from what it should be, and how that takes effect."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from poolward import edits, settings
from poolward.desired import HBA, PROBE_FILE, USERLIST, PoolerConfig
from poolward.errors import PoolwardError
from poolward.fleet import LOOKED_UP_SHOWN_SINCE
from poolward.observed import Console, PoolerState
from poolward.render import userlist_txt
from poolward.reparse import parse_userlist
from poolward.runtime import Action
from poolward.settings import Version

_SEVERITY: dict[Action, int] = {"none": 0, "reload": 1, "restart": 2, "recreate": 3, "start": 4}

# What SHOW CONFIG says of the process itself, not of what was configured.
_OF_THE_PROCESS = frozenset({"conffile", "service_name"})
_USER_KEYS = ("pool_size", "reserve_pool_size", "pool_mode", "max_user_connections", "max_user_client_connections")
# SHOW USERS repeats these of the row above where a role has none of its own (pgbouncer#1489; admin.c of 1.23 to 1.25).
_REPEATED, _REPEATED_UNTIL = frozenset({"pool_size", "reserve_pool_size"}), Version(1, 26)
# A connected client has shown who it is to the server it logged in to; what PgBouncer kept of that opens no other, even
# where the password is the same. A standby has the very verifiers of its primary.
_CLOSES = {
    "client_idle_timeout": "clients idle",
    "idle_transaction_timeout": "clients idle in a transaction",
    "query_timeout": "clients in a query",
}
"""What a reload ends at once, though it cuts nobody else."""
_CLOSING = "a reload; {what} for longer than {then} s are closed"
_MOVED = "a reload; clients of {name} have to log in again, unless the new server is a copy of the old one"
_SERVES_ANY_DATABASE = re.compile(r"^\s*\*\s*=", re.MULTILINE)
_MISSING = ("missing", "as declared")
_INI_FILE = "/etc/pgbouncer/pgbouncer.ini"
_STAGING = "/etc/pgbouncer/.poolward"


@dataclass(frozen=True)
class Difference:
    """One thing that is not as it should be: what, how it is, how it should be, and what mending it takes."""

    what: str
    is_now: str
    should_be: str
    action: Action
    cuts: str = ""
    """Who is cut off by it, where the action itself would not."""

    def __str__(self) -> str:
        return f"{self.what}: {self.is_now} → {self.should_be}"

    @property
    def effect(self) -> str:
        """What mending it means for the clients of this pooler."""
        return self.cuts or EFFECT[self.action]


EFFECT: dict[Action, str] = {
    "none": "nothing to do",
    "reload": "a reload; clients stay",
    "restart": "a restart, which cuts every client of this pooler once",
    "recreate": "a new container, which cuts every client of this pooler once",
    "start": "a start; nothing runs there yet",
}
"""What each action means for the clients of a pooler."""


def effect_of(differences: Sequence[Difference]) -> str:
    """What mending all of them means for the clients of this pooler."""
    action = action_for(differences)
    cuts = list(dict.fromkeys(difference.cuts for difference in differences if difference.cuts))
    return "; ".join(cuts) if cuts and action == "reload" else EFFECT[action]


def action_for(differences: Iterable[Difference]) -> Action:
    """The one action that makes all of them take effect."""
    return max((difference.action for difference in differences), key=_SEVERITY.__getitem__, default="none")


def differences(config: PoolerConfig, state: PoolerState) -> list[Difference]:
    """Everything that differs from the configuration, but for the secrets: `userlist_differences`."""
    found = list(service_differences(config, state))
    found += file_differences(config, state)
    if state.console:
        found += running_differences(config, state.console)
    return found


def unfinished(state: PoolerState) -> Iterable[Difference]:
    """Whether an earlier run was cut off before it proved what it did."""
    if state.files[_STAGING].exists:
        # The files may be the new ones already, and nothing tells any more what only a restart makes it forget.
        action: Action = "reload"
        if state.unproved in ("restart", "recreate"):
            action = "restart" if state.unproved == "restart" else "recreate"
        yield Difference("an earlier run", "was interrupted", "is finished", action)


def running_differences(config: PoolerConfig, console: Console) -> Iterable[Difference]:
    """What the process says against what was meant; this alone is how drift is found."""
    yield from setting_differences(config, console)
    yield from database_differences(config, console)
    yield from user_differences(config, console)
    yield from peer_differences(config, console)


def service_differences(config: PoolerConfig, state: PoolerState) -> Iterable[Difference]:
    """The process: running, made to start by itself, as its file says, with open files enough."""
    runtime = config.runtime
    if not state.active:
        now = "masked" if state.masked else state.unit["ActiveState"]
        yield Difference(runtime.service, now, "running", "start")
    elif state.console is None:
        yield Difference(runtime.service, "silent on its console", "answering", "restart")
    elif state.unit["UnitFileState"] != "enabled":
        yield Difference(runtime.service, state.unit["UnitFileState"] or "not enabled", "enabled", "reload")
    if state.active and state.unit["NeedDaemonReload"] == "yes":
        stale = runtime.stale
        yield Difference(stale.what, stale.is_now, stale.should_be, stale.action)
    if state.active and state.open_files and state.open_files[0] < config.open_files_need:
        # The soft limit of a running process can be raised up to its hard limit without a restart.
        action: Action = "reload" if state.open_files[1] >= config.open_files_need else "restart"
        yield Difference("open files (LimitNOFILE)", str(state.open_files[0]), str(config.open_files), action)


def file_differences(config: PoolerConfig, state: PoolerState) -> Iterable[Difference]:
    """The files: what they hold, and who owns them."""
    if state.ini and _SERVES_ANY_DATABASE.search(state.ini):
        # A reload leaves it active (PgBouncer 1.18 to 1.26), and the console does not show it.
        yield Difference("database entry *", "any database name is served", "removed", "restart")
    if state.ini != config.ini:
        now, then = edits.of_ini(state.ini, config.ini) if state.ini else _MISSING
        yield Difference("pgbouncer.ini", now, then, "reload")
    if config.hba is not None and state.hba != config.hba:
        now, then = edits.of_lines(state.hba, config.hba) if state.hba else _MISSING
        yield Difference("pg_hba.conf of PgBouncer", now, then, "reload")
    yield from _name_differences(config, state)
    wanted = config.runtime.owner
    others = [*([HBA] if config.hba is not None else []), *([PROBE_FILE] if config.runtime.probe_file else [])]
    for path in (_INI_FILE, USERLIST, *others):
        file = state.files[path]
        if file.exists and (file.owner, file.group, file.mode) != wanted:
            now = f"{file.owner}:{file.group} {file.mode}"
            yield Difference(path, now, f"{wanted[0]}:{wanted[1]} {wanted[2]}", "reload")
    if state.service_file != config.service_file:
        now, then = edits.of_lines(state.service_file, config.service_file) if state.service_file else _MISSING
        action = config.runtime.taken_by(state.service_file, config.service_file)
        yield Difference(config.runtime.service_file_called, now, then, action)


def _name_differences(config: PoolerConfig, state: PoolerState) -> Iterable[Difference]:
    """Who stands in userlist.txt and should not, or the other way round."""
    for name in sorted(set(state.userlist) - config.userlist.keys()):
        # A reload does not let go of them: 1.26 goes on letting them in, and no version asks auth_query for them again.
        yield Difference(f"userlist.txt, {name}", "may log in", "removed", "restart")
    for name in sorted(config.userlist.keys() - set(state.userlist)):
        yield Difference(f"userlist.txt, {name}", "missing", config.userlist[name], _to_add(name, state.console))


def _to_add(name: str, console: Console | None) -> Action:
    """A process that has asked auth_query about a role is not told otherwise by a reload.

    Before 1.23 it dies at the role's next login, even one that fails (pgbouncer#90), and nobody can see whom it knows.
    1.26 goes on logging in to PostgreSQL as it was told then: `wrong password type`, or with the password of that day.
    """
    if console is None or not console.config["auth_user"].value:
        return "reload"
    knows = console.version < LOOKED_UP_SHOWN_SINCE or any(row["name"] == name for row in console.users)
    return "restart" if knows else "reload"


def userlist_differences(config: PoolerConfig, wanted: Mapping[str, str], live: str | None) -> Iterable[Difference]:
    """Whose secret in the live userlist.txt is not the wanted one, by name alone; `live` is its text, None: missing."""
    if live is None:
        return
    try:
        found = parse_userlist(live)
    except PoolwardError:
        yield Difference("userlist.txt", "PgBouncer stops reading in the middle of it", "as declared", "reload")
        return
    for name in sorted(wanted.keys() & found.keys()):
        if found[name] != wanted[name]:
            yield Difference(f"userlist.txt, {name}", "another secret", config.userlist[name], "reload")
    if found == wanted and live != userlist_txt(wanted):
        yield Difference("userlist.txt", "written otherwise", "as Poolward writes it", "reload")


def probe_file_differences(config: PoolerConfig, wanted: Mapping[str, str], live: str | None) -> Iterable[Difference]:
    """Whether the health check logs in with the probe's secret, where there is one; `wanted` secrets by server."""
    if config.runtime.probe_file and live != config.probe_file(wanted):
        yield Difference("the health check's password file", "differs" if live else "missing", "as declared", "reload")


def setting_differences(config: PoolerConfig, console: Console) -> Iterable[Difference]:
    """Settings whose running value is not intended; where nothing is written, PgBouncer's default is."""
    for key, shown in console.config.items():
        if key in _OF_THE_PROCESS:
            continue
        setting = settings.known("pgbouncer", key)
        default = shown.default or ("0" if setting.type == "integer" else "")  # of `verbose` it shows none
        intended = config.settings.get(key, default)
        if settings.same(setting, intended, shown.value):
            continue
        # A line that leaves the file leaves its old value in the process where PgBouncer has no default to return to.
        stays = key not in config.settings and not shown.default
        action: Action = "reload" if shown.changeable and not stays else "restart"
        now, then = shown.value or "(empty)", settings.text(setting, intended) or "(empty)"
        cuts = _CLOSING.format(what=_CLOSES[key], then=then) if key in _CLOSES and then not in ("0", "(empty)") else ""
        yield Difference(key, now, then, action, cuts if action == "reload" else "")


def database_differences(config: PoolerConfig, console: Console) -> Iterable[Difference]:
    """Entries of [databases] that are missing, too many, or run with other values."""
    running = {row["name"]: row for row in console.databases}
    for name in running.keys() - config.databases.keys() - {"pgbouncer"}:
        yield Difference(
            f"database entry {name}", "served", "removed", "reload", f"a reload that cuts the clients of {name}"
        )
    for name, line in config.databases.items():
        if name not in running:
            yield Difference(f"database entry {name}", "missing", "served", "reload")
            continue
        for column, wanted in _shown_database(config, line).items():
            shown = running[name].get(column)
            if shown is not None and shown != wanted:
                # "losing forced user not supported" (pgbouncer#355): the old one stays until a restart.
                action: Action = "restart" if column == "force_user" and not wanted else "reload"
                cuts = _MOVED.format(name=name) if column in ("host", "port") else ""
                yield Difference(f"{name}.{column}", shown or "(empty)", wanted or "(empty)", action, cuts)


def user_differences(config: PoolerConfig, console: Console) -> Iterable[Difference]:
    """Limits of single roles that are missing or too many; PgBouncer shows them from 1.23 on.

    A [users] line that was taken out leaves its limits in the process until a restart (pgbouncer#1594).
    """
    running = {row["name"]: row for row in console.users}
    for name in config.users.keys() - running.keys():
        yield Difference(f"limits of role {name}", "none", "as declared", "reload")
    above: dict[str, str] = {}
    for name, row in running.items():
        declared = config.users.get(name, {})
        for key in _USER_KEYS:
            if (shown := row.get(key)) is None:
                continue
            shown = shown.strip()  # sizes come padded
            inherited = {"", "0", str(config.settings.get(key, ""))}
            if key in _REPEATED and console.version < _REPEATED_UNTIL:
                inherited.add(above.get(key, ""))
                above[key] = shown
            if key not in declared and shown in inherited:
                continue
            if key not in declared:
                yield Difference(f"{name}.{key}", shown, "(none)", "restart")
            elif shown != settings.text(settings.known("users", key), declared[key]):
                yield Difference(f"{name}.{key}", shown or "(none)", str(declared[key]), "reload")


def peer_differences(config: PoolerConfig, console: Console) -> Iterable[Difference]:
    """Peers that are missing, too many or elsewhere; a RELOAD that fails midway drops all of them (pgbouncer#1482)."""
    running = {row["peer_id"]: f"{row['host']} port {row['port']}" for row in console.peers}
    wanted = {peer_id: f"{keys['host']} port {keys['port']}" for peer_id, keys in config.peers.items()}
    for peer_id in sorted({*running, *wanted}):
        now, then = running.get(peer_id, "none"), wanted.get(peer_id, "none")
        if now != then:
            yield Difference(f"peer {peer_id}", now, then, "reload")


def _shown_database(config: PoolerConfig, line: Mapping[str, settings.Value]) -> dict[str, str]:
    """How SHOW DATABASES prints an entry; the reserve's column changed its name in 1.24."""
    size = line.get("pool_size", config.settings.get("default_pool_size", 20))
    reserve = line.get("reserve_pool_size", line.get("reserve_pool", config.settings.get("reserve_pool_size", 0)))
    return {
        "host": str(line["host"]),
        "port": str(line["port"]),
        "database": str(line["dbname"]),
        "force_user": str(line.get("user", "")),
        "pool_size": str(size),
        "reserve_pool": str(reserve),
        "reserve_pool_size": str(reserve),
        "pool_mode": str(line.get("pool_mode", "")).lower(),
        "max_connections": str(line["max_db_connections"]),
    }
