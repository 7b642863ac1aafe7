"""What the review of a run is made of, kept beside it so that the report can be written again later."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from decimal import Decimal
from typing import Any, Final

from pydantic import TypeAdapter

import pipeline.core.pickling  # noqa: F401 (frames are pickled here)
from pipeline.core.errors import GateClosed, ImportToolError
from pipeline.core.files import private_dir, write_private
from pipeline.core.findings import Anomaly, ControlRow, RootCause
from pipeline.core.settings import Limit
from pipeline.report.data import FEW_REJECTED, Gate, Provenance, ReportData, SourceFile, TenantFinding
from pipeline.report.facts import Facts
from pipeline.report.summary import Summary
from pipeline.staging.manifest import Manifest
from pipeline.staging.workdir import RunDir

# ── While the partitions are staged ─────────────────────────────────────────────────────────────────


def keep(run: RunDir, number: int, found: object) -> None:
    """Keep what a partition found, in place of what it found before."""
    private_dir(run.scratch)
    # A pickle: these files are the process's own, in its private directory, and gone before it ends.
    (run.scratch / f"found-{number:05d}").write_bytes(pickle.dumps(found))


def forget(run: RunDir, number: int) -> None:
    """Forget what a partition found."""
    (run.scratch / f"found-{number:05d}").unlink(missing_ok=True)


def kept(run: RunDir) -> Iterator[Any]:
    """What the partitions found, in their order."""
    for path in sorted(run.scratch.glob("found-*")):
        yield pickle.loads(path.read_bytes())  # noqa: S301 (see `keep`)


# ── Afterwards ──────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class TenantReview:
    """What a run's tenant said.

    Attributes:
        preflight: Its answers; None until it was asked.
        stopped: Why the last load stopped early; empty where it did not.
        looked_up: What the last `confirm` found: confirmed, missing and differing; None before it.
    """

    preflight: tuple[TenantFinding, ...] | None = None
    stopped: str = ""
    looked_up: tuple[int, int, int] | None = None


@dataclass(frozen=True)
class Review:
    """What was found in a run, besides its numbers and facts.

    Attributes:
        gate: How much may be rejected; None for runs of versions that had no default gate.
        causes: Why transactions were rejected or dropped, or are worth a look.
        controls: Control totals beside what was read.
        findings: Statistical warnings.
        rate_per_min: Requests a minute that are expected; None where unknown.
        show_personal_data: Whether the report is unmasked.
        unsure: How many values of the mapping were marked as unsure.
        tenants: What is known from each tenant, by its base URL; see `of`.
    """

    gate: Gate | None = None
    causes: tuple[RootCause, ...] = ()
    controls: tuple[ControlRow, ...] = ()
    findings: tuple[Anomaly, ...] = ()
    rate_per_min: float | None = None
    show_personal_data: bool = False
    unsure: int = 0
    tenants: Mapping[str, TenantReview] = field(default_factory=dict)

    def of(self, tenant: str | None) -> TenantReview:
        """What is known from a tenant; nothing where there is none."""
        return self.tenants.get(tenant or "", TenantReview())

    def with_tenant(self, tenant: str, known: TenantReview) -> Review:
        """The same with what is known from a tenant now."""
        return replace(self, tenants={**self.tenants, tenant: known})


_REVIEW = TypeAdapter(Review)
_OF_TENANT = tuple(each.name for each in fields(TenantReview))


def save(run: RunDir, review: Review, facts: Facts | None = None) -> None:
    """Keep the review beside the run; the facts are written once, since they never change."""
    write_private(run.path / "review.json", _REVIEW.dump_json(review, indent=1).decode() + "\n")
    if facts is not None:
        write_private(run.path / "facts.json", facts.to_json() + "\n")


def saved(run: RunDir) -> Review:
    """The review that was kept."""
    kept = json.loads((run.path / "review.json").read_bytes())
    # Older versions did not keep apart which tenant said it.
    unnamed = {name: kept.pop(name) for name in _OF_TENANT if name in kept}
    if any(unnamed.values()):
        kept["tenants"] = {"": unnamed}
    return _REVIEW.validate_python(kept)


def adopt(run: RunDir, tenant: str) -> None:
    """Give what a tenant that was not noted has said to this one."""
    review = saved(run)
    if "" in review.tenants:
        others = {url: known for url, known in review.tenants.items() if url}
        save(run, replace(review, tenants={tenant: review.tenants[""], **others}))


def report_data(run: RunDir, manifest: Manifest, summary: Summary) -> ReportData:
    """Put together what the report of a run tells, as it stands now."""
    review = saved(run)
    of_tenant = review.of(summary.tenant)
    return ReportData(
        summary=summary,
        facts=Facts.from_json((run.path / "facts.json").read_text(encoding="utf-8")),
        provenance=Provenance(
            mapping=manifest.mapping["path"],
            mapping_hash=manifest.mapping["digest"],
            sources=[
                SourceFile(each.name, each.size, each.rows, each.fingerprint) for each in manifest.sources
            ],
            versions=manifest.versions,
        ),
        causes=review.causes,
        gate=review.gate,
        controls=review.controls,
        findings=review.findings,
        preflight=of_tenant.preflight,
        rate_per_min=review.rate_per_min,
        stopped=of_tenant.stopped,
        unsure=review.unsure,
    )


# ── How a command ends ──────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Finished:
    """How a command on a run ended.

    Attributes:
        data: What its report tells.
        exit_code: What the command gives back to the shell.
        error: What to tell besides; None where there is nothing.
    """

    data: ReportData
    exit_code: int = 0
    error: ImportToolError | None = None

    @property
    def summary(self) -> Summary:
        """The run in numbers."""
        return self.data.summary


DEFAULT_GATE: Final = Limit("25%", share=Decimal("0.25"))
"""More than this means that the mapping or the export is wrong, rather than some of its sales."""


def gate_of(limit: Limit | None, summary: Summary, lost_of_known_sales: int = 0) -> Gate:
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
        return Gate(limit.text, limit.exceeded(rejected, read), rejected, read)
    nothing_accepted = not summary.transactions.accepted and rejected > 0
    too_many = rejected >= FEW_REJECTED and DEFAULT_GATE.exceeded(rejected, read)
    return Gate(
        DEFAULT_GATE.text,
        nothing_accepted or too_many,
        rejected,
        read,
        default=True,
        nothing_accepted=nothing_accepted,
    )


def gate_closed(run_id: str, gate: Gate | None) -> GateClosed | None:
    """What to report where a run's gate is closed; None where it is not."""
    if gate is None or not gate.closed:
        return None
    return GateClosed(
        f"{gate.reason(f'run {run_id}')}; nothing was sent.",
        hint="Fix what its report lists and prepare again. Or prepare it again with a higher --max-rejected: "
        "100% lets through whatever was accepted.",
    )
