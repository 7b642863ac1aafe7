"""The last run of the same mapping, which the report compares a run with."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from pipeline.core.errors import RunError
from pipeline.report.aggregates import ACCEPTED, Facts
from pipeline.report.data import PreviousRun
from pipeline.report.summary import Summary
from pipeline.staging.manifest import Manifest, is_same_mapping, read_manifest
from pipeline.staging.workdir import RunDir
from pipeline.workflows.runs import run_record


def previous_run(others: Iterable[RunDir], manifest: Manifest, facts: Facts) -> PreviousRun | None:
    """What the last run of the same mapping counted; None for the first.

    Args:
        others: The other runs that are there, oldest first. One that cannot be read is left out.
        manifest: Of the run.
        facts: Of the run.
    """
    for run in reversed([*others]):
        with suppress(RunError, OSError, KeyError):
            before = read_manifest(run)
            if not is_same_mapping(before.mapping, manifest.mapping):
                continue
            now, then = _stores(facts), _stores(run_record.read_facts(run))
            mine = {each.fingerprint for each in manifest.sources}
            summary = Summary.from_dict(before.summary)
            return PreviousRun(
                run_id=before.run_id,
                started_at=before.created_at,
                mapping_changed=before.mapping["recipe"] != manifest.mapping["recipe"],
                same_files=sum(each.fingerprint in mine for each in before.sources),
                files=len(before.sources),
                transactions=summary.transactions,
                totals=summary.totals,
                rejected=summary.rejected,
                dropped=summary.dropped,
                warnings=summary.warnings,
                new_stores=tuple(sorted(now - then)),
                gone_stores=tuple(sorted(then - now)),
            )
    return None


def _stores(facts: Facts) -> set[str]:
    """The stores with accepted transactions."""
    return {*facts.totals.filter(outcome=ACCEPTED)["store"].drop_nulls()}
