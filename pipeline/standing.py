"""How runs stand: the dry run's numbers, with the delivery as the ledger has it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline import review
from pipeline.loading.entries import RunStatus
from pipeline.loading.ledger import SqlLedger
from pipeline.report.data import Cause, ReportData
from pipeline.report.files import REPORT_HTML, write_report
from pipeline.report.summary import Delivery, Summary
from pipeline.report.verdict import Verdict, verdict_of
from pipeline.report.view import view
from pipeline.staging.manifest import Manifest, read_manifest
from pipeline.staging.workdir import RunDir, Workdir


@dataclass(frozen=True)
class Standing:
    """How a run stands.

    Attributes:
        summary: In numbers.
        verdict: In words.
        causes: Why transactions were rejected or dropped.
    """

    summary: Summary
    verdict: Verdict
    causes: Sequence[Cause] = ()


def status(workdir: Path, reference: str | None, *, ledger: Path | str | None = None) -> list[Standing]:
    """How all runs stand, oldest first; or how one does. Leaves no trace.

    Raises:
        CannotStart: There is no such run, or the ledger cannot be read.
    """
    home = Workdir(workdir.expanduser().absolute())
    if reference:
        runs = [home.find(reference)]
        summaries = [_standing(home, runs[0], ledger)]
    else:
        runs = [run for run in home.runs if run.manifest.exists()]
        summaries = _all_standing(home, runs, ledger)
    standing = []
    for run, summary in zip(runs, summaries, strict=True):
        kept = review.saved(run)
        verdict = verdict_of(summary, gate=kept.gate, stopped=kept.stopped, unsure=kept.unsure)
        standing.append(Standing(summary, verdict, kept.causes))
    return standing


def report(
    workdir: Path, reference: str, *, ledger: Path | str | None = None, show_personal_data: bool | None = None
) -> tuple[ReportData, dict[str, Any]]:
    """Write the report of a run again, as it stands now.

    Args:
        workdir: The working directory.
        reference: Which run.
        ledger: Another ledger than the working directory's own.
        show_personal_data: Mask or not; None for what `prepare` was told.

    Returns:
        What the report tells, and the same as the plain values that were written.

    Raises:
        CannotStart: There is no such run, or the ledger cannot be read.
    """
    home = Workdir(workdir.expanduser().absolute())
    run = home.find(reference)
    kept = review.saved(run)
    if show_personal_data is not None:
        kept = replace(kept, show_personal_data=show_personal_data)
        review.save(run, kept)
    data = review.report_data(run, read_manifest(run), _standing(home, run, ledger))
    write_report(run.path, data, show_personal_data=kept.show_personal_data)
    return data, view(data, show_personal_data=kept.show_personal_data)


def _standing(home: Workdir, run: RunDir, ledger: Path | str | None) -> Summary:
    with _opened(home, ledger) as opened:
        known = opened.status(run.run_id) if opened and run.run_id in opened.runs() else None
    return _counted(run, known)


def _all_standing(home: Workdir, runs: Sequence[RunDir], ledger: Path | str | None) -> list[Summary]:
    with _opened(home, ledger) as opened:
        known = opened.statuses() if opened else {}
    return [_counted(run, known.get(run.run_id)) for run in runs]


@contextmanager
def _opened(home: Workdir, ledger: Path | str | None) -> Iterator[SqlLedger | None]:
    """The ledger; None where it is a file that is not there yet."""
    where = ledger or home.ledger
    if isinstance(where, Path) and not where.exists():
        yield None
        return
    with SqlLedger(where) as opened:
        yield opened


def _counted(run: RunDir, known: RunStatus | None) -> Summary:
    manifest = read_manifest(run)
    number = manifest.transactions
    return counted(run, manifest, known or RunStatus(number, 0, 0, 0, 0, number))


def counted(run: RunDir, manifest: Manifest, known: RunStatus) -> Summary:
    """The summary of `prepare`, with the delivery as the ledger has it."""
    looked = (known.confirmed, known.missing, known.differing)
    # What an earlier run delivered counts there; what `confirm` saw of it is remembered here.
    seen = looked if any(looked) else review.saved(run).looked_up or (None, None, None)
    return replace(
        Summary.from_dict(manifest.summary),
        run_dir=run.address,
        report=f"{run.address}/{REPORT_HTML}",
        delivery=Delivery(known.delivered, known.unchanged, known.refused, known.failed, known.pending),
        confirmed=seen[0],
        missing=seen[1],
        differing=seen[2],
    )
