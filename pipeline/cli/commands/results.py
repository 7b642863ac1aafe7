"""`results`: write what became of every transaction."""

from __future__ import annotations

from pathlib import Path

from pipeline.cli.command import command
from pipeline.cli.console import Console
from pipeline.cli.options import FILE, LEDGER, RUN, option
from pipeline.cli.workdir import local_workdir
from pipeline.core.settings import base_url_from_environment


@command
@option("-o", "--output", type=FILE, help="Write to this file, as Parquet or CSV by its name.")
@LEDGER
@RUN
def results(console: Console, reference: str, output: Path | None, ledger: Path | str | None) -> int:
    """Write what became of every transaction of a run, a row each.

    Joins the source file and line with outcome, codes, state in Omneo, the server's message and Omneo's id.
    Without -o it is `results.csv` in the run's directory.
    """
    from pipeline.report.formatting import count
    from pipeline.workflows.results import write_results

    base_url = base_url_from_environment()
    with local_workdir(console, ledger, run=reference, writes=output is None) as workdir:
        path, rows = write_results(workdir, reference, output, ledger=ledger, base_url=base_url)
    console.say(f"{count(rows, 'transaction')} in {path}")
    console.result({"file": str(path), "transactions": rows})
    return 0
