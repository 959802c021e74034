"""What a history means, in sentences: the verdict, what went wrong, what to do next. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from poolward.history.counts import Backends, Errors, Multiplexing
from poolward.history.records import History, Move, Result, Run
from poolward.history.words import lasted, listed, moment, several, span, sqlstate


@dataclass(frozen=True)
class Step:
    """Something to do: why, and the commands."""

    text: str
    commands: tuple[str, ...] = ()


def headline(run: Run) -> str:
    """One run in a sentence."""
    by = f" by {run.user}" if run.user else ""
    options = f" ({run.options})" if run.options else ""
    end = "" if run.ended else "; its journal has no end: it was killed, or is still running"
    bad = "; it stopped at an error" if run.ended and not run.ok else ""
    return (
        f"{run.what.capitalize()} of {run.inventory}{by}{options}, {span(run.began, run.last)}, "
        f"{lasted(run.last - run.began)}: {_results(run.moves) or 'no service was touched'}{end}{bad}."
    )


def verdict(history: History) -> str:
    """Where the services stand at the end."""
    said = [_results(history.standing.values()) or "no service was moved"]
    if history.left:
        said.append(f"{len(history.left)} not reached ({listed(history.left)})")
    if staying := stays_direct(history):
        said.append(f"{len(staying)} {'stays' if len(staying) == 1 else 'stay'} direct ({listed(staying)})")
    if not history.last.ended:
        said.append("the last run has not come to its end")
    elif not history.last.ok and not history.trouble:
        said.append("the last run stopped at an error")
    return f"{'Done' if history.clean else 'Not done'}: {', '.join(said)}."


def _results(moves: Iterable[Move]) -> str:
    names: dict[Result, list[str]] = {result: [] for result in Result}
    for move in moves:
        names[move.result].append(move.service)
    said = []
    for result, services in names.items():
        if services and result in (Result.MOVED, Result.MOVED_BACK):
            said.append(f"{several(len(services), 'service')} {result} and proved")
        elif services:
            said.append(f"{len(services)} {result} ({listed(services)})")
    return ", ".join(said)


def load(backends: Backends, limit: int | None) -> str:
    """The server's backends before, during and after, in a sentence."""
    said = [
        f"{count} {when}"
        for count, when in (
            (backends.before, "before the first move"),
            (backends.most, "at most while services moved"),
            (backends.after, "after the last move"),
        )
        if count is not None
    ]
    if not said:
        return "Nobody counted the server's backends."
    of = f" It has {limit} connections for applications." if limit is not None else ""
    return f"Backends of the server: {', '.join(said)}.{of}"


def stays_direct(history: History) -> dict[str, str]:
    """Services that stay direct, and why, as the latest run says; not one that has moved all the same."""
    said = next((run.direct for run in reversed(history.runs) if run.direct), {})
    return {name: why for name, why in said.items() if name not in history.standing}


def story(move: Move) -> list[str]:
    """What happened to a service whose move did not end well."""
    at = f", {moment(move.ended)}" if move.ended is not None else ""
    said = [f"{move.service}: {move.result}{at}"]
    if move.result is Result.TAKEN_BACK:
        said[0] += f", connects as before: {move.after}"
    elif move.result in (Result.FAILED, Result.OPEN):
        said[0] += ", after its settings or its process were touched" if move.touched else ", this run touched nothing"
    said += move.reasons or ((f"The journal does not say why {move.service} was {move.result}.",))
    return [*said, f"→ {move.hint}"] if move.hint else said


def errors_told(found: Iterable[Errors]) -> list[str]:
    """What clients saw, a sentence for each service that reports it."""
    return [
        f"{of.service}: "
        + (
            f"{several(of.total, 'error')} ({', '.join(f'{n} × {sqlstate(code)}' for code, n in of.by_code.items())})"
            if of.total
            else "no error"
        )
        for of in found
    ]


def next_steps(history: History, poolers: Iterable[Multiplexing]) -> list[Step]:
    """What to do, the most urgent first."""
    run, inventory = history.last, history.last.inventory
    again = f"poolward run {run.what} {inventory}"
    steps = [_by_hand(move) for move in history.trouble if move.result is Result.STUCK]
    if open_ones := [move.service for move in history.trouble if move.result is Result.OPEN]:
        steps.append(
            Step(
                f"The journal tells no end of the move of {listed(open_ones)}. The same run again looks where each "
                "stands, and finishes its move or takes it back.",
                (again,),
            )
        )
    if broken := [m.service for m in history.trouble if m.result in (Result.TAKEN_BACK, Result.FAILED)]:
        rest = f" It goes on with {listed(history.left)}." if history.left else ""
        steps.append(Step(f"Mend the reason given for {listed(broken)}, then run the same again.{rest}", (again,)))
    steps += _unseen([move for move in history.trouble if move.result is Result.NOT_PROVED], again)
    if history.left and not history.trouble:
        steps.append(Step(f"The same run again goes on with {listed(history.left)}.", (again,)))
    if not run.ended and not steps:
        steps.append(
            Step("The last run has no end in its journal. Run the same again: it goes on from there.", (again,))
        )
    for pooler in poolers:
        if pooler.flat:
            steps.append(
                Step(
                    f"{pooler.pooler} takes about one server connection per client and so saves nothing: its pools "
                    "are in session mode, wider than needed, or hold transactions open. What they need:",
                    (f"poolward size {inventory}",),
                )
            )
    if history.clean:
        steps.append(Step("To see whether it stays so:", (f"poolward verify {inventory}",)))
        if run.what == "cutover":
            steps.append(Step("To take one service back:", (f"poolward run rollback {inventory} --data only=NAME",)))
    return steps


def _unseen(moves: list[Move], again: str) -> Iterable[Step]:
    """What proves services that were switched and not seen at work."""
    if switched := [move.service for move in moves if move.what == "cutover"]:
        yield Step(
            f"Nobody has seen {listed(switched)} at work since the switch. Run each of them, and while it has "
            "sessions, the same run again; a run_command in `services` lets that run do both.",
            (again,),
        )
    if back := [move.service for move in moves if move.what != "cutover"]:
        yield Step(f"{listed(back)} connects as before, by its settings; nobody has seen it run with them since.")


def _by_hand(move: Move) -> Step:
    where = f" on {move.host}" if move.host else ""
    text = f"{move.service} is stuck between its old and its new settings. Finish it by hand, as root{where}:"
    return Step(text, move.commands or ("(the journal names no commands)",))
