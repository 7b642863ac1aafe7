"""The verdict: what a person should think of a run after five seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from pipeline.core.text.wording import agree, count, part
from pipeline.report.field_help import help_for
from pipeline.report.formatting import grouped, share
from pipeline.report.next_steps import Circumstances, NextStep, next_steps
from pipeline.report.summary import NO_CURRENCY, Summary, Total, added, most_rejected

if TYPE_CHECKING:
    from pipeline.report.data import RejectionGate, ReportData, StateWorth


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
        steps: What to do next, and who does it, the most urgent first; at least one.
        looks: What a person should look at before loading; empty once something was sent.
    """

    mood: Mood
    headline: str
    sentence: str
    steps: tuple[NextStep, ...]
    looks: tuple[ReviewPoint, ...] = ()

    @property
    def next(self) -> str:
        """The command to type next, or what to do."""
        return next((step for step in self.steps if step.command), self.steps[0]).short


def judge(data: ReportData) -> RunVerdict:
    """Say in a few words how the run of a report stands."""
    return verdict_of(
        data.summary,
        Circumstances(
            causes=data.causes,
            findings=data.findings,
            gate_closed=data.gate is not None and data.gate.closed,
            stopped=data.stopped,
            stopped_command=data.stopped_command,
            fields_help=help_for(data.fields.differing, data.fields.not_kept),
            loading=data.loading,
            replaced_by=data.replaced_by,
        ),
        gate=data.gate,
        looks=_looks(data),
        unsure=data.unsure,
        currency=data.facts.currency,
        states=data.states,
    )


def verdict_of(
    summary: Summary,
    about: Circumstances | None = None,
    *,
    gate: RejectionGate | None = None,
    looks: Sequence[ReviewPoint] = (),
    unsure: int = 0,
    currency: str = "",
    states: Mapping[str, StateWorth] | None = None,
) -> RunVerdict:
    """Say in a few words how a run stands.

    Args:
        summary: The run in numbers.
        about: What else decides on the next steps.
        gate: How much may be rejected; None where that is not known.
        looks: What a person should look at before loading, besides what was rejected.
        unsure: How many values of the mapping are marked as unsure.
        currency: The currency of a run that has only one; empty where it has none or several.
        states: What accepted transactions are worth by state, where that is known.
    """
    about = about or Circumstances()
    closed = gate if gate is not None and gate.closed else None
    sentence = _sentence(
        summary, about.stopped, _Money(summary, currency, states or {}), closed=closed is not None
    )
    steps = next_steps(summary, about)
    if about.replaced_by:
        said = f"All its files were delivered by run {about.replaced_by}. {sentence}"
        return RunVerdict(Mood.GOOD, "Replaced by a later run", said, steps)
    if about.loading:
        return RunVerdict(Mood.LOOK, "A command is working on this run now", sentence, steps)
    if was_loaded(summary) or about.stopped:
        return RunVerdict(*_with_rejections(summary, *_after(summary)), sentence, steps)
    found = (*_unsure(unsure), *_rejections(summary), *looks)
    if closed is not None:
        return RunVerdict(Mood.BAD, _headline_of(closed), f"{closed.reason()}. {sentence}", steps, found)
    return RunVerdict(*_before(summary, len(found), unsure), sentence, steps, found)


@dataclass(frozen=True)
class _Money:
    """Sums of a run for people.

    Attributes:
        summary: The run in numbers.
        currency: Its currency; empty where it has none or several.
        states: What accepted transactions are worth by state, where that is known.
    """

    summary: Summary
    currency: str
    states: Mapping[str, StateWorth]

    def of(self, outcome: str) -> str:
        """The sum of an outcome."""
        return money(self.summary, outcome, self.currency)

    def in_brackets(self, number: int, *states: str) -> str:
        """What so many transactions in some states are worth, as ` (AUD 5.00)`; empty where not known."""
        if number and number == self.summary.transactions.accepted:
            return f" ({self.of('accepted')})"
        known = [self.states[state] for state in states if state in self.states]
        if not known or sum(each.transactions for each in known) != number:
            return ""
        return f" ({worded(added([each.worth for each in known]), self.currency)})"


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
    return worded(summary.totals.get(outcome, "0.00"), currency)


def worded(total: Total, currency: str = "") -> str:
    """A sum for people, as `money` gives it."""
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
    t = summary.transactions
    if t.rejected > MUCH * t.read:
        return Mood.LOOK, f"Look first: {share(t.rejected, t.read)} of the transactions were rejected"
    if unsure:
        return Mood.LOOK, f"Not decided: {count(unsure, 'value')} of the mapping still marked unsure"
    if looks:
        return Mood.LOOK, f"Ready, with {count(looks, 'thing')} to look at first"
    return Mood.GOOD, "Ready to load"


