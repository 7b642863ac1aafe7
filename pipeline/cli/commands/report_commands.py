"""Commands that show what is known of runs."""

from __future__ import annotations

import shutil
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli.command import command
from pipeline.cli.console import Console, write_line, write_text
from pipeline.cli.options import FILE, LEDGER, OPTIONAL_RUN, RUN, option
from pipeline.cli.run_access import local_workdir
from pipeline.core.events import Notice, ignore
from pipeline.core.settings import base_url_from_environment

PLAIN_EVERY_S = 10.0
"""Seconds between two lines where they are kept, as in the log of a terminal."""
WAIT_FOR_LOAD_S = 10.0
"""How long `--follow` waits for a load that is started beside it, which takes a second to begin."""

if TYPE_CHECKING:
    from pipeline.report.summary import Summary


@command
@option(
    "--follow",
    is_flag=True,
    help="Watch a load that runs in another terminal, until it ends; one just started is waited for.",
)
@LEDGER
@OPTIONAL_RUN
def status(console: Console, reference: str | None, ledger: Path | str | None, *, follow: bool) -> int:
    """List the runs, or show the counts of one and what to do next.

    Example:
      omneo-import status
      omneo-import status latest --follow
    """
    if follow:
        reference = reference or "latest"
        _follow(console, reference, ledger)
    from pipeline.report.render import render_terminal, run_table
    from pipeline.report.verdict import REJECTIONS
    from pipeline.report.view import overview
    from pipeline.staging.workdir import Workdir
    from pipeline.workflows.runs.workdir_lock import lock_holders
    from pipeline.workflows.status import status as status_of

    with (
        console.listening() as emit,
        local_workdir(console, ledger, heads=True, run=reference, bodies=False, writes=False) as workdir,
    ):
        found = status_of(workdir, reference, ledger=ledger, base_url=base_url_from_environment(), emit=emit)
        holders = lock_holders(Workdir(workdir))
    in_use = {"in_use_by": [vars(holder) for holder in holders]} if holders else {}
    if not reference:
        runs = run_table([(each.summary, each.verdict) for each in found])
        console.say(runs if found else f"There are no runs yet in {console.workdir}.")
        for holder in holders:
            console.say(f"In use by {holder}.")
        console.result({"runs": [_with_tenant(each.summary) for each in found], **in_use})
        return 0
    for each in found:
        console.say_wrapped(
            render_terminal(overview(each.summary, each.verdict, causes=each.causes), REJECTIONS)
        )
    for holder in holders:
        console.say(f"In use by {holder}.")
    tenants = [_with_tenant(each.summary) for each in found if each.summary.tenant is not None]
    console.result({**_with_tenant(found[-1].summary), "tenants": tenants, **in_use})
    return 0


def _follow(console: Console, reference: str, ledger: Path | str | None) -> None:
    """Show how far a load is until it ends: by one line that changes on a terminal, else by lines."""
    from pipeline.workflows.follow import follow

    on_terminal = sys.stderr.isatty() and console.log_format == "text"
    shown_at = float("-inf")
    with (
        # Bars would erase the line that changes, ten times a second.
        nullcontext(ignore) if on_terminal else console.listening() as emit,
        local_workdir(console, ledger, heads=True, run=reference, bodies=False, writes=False) as workdir,
    ):

        def show(text: str) -> None:
            if console.log_format == "json":
                emit(Notice("follow", text))
            else:
                write_line(f"\r\x1b[K{text}" if on_terminal else text, err=True)

        base_url = base_url_from_environment()
        looks = follow(workdir, reference, ledger=ledger, base_url=base_url, wait_s=WAIT_FOR_LOAD_S)
        try:
            for number, progress in enumerate(looks):
                if not progress.holders:
                    if number == 0 or not progress.waiting:
                        show(progress.why_still)
                elif on_terminal:
                    width = shutil.get_terminal_size().columns
                    write_text(f"\r\x1b[K{progress.line(width - 1)[: width - 1]}", err=True)
                elif time.monotonic() - shown_at >= PLAIN_EVERY_S:
                    shown_at = time.monotonic()
                    show(str(progress))
        except BaseException:
            if on_terminal:
                write_line("", err=True)  # what follows stands below the line that changes
            raise


def _with_tenant(summary: Summary) -> dict[str, Any]:
    """A summary that names the tenant whose delivery it counts."""
    return {**summary.as_dict(), "tenant": summary.tenant}


@command
@option(
    "--format",
    "form",
    type=click.Choice(["html", "markdown"]),
    default="html",
    help="The page, or a short version for a pull request or a chat.",
)
@option("--show-personal-data/--mask-personal-data", default=None, help="By default as `prepare` was called.")
@option("--all", "all_runs", is_flag=True, help="Write one page over all runs instead.")
@LEDGER
@OPTIONAL_RUN
def report(
    console: Console,
    reference: str | None,
    form: str,
    show_personal_data: bool | None,
    ledger: Path | str | None,
    *,
    all_runs: bool,
) -> int:
    """Write the report of RUN again, and print its path.

    Example:
      omneo-import report latest
      omneo-import report --all
    """
    if all_runs == (reference is not None):
        raise click.UsageError("Name a run, or give --all.")
    if reference is None:
        return _report_all(console, ledger)
    from pipeline.report.render import render_markdown
    from pipeline.workflows.report import report as write

    with local_workdir(console, ledger, run=reference, bodies=False) as workdir:
        data, values = write(
            workdir,
            reference,
            ledger=ledger,
            base_url=base_url_from_environment(),
            show_personal_data=show_personal_data,
        )
    console.say(data.summary.report if form == "html" else render_markdown(values))
    console.result(data.summary.as_dict())
    return 0


@command
@option("-o", "--output", type=FILE, help="Write to this file, as Parquet or CSV by its name.")
@LEDGER
@RUN
def results(console: Console, reference: str, output: Path | None, ledger: Path | str | None) -> int:
    """Write what became of every transaction of a run, a row each.

    Joins the source file and line with outcome, codes, state in Omneo, the server's message and Omneo's id.
    Without -o it is `results.csv` in the run's directory. A file that holds anything but results is not
    overwritten.

    Example:
      omneo-import results latest -o results.parquet
    """
    from pipeline.core.text.wording import count
    from pipeline.workflows.results import write_results

    base_url = base_url_from_environment()
    with local_workdir(console, ledger, run=reference, writes=output is None) as workdir:
        file, rows = write_results(workdir, reference, output, ledger=ledger, base_url=base_url)
    console.say(f"{count(rows, 'transaction')} in {file}")
    console.result({"file": file, "transactions": rows})
    return 0


def _report_all(console: Console, ledger: Path | str | None) -> int:
    from pipeline.workflows.report import report_all

    with local_workdir(console, ledger, heads=True, bodies=False) as workdir:
        page, runs = report_all(workdir, ledger=ledger)
    console.say(str(page))
    console.result({"report": str(page), "runs": [_with_tenant(each.summary) for each in runs]})
    return 0
