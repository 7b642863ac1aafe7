"""What is kept about a run besides its manifest, so that its report can be written again later."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from decimal import Decimal
from functools import cache
from typing import Any, Final

import pydantic_core
from pydantic import TypeAdapter

from pipeline.core.codes import CODES
from pipeline.core.errors import GateClosed, ImportToolError
from pipeline.core.findings import Anomaly, ControlRow, RootCause
from pipeline.core.settings import Limit
from pipeline.core.storage.files import write_private
from pipeline.core.text.privacy import is_personal_field
from pipeline.report.aggregates import Facts
from pipeline.report.data import (
    FEW_REJECTED,
    CheckMade,
    FieldsInOmneo,
    PreviousRun,
    Provenance,
    RejectionGate,
    ReportData,
    ReportedSource,
    TenantAnswer,
)
from pipeline.report.summary import BesideLedger, Summary
from pipeline.staging.manifest import Manifest
from pipeline.staging.workdir import RunDir
from pipeline.workflows.runs.failed_transactions import causes_of_failure

RECORD_JSON: Final = "review.json"
FACTS_JSON: Final = "facts.json"
DEFAULT_GATE: Final = Limit("25%", share=Decimal("0.25"))
"""More than this means that the mapping or the export is wrong, rather than some of its sales."""


@dataclass(frozen=True)
class TenantRecord:
    """What is known of a run from one tenant.

    Attributes:
        preflight: Its answers; None until it was asked.
        stopped: Why the last command stopped early; empty where it did not.
        stopped_command: That command.
        beside: What the last `confirm` found and the ledger does not count for this run; None before it.
        reactions_allowed: Whether old sales may run active triggers.
        fields: What the last `confirm` found of fields.
        cancelled_after_delivery: Sales that it has and that this run dropped since they are not complete.
        sent_at: When a command last sent something; None where none has, or an older version did.
    """

    preflight: tuple[TenantAnswer, ...] | None = None
    stopped: str = ""
    stopped_command: str = "load"
    beside: BesideLedger | None = None
    reactions_allowed: bool = False
    fields: FieldsInOmneo = field(default_factory=FieldsInOmneo)
    cancelled_after_delivery: int = 0
    sent_at: datetime | None = None


@dataclass(frozen=True)
class RunRecord:
    """What was found in a run, besides its numbers and facts.

    Attributes:
        gate: How much may be rejected; None for runs of versions that had no default gate.
        causes: Why transactions were rejected or dropped, or are worth a look.
        controls: Control totals beside what was read.
        findings: Statistical warnings.
        rate_per_min: Requests a minute that are expected; None where unknown.
        show_personal_data: Whether the report is unmasked.
        unsure: How many values of the mapping were marked as unsure.
        personal_values_marked: Whether personal values within messages are marked, to be masked.
        void_cancelled: Whether `load` voids sales that were cancelled after an earlier run delivered them.
        tenants: What is known from each tenant, by its base URL; see `of`.
        checks: Every check that there is; empty for runs of versions that did not record them.
        patterns: What was looked for in the whole run, by code.
        previous: The last run of the same mapping, when this one was prepared.
        currency: Of its transactions; empty for none, several, or as above.
    """

    gate: RejectionGate | None = None
    causes: tuple[RootCause, ...] = ()
    controls: tuple[ControlRow, ...] = ()
    findings: tuple[Anomaly, ...] = ()
    rate_per_min: float | None = None
    show_personal_data: bool = False
    unsure: int = 0
    personal_values_marked: bool = True
    void_cancelled: bool = False
    tenants: Mapping[str, TenantRecord] = field(default_factory=dict)
    checks: tuple[CheckMade, ...] = ()
    patterns: Mapping[str, str] = field(default_factory=dict)
    previous: PreviousRun | None = None
    currency: str = ""

    def of(self, tenant: str | None) -> TenantRecord:
        """What is known from a tenant; nothing where there is none."""
        return self.tenants.get(tenant or "", TenantRecord())

    def with_tenant(self, tenant: str, known: TenantRecord) -> RunRecord:
        """The same with what is known from a tenant now."""
        return replace(self, tenants={**self.tenants, tenant: known})


@cache
def _record_type() -> TypeAdapter[RunRecord]:
    # Made late, since it takes 20 ms and a first `prepare` reads no record.
    return TypeAdapter(RunRecord)


_OF_TENANT: Final = tuple(each.name for each in fields(TenantRecord))


def write(run: RunDir, record: RunRecord, facts: Facts | None = None) -> None:
    """Write the record of a run; its facts are written once, since they never change."""
    as_json = pydantic_core.to_json(record, indent=1, inf_nan_mode="null")
    write_private(run.path / RECORD_JSON, as_json.decode() + "\n")
    if facts is not None:
        write_private(run.path / FACTS_JSON, facts.to_json() + "\n")


def read(run: RunDir) -> RunRecord:
    """Read the record of a run."""
    kept = json.loads((run.path / RECORD_JSON).read_bytes())
    # Older versions did not note which tenant said it.
    unnamed = {name: kept.pop(name) for name in _OF_TENANT if name in kept}
    if any(unnamed.values()):
        kept["tenants"] = {"": unnamed}
    # Nor did they mark personal values in messages. Since those cannot be masked, they are left out.
    for cause in kept["causes"] if not kept.get("personal_values_marked") else ():
        for each in cause["examples"] if is_personal_field(cause["field"]) else ():
            each["message"] = cause["title"]
    return _record_type().validate_python(kept)


def read_facts(run: RunDir) -> Facts:
    """Read the facts of a run."""
    return Facts.from_json((run.path / FACTS_JSON).read_text(encoding="utf-8"))


def adopt(run: RunDir, tenant: str) -> None:
    """Give what an older version kept of a tenant, without its name, to this tenant."""
    record = read(run)
    if "" in record.tenants:
        others = {url: known for url, known in record.tenants.items() if url}
        write(run, replace(record, tenants={tenant: record.tenants[""], **others}))


def cancelled_causes(number: int) -> tuple[RootCause, ...]:
    """The cause in the report for so many sales that were cancelled after delivery; none for 0."""
    about = CODES["cancelled_after_delivery"]
    cause = RootCause("warning", about.name, about.title, None, None, transactions=number, fix=about.fix)
    return (cause,) if number else ()


def report_data(run: RunDir, manifest: Manifest, summary: Summary, **now: Any) -> ReportData:
    """The contents of the report of a run, with the state of the run now.

    Args:
        run: The run.
        manifest: Its record.
        summary: Its numbers.
        now: `states`, `loading` and `replaced_by` of `ReportData`.
    """
    return replace(report_of(read(run), read_facts(run), run, manifest, summary), **now)


def report_of(
    record: RunRecord, facts: Facts, run: RunDir, manifest: Manifest, summary: Summary
) -> ReportData:
    """The contents of the report of a run of which this is the record and these are the facts."""
    d = summary.delivery
    of_tenant = record.of(summary.tenant)
    failed = d.refused or d.failed or d.in_doubt or summary.missing or summary.differing
    return ReportData(
        summary=summary,
        facts=facts,
        provenance=Provenance(
            mapping=manifest.mapping["path"],
            mapping_hash=manifest.mapping["digest"],
            sources=[
                ReportedSource(each.name, each.size, each.rows, each.fingerprint) for each in manifest.sources
            ],
            versions=manifest.versions,
            prepared_at=manifest.created_at,
        ),
        causes=(
            *(causes_of_failure(run) if failed else ()),
            *record.causes,
            *cancelled_causes(of_tenant.cancelled_after_delivery),
        ),
        gate=record.gate,
        controls=record.controls,
        findings=record.findings,
        preflight=of_tenant.preflight,
        rate_per_min=record.rate_per_min,
        stopped=of_tenant.stopped,
        stopped_command=of_tenant.stopped_command,
        unsure=record.unsure,
        fields=of_tenant.fields,
        checks=record.checks,
        patterns=record.patterns,
        previous=record.previous,
    )


@dataclass(frozen=True)
class CommandResult:
    """How a command on a run ended.

    Attributes:
        data: The contents of the run's report.
        exit_code: Of the command.
        error: What to report besides; None where there is nothing.
        extra: What the command adds to the summary's JSON.
    """

    data: ReportData
    exit_code: int = 0
    error: ImportToolError | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def summary(self) -> Summary:
        """The run in numbers."""
        return self.data.summary


def gate_of(limit: Limit | None, summary: Summary, lost_of_known_sales: int = 0) -> RejectionGate:
    """Compare what a run rejected with what may be rejected.

    Args:
        limit: `--max-rejected`; None for the default.
        summary: The run in numbers.
        lost_of_known_sales: Malformed rows of sales that are known: those count themselves, as rejected.
    """
    unknown = summary.rows.malformed - lost_of_known_sales
    rejected = summary.transactions.rejected + unknown
    read = summary.transactions.read + unknown
    if limit is not None:
        return RejectionGate(limit.text, limit.exceeded(rejected, read), rejected, read)
    nothing_accepted = not summary.transactions.accepted and rejected > 0
    too_many = rejected >= FEW_REJECTED and DEFAULT_GATE.exceeded(rejected, read)
    return RejectionGate(
        DEFAULT_GATE.text,
        nothing_accepted or too_many,
        rejected,
        read,
        default=True,
        nothing_accepted=nothing_accepted,
    )


def gate_closed(run_id: str, gate: RejectionGate | None) -> GateClosed | None:
    """The error of a run whose gate is closed; None where it is not."""
    if gate is None or not gate.closed:
        return None
    if gate.too_small:
        return GateClosed(
            f"{gate.too_small}; nothing of run {run_id} was sent.",
            hint="Look whether the export is whole. If the day was quiet, `run` it again with a lower "
            "--min-share.",
        )
    return GateClosed(
        f"{gate.reason(f'run {run_id}')}; nothing was sent.",
        hint="Fix what its report lists and prepare again. Or prepare it again with a higher --max-rejected: "
        "100% lets through whatever was accepted.",
    )
