"""The verdict: what a person should think of a run after five seconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from pipeline.core.wording import agree, count, part
from pipeline.report.field_help import help_for
from pipeline.report.formatting import grouped
from pipeline.report.summary import NO_CURRENCY, Summary, most_rejected, next_step

if TYPE_CHECKING:
    from pipeline.report.data import RejectionGate, ReportData


REJECTIONS: Final = "causes"
"""The section of the report that explains what was rejected."""
MALFORMED: Final = "malformed_row"
MUCH: Final = 0.1
"""Share of the transactions that may be rejected before the headline says so."""
PROVENANCE: Final = "provenance"
"""The section of the report that names the mapping."""
PREFLIGHT: Final = "preflight"
"""The section of the report with the tenant's answers."""


class Mood(StrEnum):
    """How it looks."""

    GOOD = "good"
    LOOK = "look"
    BAD = "bad"


@dataclass(frozen=True)
class ReviewPoint:
    """A thing to look at before loading.

    Attributes:
        text: What it is, a few words.
        section: The part of the report that tells more: causes, controls, findings or preflight.
    """

    text: str
    section: str


@dataclass(frozen=True)
class RunVerdict:
    """The answer to "may we?".

    Attributes:
        mood: How it looks.
        headline: A few words.
        sentence: One or two sentences with the numbers.
        next: The command to type next, or what to do.
        looks: What a person should look at before loading; empty once something was sent.
    """

    mood: Mood
    headline: str
    sentence: str
    next: str
    looks: tuple[ReviewPoint, ...] = ()


def judge(data: ReportData) -> RunVerdict:
    """Say in a few words how the run of a report stands."""
    return verdict_of(
        data.summary,
        gate=data.gate,
        stopped=data.stopped,
        looks=_looks(data),
        unsure=data.unsure,
        fields_help=help_for(data.fields.differing, data.fields.not_kept),
        currency=data.facts.currency,
    )


def verdict_of(
    summary: Summary,
    *,
    gate: RejectionGate | None = None,
    stopped: str = "",
    looks: Sequence[ReviewPoint] = (),
    unsure: int = 0,
    fields_help: str = "",
    currency: str = "",
) -> RunVerdict:
    """Say in a few words how a run stands.

    Args:
        summary: The run in numbers.
        gate: How much may be rejected; None where that is not known.
        stopped: Why the load stopped early, a sentence; empty where it did not.
        looks: What a person should look at before loading, besides what was rejected.
        unsure: How many values of the mapping are marked as unsure.
        fields_help: What helps where fields differ in Omneo or are not kept; empty where none is.
        currency: The currency of a run that has only one; empty where it has none or several.
    """
    closed = gate if gate is not None and gate.closed else None
    sentence = _sentence(summary, stopped, currency, closed=closed is not None)
    step = next_step(summary, gate_closed=closed is not None, stopped=stopped, fields_help=fields_help)
    if was_loaded(summary) or stopped:
        return RunVerdict(*_with_rejections(summary, *_after(summary)), sentence, step)
    found = (*_unsure(unsure), *_rejections(summary), *looks)
    if closed is not None:
        return RunVerdict(Mood.BAD, _headline_of(closed), f"{closed.reason()}. {sentence}", step, found)
    return RunVerdict(*_before(summary, len(found), unsure), sentence, step, found)


def _headline_of(closed: RejectionGate) -> str:
    if closed.too_small:
        return "Not ready: much less than usual"
    return "Not ready: " + ("nothing was accepted" if closed.nothing_accepted else "too much was rejected")


def was_loaded(summary: Summary) -> bool:
    """Whether anything was delivered, or tried; asking the tenant is neither."""
    d = summary.delivery
    return summary.transactions.accepted > d.pending + d.forgotten


def money(summary: Summary, outcome: str, currency: str = "") -> str:
    """The sum of an outcome for people: `AUD 1,234.50`; several currencies are joined by "and"."""
    total = summary.totals.get(outcome, "0.00")
    if isinstance(total, str):
        return f"{currency} {grouped(total)}".strip()
    parts = [f"{'' if name == NO_CURRENCY else name} {grouped(amount)}" for name, amount in total.items()]
    return " and ".join(part.strip() for part in parts) or "0.00"


def without_total(summary: Summary) -> int:
    """How many rejected transactions count as zero in its sum, since their total could not be read."""
    return sum(summary.rejected.get(code, 0) for code in ("total_missing", "total_invalid"))


def _rejections(summary: Summary) -> list[ReviewPoint]:
    """What was rejected; a row that could not be read may be all of it, or part of an accepted sale."""
    looks = []
    if reasons := summary.rejected.keys() - {MALFORMED}:
        many = count(summary.transactions.rejected, "transaction")
        looks.append(ReviewPoint(f"{many} rejected, for {count(len(reasons), 'reason')}", REJECTIONS))
    if rows := summary.rejected.get(MALFORMED):
        looks.append(ReviewPoint(f"{count(rows, 'row')} could not be read", REJECTIONS))
    return looks


def _looks(data: ReportData) -> list[ReviewPoint]:
    """Differing control totals, statistical warnings, bad answers of the tenant."""
    differing = sum(not row.agrees for row in data.controls)
    controls = [ReviewPoint(part(differing, len(data.controls), "control total", "differs"), "controls")]
    return [
        *(controls if differing else ()),
        *(ReviewPoint(finding.title, "findings") for finding in data.findings),
        *(ReviewPoint(answer.title, PREFLIGHT) for answer in data.preflight or () if answer.good is False),
    ]


