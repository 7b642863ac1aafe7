"""What a report is made from: the summary, the facts, and what other stages found, as plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from pipeline.core.findings import Anomaly, ControlRow, RootCause
from pipeline.report.aggregates import Facts
from pipeline.report.summary import Summary, Total, TransactionCounts


@dataclass(frozen=True)
class ReportedSource:
    """A file that was imported.

    Attributes:
        name: As the user gave it, or its path.
        bytes: Its size as stored; None where unknown.
        rows: Rows read from it; None where they were not counted by file.
        fingerprint: A hash of its contents.
    """

    name: str
    bytes: int | None = None
    rows: int | None = None
    fingerprint: str = ""


@dataclass(frozen=True)
class Provenance:
    """What was imported, with what.

    Attributes:
        mapping: The mapping's name or path.
        mapping_hash: A hash of the mapping and its look-up tables.
        sources: The files, in the order of the run.
        versions: By name, such as `omneo-import`, `python`, `polars`.
        prepared_at: When the run was prepared, ISO 8601, UTC; empty where that is not known.
    """

    mapping: str
    mapping_hash: str = ""
    sources: Sequence[ReportedSource] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    prepared_at: str = ""


FEW_REJECTED: Final = 20
"""Fewer rejected transactions do not close the default gate: a share of a small export says little."""


@dataclass(frozen=True)
class RejectionGate:
    """Whether so much was rejected that nothing may be sent.

    Attributes:
        limit: How much may be rejected, such as `2%` or `100`.
        closed: More than that was rejected, or all of it, so nothing may be sent.
        rejected: Transactions that were rejected, and malformed rows of which no sale is known.
        read: Transactions that were read, and the same rows.
        default: The limit is the default; False where the user gave it with `--max-rejected`.
        nothing_accepted: The default gate is closed because nothing was accepted.
        too_small: Why the run is smaller than `--min-share` allows, a sentence without its full stop; empty
            where it is not. Then the gate is closed too.
    """

    limit: str
    closed: bool
    rejected: int = 0
    read: int = 0
    default: bool = False
    nothing_accepted: bool = False
    too_small: str = ""

    @property
    def allowed(self) -> str:
        """How much may be rejected, in words that follow "at most"."""
        return f"{self.limit}, or fewer than {FEW_REJECTED} transactions," if self.default else self.limit

    def reason(self, run: str = "the run") -> str:
        """Why it is closed, a sentence without its full stop.

        Args:
            run: What to call the run.
        """
        if self.too_small:
            return self.too_small
        numbers = f" ({self.rejected:,} of {self.read:,})" if self.read else ""
        if self.nothing_accepted:
            return f"Nothing of {run} was accepted, and something was rejected{numbers}"
        return f"More than {self.limit} of {run} was rejected{numbers}"


@dataclass(frozen=True)
class TenantAnswer:
    """An answer of the tenant, found by `preflight`.

    Attributes:
        title: What was asked, such as "Locations that would be created".
        message: The answer in a sentence.
        good: Whether all is well; None where it is only information.
        evidence: Lines that show it.
    """

    title: str
    message: str
    good: bool | None = None
    evidence: Sequence[str] = ()


@dataclass(frozen=True)
class CheckMade:
    """A check of a run.

    Attributes:
        code: The code of what fails it.
        title: Its name for people: what is wrong where it fails.
        severity: What it does to a sale that fails: `drop`, `reject`, `warn` or `off`.
        skipped: Why it was not made; empty where it was.
    """

    code: str
    title: str
    severity: str
    skipped: str = ""


@dataclass(frozen=True)
class PreviousRun:
    """The last run of the same mapping, as it was prepared.

    Attributes:
        run_id: Its name.
        started_at: ISO 8601, UTC.
        mapping_changed: Whether mapping or look-up tables have changed since.
        same_files: How many of its files were read again, with the same contents.
        files: How many files it read.
        transactions: By what became of them.
        totals: By outcome; see `Summary`.
        rejected: Transactions by code.
        dropped: Transactions by code.
        warnings: Transactions by code.
        new_stores: Stores with accepted transactions that it did not have.
        gone_stores: Stores with accepted transactions that only it has.
    """

    run_id: str
    started_at: str
    mapping_changed: bool
    same_files: int
    files: int
    transactions: TransactionCounts
    totals: Mapping[str, Total]
    rejected: Mapping[str, int]
    dropped: Mapping[str, int]
    warnings: Mapping[str, int]
    new_stores: Sequence[str] = ()
    gone_stores: Sequence[str] = ()


@dataclass(frozen=True)
class FieldsInOmneo:
    """What `confirm` found of fields, the last time it looked.

    Attributes:
        differing: Transactions by the name of a field whose value in Omneo is another one.
        not_kept: Transactions by the name of a field that was sent and that Omneo answers without a value.
    """

    differing: Mapping[str, int] = field(default_factory=dict)
    not_kept: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class StateWorth:
    """Accepted transactions that are in one state.

    Attributes:
        transactions: How many.
        worth: The exact sum of their totals; see `Summary`.
    """

    transactions: int
    worth: Total


@dataclass(frozen=True)
class ReportData:
    """Everything that a report tells.

    Attributes:
        summary: The run in numbers.
        facts: What the data holds, all partitions merged.
        causes: Why transactions were rejected or dropped, or are worth a look: rejections first.
        provenance: What was imported, with what.
        gate: How much may be rejected; None for runs of versions that had no default gate.
        controls: Control totals, all lines; empty where none were given.
        findings: Statistical warnings.
        preflight: Answers of the tenant; None where it was not asked.
        rate_per_min: Requests a minute that are expected; None where unknown.
        requests: Requests that loading what is pending takes; None: one a transaction.
        stopped: Why the last command stopped early, a sentence; empty where it did not.
        stopped_command: That command.
        unsure: How many values of the mapping were marked as unsure.
        fields: What `confirm` found of fields.
        checks: Every check that there is; empty for a run of a version that did not record them.
        patterns: What was looked for in the whole run: the title of each statistical warning by its code.
        previous: The last run of the same mapping; None for the first, or as above.
        states: What accepted transactions are worth by state; empty where that is not known, or where all
            are in one.
        loading: Who is sending the run right now; empty where no one is.
        replaced_by: The later run that delivered all files of this one; empty where none did.
    """

    summary: Summary
    facts: Facts
    provenance: Provenance
    causes: Sequence[RootCause] = ()
    gate: RejectionGate | None = None
    controls: Sequence[ControlRow] = ()
    findings: Sequence[Anomaly] = ()
    preflight: Sequence[TenantAnswer] | None = None
    rate_per_min: float | None = None
    requests: int | None = None
    stopped: str = ""
    stopped_command: str = "load"
    unsure: int = 0
    fields: FieldsInOmneo = field(default_factory=FieldsInOmneo)
    checks: Sequence[CheckMade] = ()
    patterns: Mapping[str, str] = field(default_factory=dict)
    previous: PreviousRun | None = None
    states: Mapping[str, StateWorth] = field(default_factory=dict)
    loading: str = ""
    replaced_by: str = ""
