"""One page over all runs: what each brought, what is open, and how far it is confirmed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final
from urllib.parse import quote

from pipeline.core.text.wording import count
from pipeline.report.charts import Chart, Number
from pipeline.report.formatting import grouped
from pipeline.report.render import NO_TENANT, REPORT_HTML, page_parts, templates
from pipeline.report.summary import Summary, decimal_text
from pipeline.report.verdict import RunVerdict

MOST_DRAWN: Final = 60
"""The newest runs, which are drawn; the table has all."""
MOST_LABELS: Final = 8


@dataclass(frozen=True)
class RunLine:
    """A run as the page shows it.

    Attributes:
        summary: In numbers, at one tenant.
        verdict: In words.
        mapping: Name of its mapping.
        currency: Of its transactions; empty where there is none, several, or it is not known.
        replaced_by: The later run that delivered all of its files; empty where none did.
    """

    summary: Summary
    verdict: RunVerdict
    mapping: str
    currency: str = ""
    replaced_by: str = ""

    @property
    def open(self) -> int:
        """Transactions that were accepted and are not in Omneo yet; none where a later run delivered them."""
        if self.replaced_by:
            return 0
        d = self.summary.delivery
        return d.pending + d.in_doubt + d.refused + d.failed

    @property
    def wrong(self) -> int:
        """Transactions that Omneo lacks or has with other values, as far as it was asked."""
        return (self.summary.missing or 0) + self.summary.differing_in_values

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
            "currency": self.currency,
            "rejected": summary.transactions.rejected,
            "delivered": self.delivered,
            "voided": summary.delivery.voided + summary.beside.voided,
            "open": self.open,
            "confirmed": summary.confirmed,
            "taken": summary.taken,
            "wrong": self.wrong,
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
            charts=_charts(runs[-MOST_DRAWN:]),
            tenants=sorted({run["tenant"] for run in values if run["tenant"] is not None}),
            sentence=_sentence(runs),
            written_at=datetime.now(UTC).isoformat(timespec="seconds"),
            no_tenant=NO_TENANT,
            **page_parts(),
        )
    )


def _charts(runs: Sequence[RunLine]) -> list[Chart]:
    """Counts and worth run by run, oldest first; worth in the currency that most runs have."""
    if len(runs) < 2:
        return []
    labels = [f"{n}. {run.summary.started_at[5:16].replace('T', ' ')}" for n, run in enumerate(runs, 1)]
    shown = labels[:: -(-len(labels) // MOST_LABELS)]
    days = Counter(label.split(" ")[1] for label in shown)
    # Runs of one day differ by their time.
    short = {label: label.split(" ")[1 if max(days.values()) == 1 else 2] for label in shown}
    series: dict[str, list[Number]] = {
        "delivered": [run.delivered for run in runs],
        "open": [run.open for run in runs],
        "rejected": [run.summary.transactions.rejected for run in runs],
    }
    styles = {"delivered": "accepted", "open": "dropped", "rejected": "rejected"}
    counts = Chart("Transactions run by run", _open_runs(runs), labels, series, short, styles=styles)
    currency = Counter(run.currency for run in runs).most_common(1)[0][0]
    worth = [_worth(run, currency) for run in runs]
    most = f"{currency} {grouped(decimal_text(max(worth)))}".strip()
    text = f"Most in one run {most}; the same sales may be in several runs"
    return [
        counts,
        Chart("Worth of the accepted", text + ".", labels, {"accepted": worth}, short, currency=currency),
    ]


def _worth(run: RunLine, currency: str) -> Decimal:
    """What a run accepted in a currency."""
    total = run.summary.totals.get("accepted", "0.00")
    if isinstance(total, str):
        return Decimal(total) if run.currency == currency else Decimal()
    return Decimal(total.get(currency, "0"))


def _open_runs(runs: Sequence[RunLine]) -> str:
    waiting = sum(run.open > 0 for run in runs)
    return f"{count(waiting, 'run')} of {len(runs):,} with something open." if waiting else "Nothing is open."


def _sentence(runs: Sequence[RunLine]) -> str:
    """What a person should know first."""
    if not runs:
        return "There are no runs yet."
    waiting, wrong = sum(run.open > 0 for run in runs), sum(run.wrong > 0 for run in runs)
    found = [
        f"{count(number, 'run', 'has')} {what}"
        for number, what in (
            (waiting, "something open"),
            (wrong, "sales that Omneo lacks or has differently"),
        )
        if number
    ]
    return f"{' and '.join(found)}." if found else "Nothing is open."