def _unsure(values: int) -> list[ReviewPoint]:
    """Guessed values that have not been confirmed yet."""
    if not values:
        return []
    return [ReviewPoint(f"{count(values, 'value')} of the mapping still marked unsure", PROVENANCE)]


def _before(summary: Summary, looks: int, unsure: int) -> tuple[Mood, str]:
    if summary.transactions.accepted == 0:
        return Mood.BAD, "Nothing to import"
    if most_rejected(summary.transactions):
        return Mood.BAD, "Not ready: most was rejected"
    share = summary.transactions.rejected / summary.transactions.read
    if share > MUCH:
        return Mood.LOOK, f"Look first: {share:.0%} of the transactions were rejected"
    if unsure:
        return Mood.LOOK, f"Not decided: {count(unsure, 'value')} of the mapping still marked unsure"
    if looks:
        return Mood.LOOK, f"Ready, with {count(looks, 'thing')} to look at first"
    return Mood.GOOD, "Ready to load"


def _after(summary: Summary) -> tuple[Mood, str]:
    d = summary.delivery
    if d.in_doubt and not d.pending:
        return Mood.LOOK, f"Whether Omneo has {count(d.in_doubt, 'transaction')} is unknown"
    if d.voided and not d.delivered:
        return Mood.LOOK, "Voided in Omneo"
    if summary.missing or summary.differing:
        sent = "Loading is not finished, and" if d.pending else "Delivered, but"
        return Mood.BAD, f"{sent} Omneo does not hold all of {'what was sent' if d.pending else 'it'}"
    if d.pending:
        return Mood.LOOK, "Loading is not finished"
    if d.refused or d.failed:
        return Mood.LOOK, f"Delivered, except {count(d.refused + d.failed, 'transaction')}"
    if d.voided:
        return Mood.LOOK, f"Delivered, and {count(d.voided, 'transaction')} of it voided"
    if not summary.confirmed:
        return Mood.GOOD, "Delivered"
    if summary.confirmed < d.delivered:
        return Mood.GOOD, f"Delivered; {summary.confirmed:,} of {d.delivered:,} confirmed"
    return Mood.GOOD, "Delivered and confirmed"


def _with_rejections(summary: Summary, mood: Mood, headline: str) -> tuple[Mood, str]:
    """A headline after a load, with what was rejected, since that is left to be fixed."""
    parts = {"transaction": summary.transactions.rejected}
    if not summary.transactions.rejected:  # rows of rejected transactions count by these
        parts["row"] = summary.rejected.get(MALFORMED, 0)
    rejections = [f"{count(number, noun)} rejected" for noun, number in parts.items() if number]
    return (Mood.LOOK if rejections and mood is Mood.GOOD else mood), "; ".join([headline, *rejections])


def _sentence(summary: Summary, stopped: str, currency: str, *, closed: bool) -> str:
    """What is true now, and what was left out."""
    if was_loaded(summary):
        now = _delivered(summary, currency)
    else:
        now = _to_be_sent(summary, currency, closed=closed)
    return " ".join(filter(None, (now, _left_out(summary, currency), stopped)))


def _to_be_sent(summary: Summary, currency: str, *, closed: bool) -> str:
    t = summary.transactions
    of_read = part(t.accepted, t.read, "transaction")
    if not t.accepted:
        return (
            "" if closed else f"Nothing can be sent to Omneo: {of_read} {agree(t.accepted, 'was')} accepted."
        )
    worth = money(summary, "accepted", currency)
    if closed:
        are = agree(t.accepted, "is")
        return f"Nothing can be sent to Omneo until that is settled. {of_read}, worth {worth}, {are} sound."
    return f"{of_read}, worth {worth}, can be sent to Omneo. Nothing has been sent yet."


def _delivered(summary: Summary, currency: str) -> str:
    t, d = summary.transactions, summary.delivery
    worth, taken = money(summary, "accepted", currency), d.delivered + d.unchanged
    if d.voided == t.accepted:
        accepted = count(t.accepted, "accepted transaction")
        return (
            f"All {accepted}, worth {worth}, {agree(t.accepted, 'was')} delivered and then voided: "
            "in Omneo they count for nothing."
        )
    others = {
        "still to be sent": d.pending,
        "in doubt": d.in_doubt,
        "voided": d.voided,
        "forgotten": d.forgotten,
        "refused": d.refused,
        "failed": d.failed,
        "missing in Omneo": summary.missing or 0,
        "different in Omneo": summary.differing or 0,
        "found in Omneo as they were sent": summary.confirmed or 0,
    }
    rest = [f"{number:,} {state}" for state, number in others.items() if number]
    there = f"{part(taken, t.accepted, 'accepted transaction', 'was')} delivered"
    return f"{'; '.join([there, *rest])}. All that was accepted is worth {worth}."


def _left_out(summary: Summary, currency: str) -> str:
    """What is not sent, in a sentence with its worth; empty where all is."""
    t = summary.transactions
    unknown = without_total(summary)
    more = f", and {unknown:,} without a total that could be read" if unknown else ""
    clauses = [
        f"{number:,} {agree(number, 'was')} {how} "
        f"({money(summary, outcome, currency)}{more if outcome == 'rejected' else ''})"
        for outcome, number, how in (
            ("dropped", t.dropped, "dropped on purpose"),
            ("rejected", t.rejected, "rejected"),
        )
        if number
    ]
    if rows := summary.rejected.get(MALFORMED, 0):
        clauses.append(f"{count(rows, 'row')} could not be read")
    return f"Left out: {', '.join(clauses)}." if clauses else ""