def _after(summary: Summary) -> tuple[Mood, str]:
    d = summary.delivery
    if d.in_doubt and not d.pending:
        return Mood.LOOK, f"Whether Omneo has {count(d.in_doubt, 'transaction')} is unknown"
    voided = d.voided + summary.beside.voided
    if voided and not (d.delivered or d.unchanged - summary.beside.voided):
        return Mood.LOOK, "Voided in Omneo"
    if summary.missing or summary.differing_in_values > 0:
        sent = "Loading is not finished, and" if d.pending else "Delivered, but"
        return Mood.BAD, f"{sent} Omneo does not hold all of {'what was sent' if d.pending else 'it'}"
    if d.pending:
        return Mood.LOOK, "Loading is not finished"
    if d.refused or d.failed:
        return Mood.LOOK, f"Delivered, except {count(d.refused + d.failed, 'transaction')}"
    if voided:
        return Mood.LOOK, f"Delivered, and {count(voided, 'transaction')} of it voided"
    if not summary.confirmed:
        return Mood.GOOD, "Delivered"
    gone = summary.beside.gone
    if summary.unconfirmed or gone:
        rest = f"; {gone:,} cannot be confirmed any more" if gone else ""
        return Mood.GOOD, f"Delivered; {summary.confirmed:,} of {summary.taken:,} confirmed{rest}"
    return Mood.GOOD, "Delivered and confirmed"


def _with_rejections(summary: Summary, mood: Mood, headline: str) -> tuple[Mood, str]:
    """A headline after a load, with what was rejected, since that is left to be fixed."""
    parts = {"transaction": summary.transactions.rejected}
    if not summary.transactions.rejected:  # rows of rejected transactions count by these
        parts["row"] = summary.rejected.get(MALFORMED, 0)
    rejections = [f"{count(number, noun)} rejected" for noun, number in parts.items() if number]
    return (Mood.LOOK if rejections and mood is Mood.GOOD else mood), "; ".join([headline, *rejections])


def _sentence(summary: Summary, stopped: str, sums: _Money, *, closed: bool) -> str:
    """The state now, and what was left out. The table of the states shows what each is worth."""
    loaded = was_loaded(summary)
    now = _delivered(summary, sums) if loaded else _to_be_sent(summary, sums, closed=closed)
    return " ".join(filter(None, (now, _left_out(summary, None if loaded else sums), stopped)))


def _to_be_sent(summary: Summary, sums: _Money, *, closed: bool) -> str:
    t = summary.transactions
    of_read = part(t.accepted, t.read, "transaction")
    if not t.accepted:
        return "" if closed else f"Nothing can be sent to Omneo: {of_read} were accepted."
    worth = sums.of("accepted")
    if closed:
        are = agree(t.accepted, "is")
        return f"Nothing can be sent to Omneo until that is settled. {of_read}, worth {worth}, {are} sound."
    return f"{of_read}, worth {worth}, can be sent to Omneo. Nothing has been sent yet."


def _delivered(summary: Summary, sums: _Money) -> str:
    t, d = summary.transactions, summary.delivery
    beside = summary.beside
    voided, unchanged = d.voided + beside.voided, d.unchanged - beside.voided
    if voided == t.accepted:
        worth, were = sums.of("accepted"), agree(t.accepted, "was")
        what = count(t.accepted, "accepted transaction")
        return (
            f"All {what}, worth {worth}, {were} delivered and then voided: in Omneo they count for nothing."
        )
    parts = (
        ("pending", "pending, still to be sent", d.pending),
        ("in_doubt", "in doubt, without a clear answer", d.in_doubt),
        ("voided", "voided", voided),
        ("forgotten", "forgotten", d.forgotten),
        ("refused", "refused for good", d.refused),
        ("failed", "failed, given up for now", d.failed),
        ("missing", "missing in Omneo", summary.missing or 0),
        ("differing void", "different in Omneo", summary.differing_in_values),
        ("delivered", "not looked up yet", 0 if summary.confirmed is None else summary.unconfirmed),
        ("", "replaced by another run since", beside.replaced),
        ("", "forgotten since", beside.forgotten),
        ("confirmed", "found in Omneo as they were sent", summary.confirmed or 0),
    )
    rest = [
        f"{number:,} {words}{sums.in_brackets(number, *state.split())}"
        for state, words, number in parts
        if number
    ]
    taken = d.delivered + unchanged
    there = f"{part(taken, t.accepted, 'accepted transaction', 'was')} delivered"
    if voided:
        there += " and not voided"
    # Where sales were confirmed, the worth is said of those.
    if not summary.confirmed:
        there += sums.in_brackets(taken, *_TAKEN)
    return f"{'; '.join([there, *rest])}."


_TAKEN: Final = ("delivered", "confirmed", "missing", "differing", "void", "unchanged")
"""States of transactions that Omneo took."""


def _left_out(summary: Summary, sums: _Money | None) -> str:
    """What is not sent, in a sentence, with its worth where sums are given; empty where all is."""
    t = summary.transactions
    unknown = without_total(summary)
    more = f", and {unknown:,} without a total that could be read" if unknown else ""
    clauses = []
    for outcome, number, how in (
        ("dropped", t.dropped, "dropped on purpose"),
        ("rejected", t.rejected, "rejected as defective"),
    ):
        if number:
            worth = f" ({sums.of(outcome)}{more if outcome == 'rejected' else ''})" if sums else ""
            clauses.append(f"{number:,} {agree(number, 'was')} {how}{worth}")
    if rows := summary.rejected.get(MALFORMED, 0):
        clauses.append(f"{count(rows, 'row')} could not be read")
    return f"Left out: {', '.join(clauses)}." if clauses else ""
