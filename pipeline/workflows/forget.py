"""`forget`: remove one person from a working directory, for a deletion request.

Neither the source files nor what Omneo holds is changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Final

from pipeline.core.findings import Occurrence, RootCause
from pipeline.core.storage.files import write_private
from pipeline.loading.ledger.ledger import SqlLedger
from pipeline.staging.erasure import blank_bodies, bodies_with, settle
from pipeline.staging.manifest import read_manifest
from pipeline.staging.staged_run import StagedRun
from pipeline.staging.workdir import RunDir, Workdir
from pipeline.workflows.forgetting.person_name import PersonName
from pipeline.workflows.forgetting.quarantined_rows import QuarantinedRows
from pipeline.workflows.preflight import UNKNOWN_PROFILES_CSV, forget_unknown_profile
from pipeline.workflows.report import report
from pipeline.workflows.results import RESULTS
from pipeline.workflows.runs import run_record
from pipeline.workflows.runs.failed_transactions import UNDELIVERED_CSV
from pipeline.workflows.runs.workdir_lock import workdir_lock
from pipeline.workflows.tenant.effects import SNAPSHOT_JSON, forget_in_snapshots

_TEXTS: Final = (
    *("facts.json", "review.json", "report.json", "report.html", "run.log.jsonl"),
    *(SNAPSHOT_JSON, UNKNOWN_PROFILES_CSV),
)


@dataclass(frozen=True)
class PersonTraces:
    """Where a person was found in a run.

    Attributes:
        run_id: The run.
        staged: Ids of their staged transactions.
        quarantined: Reasons in the quarantine that are about their transactions.
        rows: Rows to fix that are of their transactions.
        files: Other files that name them: the report, what it is made from, the log.
    """

    run_id: str
    staged: tuple[str, ...]
    quarantined: int
    rows: int
    files: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.staged or self.quarantined or self.rows or self.files)


@dataclass(frozen=True)
class ForgetResult:
    """What was removed.

    Attributes:
        runs: Where the person was found.
        words: Transactions of which the ledger had kept what the server said.
    """

    runs: tuple[PersonTraces, ...] = ()
    words: int = 0


def forget(
    workdir: Path,
    name: str,
    *,
    ledger: Path | str | None = None,
    agree: Callable[[Sequence[PersonTraces]], bool] = lambda _: True,
) -> ForgetResult:
    """Remove a person from all runs, and from the server's messages in the ledger.

    Their staged transactions keep id, time and total and lose everything else, so that counts stay true and
    nothing is sent again. What was not sent yet never will be.

    Args:
        workdir: The working directory.
        name: Their email, card or id.
        ledger: Another ledger than the working directory's own.
        agree: Is shown what was found before anything is removed; if it returns False, nothing is.

    Raises:
        SettingsError: The name is too short, or the ledger cannot be used.
        WorkdirBusy: Another process holds the working directory.
    """
    person, home = PersonName(name.strip()), Workdir(workdir.expanduser().absolute())
    if not home.runs:
        return ForgetResult()
    with workdir_lock(home, "forget", ledger):
        runs = [run for run in home.runs if run.manifest.exists()]
        for run in runs:
            # An earlier `forget` may have been killed between writing the manifest and replacing the parts.
            settle(run, read_manifest(run))
        found = {run: traces for run in runs if (traces := _traces(run, person))}
        if not agree(tuple(found.values())):
            return ForgetResult()
        for run in found:
            _forget_in_run(run, person)
        words = 0
        if ledger or home.ledger.exists():
            words = _forget_in_ledger(ledger or home.ledger, found, person)
        for run in found:
            report(home.path, run.run_id, ledger=ledger)
        return ForgetResult(tuple(found.values()), words)


def _traces(run: RunDir, person: PersonName) -> PersonTraces:
    manifest = read_manifest(run)
    quarantined = QuarantinedRows(run, manifest, person)
    paths = [path for name in _TEXTS if (path := run.path / name).exists()]
    return PersonTraces(
        run.run_id,
        staged=tuple(bodies_with(run, manifest, person.within_body())),
        quarantined=quarantined.count_reasons(),
        rows=quarantined.count_rows(),
        files=tuple(path.name for path in paths if person.is_in(path.read_text(encoding="utf-8"))),
    )


def _forget_in_run(run: RunDir, person: PersonName) -> None:
    manifest = blank_bodies(run, read_manifest(run), person.within_body())
    QuarantinedRows(run, manifest, person).remove()
    # The next command about the run writes the list again, and `results` its file.
    for path in (run.path / UNDELIVERED_CSV, *run.path.glob(f"{RESULTS}.*")):
        path.unlink(missing_ok=True)
    forget_in_snapshots(run, person.is_in)
    forget_unknown_profile(run, person.is_in)
    record, facts = run_record.read(run), run_record.read_facts(run)
    samples = facts.samples.filter(~person.within_body().fill_null(value=False))
    samples = samples.filter([not person.is_in(rows) for rows in samples["rows"]])
    causes = tuple(_without(cause, person) for cause in record.causes)
    run_record.write(run, replace(record, causes=causes), replace(facts, samples=samples))
    if run.log.exists():
        write_private(run.log, person.removed_from(run.log.read_text(encoding="utf-8")))


def _without(cause: RootCause, person: PersonName) -> RootCause:
    def names(example: Occurrence) -> bool:
        return person.is_in(example.value) or person.is_in(example.message)

    return replace(
        cause,
        title=person.removed_from(cause.title),
        shape=None if cause.shape is None else person.removed_from(cause.shape),
        fix=person.removed_from(cause.fix),
        examples=tuple(each for each in cause.examples if not names(each)),
    )


def _forget_in_ledger(where: Path | str, found: Mapping[RunDir, PersonTraces], person: PersonName) -> int:
    """Count sales never sent as forgotten and remove messages of the server; returns how many messages."""
    with SqlLedger(where) as any_tenant:
        statuses = any_tenant.statuses()
        words = any_tenant.forget_messages(
            [external_id for traces in found.values() for external_id in traces.staged], person.name
        )
    for run, traces in found.items():
        wanted = set(traces.staged)
        transactions = (
            chain.from_iterable(StagedRun(run.here, read_manifest(run)).batches()) if wanted else ()
        )
        positions = {each.external_id: n for n, each in enumerate(transactions) if each.external_id in wanted}
        for tenant in statuses.get(run.run_id, {}):
            with SqlLedger(where, tenant) as ledger:
                ledger.forget(run.run_id, positions)
    return words
