"""What a deploy changes on a pooler host."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from functools import partial

from pyinfra.api import Host

from poolward import apply, observe, proof, remote, render, secrets, shell
from poolward.desired import PoolerConfig, pooler_config
from poolward.errors import PoolwardError
from poolward.fleet import Fleet, Pooler
from poolward.observed import Console, PoolerState, sections
from poolward.operations._step import Change, say, step
from poolward.runtime import Action
from poolward.userlist import outdated

# What the trial of a candidate has of its own.
_NOT_TRIED = frozenset(
    {"listen_addr", "unix_socket_dir", "pidfile", "logfile", "auth_file", "auth_hba_file", "conffile", "min_pool_size"}
)


@step
def package(target: Host, fleet: Fleet) -> Generator[Change, None, None]:
    """PgBouncer, psql and ss are installed without the service being started, PgBouncer is held, and the settings fit.

    Nothing of the configuration is written before the version that was really installed has been asked about them.
    """
    declared = fleet.poolers[target.name]
    state, wanted = observe.pooler(target, declared), declared.package_version
    complete = all(status == "installed" for _, status, _ in state.packages.values())
    if not (complete and state.held and wanted in (None, state.package_version)):
        yield partial(_install, target, declared)
        state = observe.pooler(target, declared)
    fitting(target, fleet, state)


def _install(target: Host, declared: Pooler) -> None:
    wanted = declared.runtime.installation
    command = shell.script(wanted.script, "install PgBouncer", 600, declared.runtime.place, **wanted.variables)
    printed = remote.must(target, command, stdin=wanted.stdin)
    say(wanted.said)
    for line in sections(printed.splitlines()).get("image", ()) if printed else ():
        say(line)


@step
def configuration(target: Host, fleet: Fleet) -> Generator[Change, None, None]:
    """The pooler runs exactly what is declared, proved by its own word and by a login through every entry.

    A change is tried on the host's own binary first, switched in one step that takes itself back, proved, and taken
    back if the proof fails.
    """
    state = observe.pooler(target, fleet.poolers[target.name])
    config = fitting(target, fleet, state)
    known = secrets.of_servers(target.inventory, config.servers)
    probe_secrets, live = secrets.of_probe(known), secrets.live_userlist(target, config)
    userlist = secrets.wanted_userlist(target, config, known, live)
    if lacking := sorted(config.userlist.keys() - userlist.keys()):
        raise PoolwardError(
            f"{', '.join(lacking)}: what belongs in userlist.txt cannot be had.", "Run the whole deploy."
        )
    differences = [
        *apply.unfinished(state),
        *apply.differences(config, state),
        *apply.userlist_differences(config, userlist, live),
        *apply.probe_file_differences(config, probe_secrets, secrets.live_probe_file(target, config)),
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
        try:
            _apply(target, config, userlist, probe_secrets, action)
        except PoolwardError as error:
            raise _with_old_secret(outdated(config, userlist, live), error) from error
        command = shell.script("confirm", "mark the configuration as proved", 30, config.runtime.place)
        superseded = remote.must(target, command).splitlines()
        entries = ", ".join(entry.name for entry in config.pooler.entries)
        for image in superseded:
            say(f"the image {image} is gone: neither this configuration nor the previous one is of it")
        say(f"{action} done; every value is the running one, and the probe logs in through {entries}")

    yield change


def _apply(
    target: Host,
    config: PoolerConfig,
    userlist: Mapping[str, str],
    probe_secrets: Mapping[str, str],
    action: Action,
) -> None:
    """Try it, switch to it, prove it; what was there before stays or comes back where one of them fails."""
    _stage(target, config, userlist, probe_secrets)
    candidate = _try_candidate(target, config)
    _switch(target, config, candidate, action)
    try:
        prove(target, config, userlist, probe_secrets)
    except PoolwardError as error:
        raise _taken_back(target, config, action, error) from error


def _with_old_secret(roles: Sequence[str], error: PoolwardError) -> PoolwardError:
    """What was there before does not serve for ever where this run gave PostgreSQL another password."""
    if not roles:
        return error
    told = (
        f"PostgreSQL has the new secret of {', '.join(roles)} already: with the old one, soon nobody can log in "
        "through this pooler. Mend this and deploy again."
    )
    return PoolwardError(error.message, f"{error.hint} {told}".strip())


def fitting(target: Host, fleet: Fleet, state: PoolerState) -> PoolerConfig:
    """What the host should be for the version installed on it; raises Refused where the settings do not fit that."""
    if state.version is None:
        raise PoolwardError(f"PgBouncer is not installed on {target.name}.", "Run the whole deploy, not a part of it.")
    return pooler_config(fleet, target.name, state.version)


def prove(target: Host, config: PoolerConfig, userlist: Mapping[str, str], probe_secrets: Mapping[str, str]) -> None:
    """Raises PoolwardError unless the host is as declared and the probe logs in through every entry."""
    left = apply.differences(config, observe.pooler(target, config.pooler))
    left += apply.userlist_differences(config, userlist, secrets.live_userlist(target, config))
    if left:
        raise PoolwardError("After the switch this still differs: " + "; ".join(map(str, left)))
    if problem := proof.login_problem(target, config, probe_secrets):
        raise PoolwardError(problem)


def _stage(target: Host, config: PoolerConfig, userlist: Mapping[str, str], probe_secrets: Mapping[str, str]) -> None:
    files = {
        "userlist.txt": render.userlist_txt(userlist),
        "pgbouncer.ini": config.ini,
        config.runtime.service_file.rpartition("/")[2]: config.service_file,
    }
    if config.runtime.probe_file:
        files["probe.pgpass"] = config.probe_file(probe_secrets)
    if config.hba is not None:
        files["pg_hba.conf"] = config.hba
    for name, text in files.items():
        remote.must(
            target, shell.script("stage", f"write the new {name}", 15, config.runtime.place, file=name), stdin=text
        )


def _try_candidate(target: Host, config: PoolerConfig) -> Console:
    place = config.runtime.place
    output = remote.run(target, shell.script("try_candidate", "try the new configuration", 40, place))
    if not output.succeeded:
        remote.run(target, shell.script("unstage", "remove the refused candidate", 10, place))
        raise PoolwardError(
            f"{target.name}: its own PgBouncer refuses the new configuration: {remote.last_lines(output.stderr)}",
            "The running one was not touched. Correct the setting and run again.",
        )
    return Console.parse(sections(output.stdout.splitlines()))


def _switch(target: Host, config: PoolerConfig, candidate: Console, action: Action) -> None:
    expected = [f"{key}\t{row.value}" for key, row in candidate.config.items() if key not in _NOT_TRIED]
    command = shell.script(
        "switch",
        "switch to the new configuration",
        120,
        config.runtime.place,
        action=action,
        expected=expected,
        open_files=config.open_files,
    )
    remote.must(target, command)


def _taken_back(target: Host, config: PoolerConfig, action: Action, error: PoolwardError) -> PoolwardError:
    command = shell.script("take_back", "put the previous configuration back", 90, config.runtime.place)
    output = remote.run(target, command)
    if output.succeeded:
        end = "Nothing runs, as before." if action == "start" else "The previous configuration is back and running."
        return PoolwardError(f"{target.name}: {error.message}", end)
    return PoolwardError(
        f"{target.name}: {error.message}\n"
        f"  And putting the previous configuration back failed: {remote.last_lines(output.stderr)}",
        config.runtime.by_hand,
    )
