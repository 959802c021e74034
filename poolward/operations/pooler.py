"""What a deploy changes on a pooler host."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from functools import partial

from pyinfra.api import Host

from poolward import apply, observe, proof, remote, render, secrets, shell
from poolward.apply import Action
from poolward.desired import PoolerConfig, pooler_config
from poolward.errors import PoolwardError
from poolward.fleet import Fleet
from poolward.observed import Console, PoolerState, sections
from poolward.operations._step import Change, say, step

# What the trial of a candidate has of its own.
_NOT_TRIED = frozenset(
    {"listen_addr", "unix_socket_dir", "pidfile", "logfile", "auth_file", "auth_hba_file", "conffile", "min_pool_size"}
)


@step
def package(target: Host, fleet: Fleet) -> Generator[Change, None, None]:
    """PgBouncer, psql and ss are installed without the service being started, PgBouncer is held, and the settings fit.

    Nothing of the configuration is written before the version that was really installed has been asked about them.
    """
    state, wanted = observe.pooler(target), fleet.poolers[target.name].package_version
    complete = all(status == "installed" for _, status, _ in state.packages.values())
    if not (complete and state.held and wanted in (None, state.package_version)):
        yield partial(_install, target, wanted)
        state = observe.pooler(target)
    fitting(target, fleet, state)


def _install(target: Host, version: str | None) -> None:
    remote.must(target, shell.script("install", "install PgBouncer", 600, version=version or ""))
    say("installed with the service masked, and held: an upgrade would restart it unasked")


@step
def configuration(target: Host, fleet: Fleet) -> Generator[Change, None, None]:
    """The pooler runs exactly what is declared, proved by its own word and by a login through every entry.

    A change is tried on the host's own binary first, switched in one step that takes itself back, proved, and taken
    back if the proof fails.
    """
    state = observe.pooler(target)
    config = fitting(target, fleet, state)
    known = secrets.of_servers(target.inventory, config.servers)
    probe_secrets, live = secrets.of_probe(known), secrets.live_userlist(target)
    userlist = secrets.wanted_userlist(target, config, known, live)
    if lacking := sorted(config.userlist.keys() - userlist.keys()):
        raise PoolwardError(
            f"{', '.join(lacking)}: what belongs in userlist.txt cannot be had.", "Run the whole deploy."
        )
    differences = [
        *apply.unfinished(state),
        *apply.differences(config, state),
        *apply.userlist_differences(config, userlist, live),
    ]
    action = apply.action_for(differences)
    if action == "none":
        problem = proof.login_problem(target, config, probe_secrets)
        if problem is None:
            return
        say(f"everything is as declared, but the login proof fails, so it is applied again: {problem}")
        action = "reload"

    def change() -> None:
        for difference in differences:
            say(str(difference))
        say(f"this takes {apply.effect_of(differences) if differences else apply.EFFECT[action]}")
        _stage(target, config, userlist)
        candidate = _try_candidate(target)
        _switch(target, config, candidate, action)
        try:
            prove(target, config, userlist, probe_secrets)
        except PoolwardError as error:
            raise _taken_back(target, action, error) from error
        remote.must(target, shell.script("confirm", "mark the configuration as proved", 10))
        entries = ", ".join(entry.name for entry in config.pooler.entries)
        say(f"{action} done; every value is the running one, and the probe logs in through {entries}")

    yield change


def fitting(target: Host, fleet: Fleet, state: PoolerState) -> PoolerConfig:
    """What the host should be for the version installed on it; raises Refused where the settings do not fit that."""
    if state.version is None:
        raise PoolwardError(f"PgBouncer is not installed on {target.name}.", "Run the whole deploy, not a part of it.")
    return pooler_config(fleet, target.name, state.version)


def prove(target: Host, config: PoolerConfig, userlist: Mapping[str, str], probe_secrets: Mapping[str, str]) -> None:
    """Raises PoolwardError unless the host is as declared and the probe logs in through every entry."""
    left = apply.differences(config, observe.pooler(target))
    left += apply.userlist_differences(config, userlist, secrets.live_userlist(target))
    if left:
        raise PoolwardError("After the switch this still differs: " + "; ".join(map(str, left)))
    if problem := proof.login_problem(target, config, probe_secrets):
        raise PoolwardError(problem)


def _stage(target: Host, config: PoolerConfig, userlist: Mapping[str, str]) -> None:
    files = {
        "userlist.txt": render.userlist_txt(userlist),
        "pgbouncer.ini": config.ini,
        "poolward.conf": config.drop_in,
    }
    if config.hba is not None:
        files["pg_hba.conf"] = config.hba
    for name, text in files.items():
        remote.must(target, shell.script("stage", f"write the new {name}", 15, file=name), stdin=text)


def _try_candidate(target: Host) -> Console:
    output = remote.run(target, shell.script("try_candidate", "try the new configuration", 40))
    if not output.succeeded:
        remote.run(target, shell.script("unstage", "remove the refused candidate", 10))
        raise PoolwardError(
            f"{target.name}: its own PgBouncer refuses the new configuration: {remote.last_lines(output.stderr)}",
            "The running one was not touched. Correct the setting and run again.",
        )
    return Console.parse(sections(output.stdout.splitlines()))


def _switch(target: Host, config: PoolerConfig, candidate: Console, action: Action) -> None:
    expected = [f"{key}\t{row.value}" for key, row in candidate.config.items() if key not in _NOT_TRIED]
    command = shell.script(
        "switch", "switch to the new configuration", 120, action=action, expected=expected, open_files=config.open_files
    )
    remote.must(target, command)


def _taken_back(target: Host, action: Action, error: PoolwardError) -> PoolwardError:
    command = shell.script("take_back", "put the previous configuration back", 90)
    output = remote.run(target, command)
    if output.succeeded:
        end = "Nothing runs, as before." if action == "start" else "The previous configuration is back and running."
        return PoolwardError(f"{target.name}: {error.message}", end)
    return PoolwardError(
        f"{target.name}: {error.message}\n"
        f"  And putting the previous configuration back failed: {remote.last_lines(output.stderr)}",
        "By hand: cp -p /etc/pgbouncer/pgbouncer.ini.previous /etc/pgbouncer/pgbouncer.ini, the same with "
        "userlist.txt, then systemctl restart pgbouncer.",
    )
