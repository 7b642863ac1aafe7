"""The verdict: what a person should think of a run after five seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from pipeline.report.data import ReportData
from pipeline.report.summary import NO_CURRENCY, Summary, next_step


class Mood(StrEnum):
    """How it looks."""

    GOOD = "good"
    LOOK = "look"
    BAD = "bad"


@dataclass(frozen=True)
class Verdict:
    """The answer to "may we?".

    Attributes:
        mood: How it looks.
        headline: A few words.
        sentence: One or two sentences with the numbers.
        next: The command to type next, or what to do.
    """

    mood: Mood
    headline: str
    sentence: str
    next: str


def judge(data: ReportData) -> Verdict:
    """Say in a few words how the run stands."""
    summary = data.summary
    closed = data.gate is not None and data.gate.closed
    mood, headline = _before(data) if not _was_loaded(summary) else _after(summary)
    return Verdict(
        mood,
        headline,
        _sentence(data),
        next_step(summary, gate_closed=closed, stopped=data.stopped),
    )


def _was_loaded(summary: Summary) -> bool:
    return summary.transactions.accepted > summary.delivery.pending or summary.requests.sent > 0


def _before(data: ReportData) -> tuple[Mood, str]:
    t = data.summary.transactions
    if data.gate is not None and data.gate.closed:
        return Mood.BAD, "Not ready: too much was rejected"
    if t.accepted == 0:
        return Mood.BAD, "Nothing to import"
    looks = _things_to_look_at(data)
    if looks:
        return Mood.LOOK, f"Ready, with {count(looks, 'thing')} to look at first"
    return Mood.GOOD, "Ready to load"


def _things_to_look_at(data: ReportData) -> int:
    """Rejected codes, differing control totals (as one), statistical warnings, bad answers of the tenant."""
    return (
        len(data.summary.rejected)
        + any(not row.agrees for row in data.controls)
        + len(data.findings)
        + sum(answer.good is False for answer in data.preflight or ())
    )


def _after(summary: Summary) -> tuple[Mood, str]:
    d = summary.delivery
    if summary.missing or summary.differing:
        return Mood.BAD, "Delivered, but Omneo does not hold all of it"
    if d.pending:
        return Mood.LOOK, "Loading is not finished"
    if d.refused or d.failed:
        return Mood.LOOK, f"Delivered, except {count(d.refused + d.failed, 'transaction')}"
    return Mood.GOOD, "Delivered and confirmed" if summary.confirmed else "Delivered"


def _sentence(data: ReportData) -> str:
    t, d = data.summary.transactions, data.summary.delivery
    worth = money(data.summary, "accepted", data)
    if not _was_loaded(data.summary):
        return f"{t.accepted:,} of {count(t.read, 'transaction')}, worth {worth}, can be sent to Omneo."
    there = d.delivered + d.unchanged
    text = f"{there:,} of {count(t.accepted, 'accepted transaction')} (worth {worth} in all) are delivered."
    return f"{text} {data.stopped}".strip()


def count(number: int, noun: str) -> str:
    """`1 thing`, `2,000 things`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def money(summary: Summary, outcome: str, data: ReportData) -> str:
    """The sum of an outcome for people: `AUD 1,234.50`, several currencies joined by "and"."""
    total = summary.totals[outcome]
    if isinstance(total, Mapping):
        parts = [
            f"{'' if name == NO_CURRENCY else name} {grouped(amount)}".strip()
            for name, amount in total.items()
        ]
        return " and ".join(parts) or "0.00"
    only = [name for name in data.facts.sums(outcome) if name]
    return f"{only[0] if only else ''} {grouped(total)}".strip()


def grouped(amount: str) -> str:
    """A decimal string with commas between the thousands."""
    whole, point, places = amount.partition(".")
    return f"{int(whole):,}{point}{places}" if whole not in ("-0", "-") else amount
