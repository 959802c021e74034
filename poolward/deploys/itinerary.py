"""The cutover of one pyinfra run, made once for all its hosts before anything is changed."""

from __future__ import annotations

import sys
from math import inf
from pathlib import Path
from weakref import WeakKeyDictionary

from gevent.lock import RLock
from pyinfra import logger
from pyinfra.api import State
from pyinfra.api.exceptions import DeployError

from poolward import route
from poolward.cutover import Cutover
from poolward.errors import PoolwardError
from poolward.moves import Goal
from poolward.operations._step import say
from poolward.route import Options

_lock = RLock()
_made: WeakKeyDictionary[State, Cutover | DeployError] = WeakKeyDictionary()


def of(state: State, goal: Goal) -> Cutover:
    """The cutover of this run; raises DeployError where it may not begin, and nothing was changed."""
    with _lock:
        if state not in _made:
            try:
                run = route.planned(state, goal, options(state), say)
                for line in run.announcement():
                    logger.info(line)
                _made[state] = run
            except PoolwardError as error:
                _made[state] = DeployError(str(error))
    found = _made[state]
    if isinstance(found, DeployError):
        raise found
    return found


def options(state: State) -> Options:
    """What `--data` of this run says; raises PoolwardError."""
    data = next(iter(state.inventory)).data
    return parsed(data.get("only"), data.get("pause_after"), data.get("soak"))


def parsed(only: object, pause: object, soak: object) -> Options:
    """The options as they were given, None where one was not; raises PoolwardError."""
    names = tuple(name.strip() for name in str(only or "").split(",") if name.strip())
    if only is not None and not names:
        # An empty shell variable must not stand for the whole fleet.
        raise PoolwardError(
            "`only` names no service.", "--data only=worker,cron names them; leave it out for all of them."
        )
    try:
        if (pause is not None and int(str(pause)) < 1) or (soak is not None and not 0 <= float(str(soak)) < inf):
            raise ValueError("out of range")
        return Options(
            names,
            int(str(pause)) if pause is not None else None,
            float(str(soak)) if soak is not None else None,
            _inventory(),
        )
    except ValueError as error:
        raise PoolwardError(
            "pause_after and soak are numbers, from 1 and from 0 on.",
            "--data pause_after=1 stops after one move; --data soak=10 is in seconds.",
        ) from error


def _inventory() -> str:
    """The inventory of this run as it stands on the command line; pyinfra keeps it nowhere."""
    return next((word for word in sys.argv[1:] if word.endswith(".py") and Path(word).is_file()), "")
