"""The command line beside pyinfra's: `run`, a guard around it, and commands that change no host.

Exit codes: 0 clean, 2 pending or drift, 3 neither in what could be seen, 1 any error, usage included.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from poolward import guard, terminal
from poolward.errors import PoolwardError

CLEAN, ERROR, DRIFT, UNSEEN = 0, 1, 2, 3


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="poolward")
def cli() -> None:
    """PgBouncer in front of a PostgreSQL that runs out of connections: planned, proved, reversible.

    Exit codes: 0 clean, 2 pending or drift, 3 neither in what could be seen, 1 any error, usage included.
    """


_dsns = click.option(
    "--dsn",
    "dsns",
    multiple=True,
    metavar='NAME="CONNINFO"',
    help="Ask the server of this database host by libpq's connection string, from here, instead of on its host. "
    "pg_monitor is enough; the password comes from ~/.pgpass, PGPASSFILE or a service.",
)


@cli.command(context_settings={"ignore_unknown_options": True})
@click.argument("deploy")
@click.argument("inventory")
@click.argument("options", nargs=-1, type=click.UNPROCESSED)
def run(deploy: str, inventory: str, options: tuple[str, ...]) -> int:
    """Run DEPLOY (pgbouncer, verify, remove, …) on INVENTORY with pyinfra, and believe only in its end.

    The same as `pyinfra -y INVENTORY deploy/DEPLOY.py OPTIONS`, but pyinfra exits 0 when --limit matches nothing, when
    the inventory is empty, with --no-wait although everything failed, and after Ctrl-C. Here each of these is an error.
    """
    guard.run(deploy, inventory, options)
    return CLEAN


@cli.command()
@click.argument("inventory")
@click.option("--limit", multiple=True, help="Only these hosts or groups; may be repeated.")
@_dsns
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output, for machines.")
def verify(inventory: str, limit: tuple[str, ...], dsns: tuple[str, ...], as_json: bool) -> int:
    """Show what is true on the hosts of INVENTORY, and whether it is as declared. Changes nothing.

    Reads as root on the poolers and as postgres on the database hosts, and logs in through every entry as the probe.

    Exit codes: 0 all of it is as declared, 2 drift, 3 no drift in what could be seen, 1 any error.
    """
    from poolward import report  # it loads pyinfra, which patches the standard library

    return _present(report.make(inventory, limit, _by_server(dsns)), as_json)


@cli.command()
@click.argument("inventory")
@click.option("--limit", multiple=True, help="Only these hosts or groups; may be repeated.")
@_dsns
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output, for machines.")
def plan(inventory: str, limit: tuple[str, ...], dsns: tuple[str, ...], as_json: bool) -> int:
    """Show the bill of every server, and what a deploy of INVENTORY would change. Changes nothing.

    Exit codes: 0 nothing to do, 2 changes pending, 3 nothing to do in what could be seen, 1 any error.
    """
    from poolward import plan as planning

    return _present(planning.make(inventory, limit, _by_server(dsns)), as_json)


@cli.command()
@click.argument("inventory")
@click.option("--window", default=60.0, show_default=True, help="Seconds to sample for.")
@click.option("--interval", default=0.5, show_default=True, help="Seconds between two samples.")
@_dsns
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output, for machines.")
def size(inventory: str, window: float, interval: float, dsns: tuple[str, ...], as_json: bool) -> int:
    """Propose pool sizes for the databases of INVENTORY from what they really use. Changes nothing.

    Samples pg_stat_activity in a read-only session, as postgres on the database hosts or by --dsn. Poolers are not
    asked, and need not be declared yet.
    """
    from poolward import sizing

    if not as_json:
        click.echo(f"Sampling for {window:g} s …", err=True)
    return _present(sizing.make(inventory, window, interval, _by_server(dsns)), as_json)


@cli.command()
@click.argument("inventory")
@click.option("--window", default=60.0, show_default=True, help="Seconds to sample for.")
@click.option("--interval", default=0.5, show_default=True, help="Seconds between two samples.")
@click.option("--html", "page", type=click.Path(path_type=Path), help="Write it as one page for people, too.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output, for machines.")
def assess(inventory: str, window: float, interval: float, page: Path | None, as_json: bool) -> int:
    """Show who holds the connections of INVENTORY's servers, and what would break behind a pooler. Changes nothing.

    Reads as root on the application and pooler hosts, and as postgres, in sessions that cannot write, on the database
    hosts. Statement texts stay on their server.

    Exit codes: 0 every service fits the pool it is declared for, 2 one does not, 1 any error.
    """
    from poolward import assess as assessing
    from poolward import assessment_page, pages

    began = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
    with _progress(f"Looking, and sampling for {window:g} s …", quiet=as_json):
        found = assessing.make(inventory, window, interval)
    if page:
        pages.write(page, assessment_page.html(found, inventory, began), "--html")
        click.echo(f"The page: {page}", err=True)
    return _present(found, as_json)


@cli.command()
@click.argument("journals", metavar="JOURNAL...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--output", type=click.Path(path_type=Path), help="Where to write the page; else beside the last JOURNAL."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output, for machines.")
def report(journals: tuple[Path, ...], output: Path | None, as_json: bool) -> int:
    """Tell what a cutover or a rollback did: a page for the change ticket, and a summary. Reaches no host.

    Several journals of one inventory (journal/*.jsonl) are told as one history. The page is one HTML file that needs
    nothing else.

    Exit codes: 0 every service is where it should be, 2 something is left to do, 1 any error.
    """
    from poolward import cutover_report

    return _present(cutover_report.make(journals, output), as_json)


@cli.command()
@click.argument("inventory")
@click.option("--server", help="Which one, where several are known by a connection string alone.")
@click.option("--remove", is_flag=True, help="The way back, for when no pooler is left.")
def handover(inventory: str, server: str | None, remove: bool) -> int:
    """Print what the owner of a server has to run, as SQL: of one known by postgresql_dsn alone. Changes nothing.

    It is for psql, holds no secret, and may be run again. A deploy is refused until it was run.

    Exit codes: 0 there is nothing to hand over, 2 there is, 1 any error.
    """
    from poolward import handing_over

    handed = handing_over.make(inventory, server, remove=remove)
    if not handed.sql:
        click.echo(
            f"Nothing to hand over: {handed.server} {'has nothing' if remove else 'lacks nothing'} of it.", err=True
        )
        return CLEAN
    click.echo(handed.sql, nl=False)
    return DRIFT


def _by_server(dsns: tuple[str, ...]) -> dict[str, str]:
    return {name: dsn for name, _, dsn in (given.partition("=") for given in dsns)}


@cli.command()
@click.argument("inventory")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output, for machines.")
def services(inventory: str, as_json: bool) -> int:
    """Show where every declared service stands: direct, pooled, half-moved. Changes nothing.

    Exit codes: 0 every service is where it is declared to be, 2 some are not, 1 any error.
    """
    from poolward import services as standing

    return _present(standing.make(inventory), as_json)


@contextmanager
def _progress(what: str, *, quiet: bool) -> Iterator[None]:
    """Say what takes long; at a terminal with a clock that runs."""
    console = terminal.console(stderr=True)
    if not console.is_terminal and not quiet:
        click.echo(what, err=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as progress:
        progress.add_task(what, total=None)
        yield


def _present(made: Any, as_json: bool) -> int:
    if as_json:
        click.echo(json.dumps(made.document(), indent=2, default=_plain))
    else:
        made.show(terminal.console(width=None if sys.stdout.isatty() else 120))
    if made.differs:
        return DRIFT
    return UNSEEN if made.unseen else CLEAN


def _plain(value: Any) -> Any:
    return asdict(value) if hasattr(value, "__dataclass_fields__") else str(value)


def main() -> None:
    """Entry point: every error is one sentence on standard error, and usage errors exit 1 like all others."""
    sys.exit(_exit_code(lambda: cli(standalone_mode=False)))


def _exit_code(command: Callable[[], Any]) -> int:
    try:
        code = command()
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.ClickException as error:
        error.show()
        return ERROR
    except (click.Abort, KeyboardInterrupt):
        click.secho("Interrupted. What was under way may be half done: run the same command again.", fg="red", err=True)
        return ERROR
    except PoolwardError as error:
        click.secho(str(error), fg="red", err=True)
        return ERROR
    return code if isinstance(code, int) else CLEAN
