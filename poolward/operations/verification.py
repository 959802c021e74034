"""Looking without changing: an operation that fails where something is not as declared."""

from __future__ import annotations

from collections.abc import Generator

from pyinfra.api import Host

from poolward import examine, unseen
from poolward.errors import Problem, Refused
from poolward.operations._step import Change, say, step
from poolward.survey import Survey


@step
def as_declared(target: Host, seen: Survey) -> Generator[Change, None, None]:
    """Whatever this host is, pooler or database server or both, it is as declared; all its differences at once.

    What could not be seen of it is said, and fails nothing.
    """
    for one in unseen.of(seen):
        if one.where == target.name:
            say(f"not looked at: {one.what}; it needs {one.needs}")
    problems = [Problem(finding.what, wrong) for finding in examine.host(target, seen) for wrong in finding.wrong]
    if problems:
        raise Refused(f"{target.name} is not as declared. A deploy mends what is Poolward's.", problems)
    yield from ()
