"""One page over all runs: what each brought, what is open, and how far it is confirmed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from pipeline.report.formatting import count
from pipeline.report.render import NO_TENANT, REPORT_HTML, page_parts, templates
from pipeline.report.summary import Summary
from pipeline.report.verdict import RunVerdict


@dataclass(frozen=True)
class RunLine:
    """A run as the page shows it.

    Attributes:
        summary: In numbers, at one tenant.
        verdict: In words.
        mapping: Name of its mapping.
    """

    summary: Summary
    verdict: RunVerdict
    mapping: str

    @property
    def open(self) -> int:
        """Transactions that were accepted and are not in Omneo yet."""
        d = self.summary.delivery
        return d.pending + d.in_doubt + d.refused + d.failed

    @property
    def delivered(self) -> int:
        """Transactions that Omneo took, from this run or unchanged from another."""
        return self.summary.delivery.delivered + self.summary.delivery.unchanged

    def values(self) -> Mapping[str, Any]:
        """What the template shows."""
        summary = self.summary
        return {
            "link": f"runs/{quote(summary.run_id)}/{REPORT_HTML}",
            "started_at": summary.started_at,
            "tenant": summary.tenant,
            "mood": self.verdict.mood,
            "headline": self.verdict.headline,
            "mapping": self.mapping,
            "accepted": summary.transactions.accepted,
            "worth": summary.totals.get("accepted", "0.00"),
            "rejected": summary.transactions.rejected,
            "delivered": self.delivered,
            "open": self.open,
            "confirmed": summary.confirmed,
            "wrong": (summary.missing or 0) + (summary.differing or 0),
        }


def render_runs(runs: Sequence[RunLine]) -> str:
    """The page; it needs nothing else, as the report of a run.

    Args:
        runs: Oldest first; one for each run and tenant.
    """
    values = [run.values() for run in reversed(runs)]
    return (
        templates(autoescape=True)
        .get_template("runs.html.j2")
        .render(
            runs=values,
            most=max((run["accepted"] for run in values), default=0),
            tenants=sorted({run["tenant"] for run in values if run["tenant"] is not None}),
            sentence=_sentence(runs),
            written_at=datetime.now(UTC).isoformat(timespec="seconds"),
            no_tenant=NO_TENANT,
            **page_parts(),
        )
    )


def _sentence(runs: Sequence[RunLine]) -> str:
    """What a person should know first."""
    if not runs:
        return "There are no runs yet."
    delivered, left = sum(run.delivered for run in runs), sum(run.open for run in runs)
    waiting = sum(run.open > 0 for run in runs)
    if not left:
        return f"{count(delivered, 'transaction')} delivered; nothing is open."
    return f"{count(delivered, 'transaction')} delivered; {left:,} are open in {count(waiting, 'run')}."
