"""What must happen next with a run, and who has to do it."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from pipeline.core.codes import CODES, Fixer, Outcome
from pipeline.core.findings import ANOMALY_KINDS, Anomaly, RootCause
from pipeline.core.text.wording import count
from pipeline.report.summary import DEFAULT_WORKDIR, Summary, most_rejected


@dataclass(frozen=True)
class NextStep:
    """One thing to do.

    Attributes:
        who: Who has to do it.
        text: What, in a sentence or two; words in backticks are code.
        command: To be pasted into a shell; empty where there is nothing to type.
        section: The part of the report that has the particulars, causes or findings; empty for delivery.
    """

    who: Fixer
    text: str
    command: str = ""
    section: str = ""

    @property
    def short(self) -> str:
        """The command, or else the sentence."""
        return self.command or self.text


@dataclass(frozen=True)
class Circumstances:
    """What decides on the next steps besides the numbers of a run.

    Attributes:
        causes: Why transactions were rejected.
        findings: What is unusual in the run.
        gate_closed: More was rejected than may be, so nothing can be sent.
        stopped: Why the last command stopped early; empty where it did not.
        stopped_command: That command.
        fields_help: What helps where fields differ in Omneo or are not kept; empty where none is.
        loading: Who is sending the run right now; empty where no one is.
        replaced_by: The later run that delivered all files of this one; empty where none did.
    """

    causes: Sequence[RootCause] = ()
    findings: Sequence[Anomaly] = ()
    gate_closed: bool = False
    stopped: str = ""
    stopped_command: str = "load"
    fields_help: str = ""
    loading: str = ""
    replaced_by: str = ""


ITEMS_TWICE: Final = "Items that are there twice have no external_id: give them one in the mapping."
_MOST_NAMED: Final = 3
"""Causes that a step names; the section on causes has all."""


def next_steps(summary: Summary, about: Circumstances | None = None) -> tuple[NextStep, ...]:
    """What to do, the most urgent first; one step that says so where nothing is left to do.

    Before the first load, what must be looked at or corrected comes before sending.

    Args:
        summary: The run as it stands.
        about: What else is known.
    """
    about = about or Circumstances()
    if about.replaced_by:
        return (_you(f"Nothing: its sales are in run {about.replaced_by}."),)
    sending = (*_delivery(summary, about), *_refused(summary))
    sending = sending or (_you(_nothing_left(summary)),)
    corrections, questions = (*_corrections(about),), (*_questions(about),)
    t, d = summary.transactions, summary.delivery
    looks_first = d.pending == t.accepted and sending[0].command and not (about.loading or about.stopped)
    if looks_first and (first := [*questions, *corrections]):
        # Steps of the reader come last, since the command that loads is theirs.
        first.sort(key=lambda step: step.who is Fixer.YOU)
        new_run = " If you prepared again, load the new run instead." if corrections else ""
        then = replace(sending[0], text=f"Then {sending[0].text[0].lower()}{sending[0].text[1:]}{new_run}")
        return (*first, then, *sending[1:], *_rejected_rows(summary, about))
    steps = (*sending, *corrections, *_rejected_rows(summary, about), *questions)
    people = [*dict.fromkeys(step.who for step in steps)]
    return tuple(sorted(steps, key=lambda step: people.index(step.who)))


def _nothing_left(summary: Summary) -> str:
    beside = summary.beside
    if not beside.gone:
        return "Nothing: all that was accepted is in Omneo."
    parts = ((beside.replaced, "replaced by another run"), (beside.forgotten, "forgotten"))
    gone = " and ".join(f"{count(number, 'transaction', 'was')} {why}" for number, why in parts if number)
    return f"Nothing: all was delivered, and what can be looked up is in Omneo. {gone} since."


def _you(text: str, command: str = "") -> NextStep:
    return NextStep(Fixer.YOU, text, command)


def _delivery(summary: Summary, about: Circumstances) -> Iterator[NextStep]:
    """What brings accepted transactions into Omneo, and shows that they are there."""
    t, d = summary.transactions, summary.delivery
    if about.loading:
        yield _you(f"Wait: {about.loading} is working on it.", command(summary, "status", "--follow"))
    elif about.gate_closed:
        yield _you(
            "Fix what the report lists, then prepare again. Or let the rest through: prepare it with "
            "`--max-rejected 100%`."
        )
    elif t.read == 0 and not summary.rows.malformed:
        yield _you("Nothing: the source has no rows.")
    elif t.accepted == 0:
        yield _you("Nothing was accepted: fix what the report lists, then prepare again.")
    elif d.pending == t.accepted and most_rejected(t):
        yield _you("Fix what the report lists, then prepare again; or load the rest with `load`.")
    elif about.stopped and about.stopped_command != "load":
        yield _you("Go on with what was stopped.", command(summary, about.stopped_command))
    elif d.pending or about.stopped:
        what = f"Send the {count(d.pending, 'transaction')} that Omneo has not got yet."
        yield _you(what if d.pending else "Go on with what was stopped.", command(summary, "load"))
    else:
        yield from _unsettled(summary, about)


def _unsettled(summary: Summary, about: Circumstances) -> Iterator[NextStep]:
    """What is left once everything was sent."""
    d, missing = summary.delivery, summary.missing or 0
    undone, differing = summary.beside.only_void, summary.differing_in_values
    if unclear := d.in_doubt + d.failed:
        yield _you(
            f"Look up and send again the {count(unclear, 'transaction')} without a clear answer. If the load "
            "was killed, `load` goes on with it first.",
            command(summary, "retry"),
        )
    if missing:
        rest = summary.unconfirmed
        also = f", and look up {count(rest, 'transaction')} for the first time" if rest else ""
        yield _you(
            f"Send again the {count(missing, 'transaction')} that Omneo took and does not have{also}. If "
            "they are still missing after that, ask Omneo why.",
            command(summary, "confirm", "--resend"),
        )
    if differing:
        yield _you(
            f"Compare {summary.run_dir}/undelivered.csv with Omneo. {about.fields_help or ITEMS_TWICE} "
            "Prepare again; `load` sends what has changed."
        )
    if not (missing or differing) and summary.unconfirmed:
        yield _you("Look up in Omneo what was sent, and compare it.", command(summary, "confirm"))
    if d.voided or undone:
        number = d.voided + summary.beside.voided
        what = (
            f"{count(number, 'transaction', 'was')} undone on purpose"
            if number
            else "It was undone on purpose"
        )
        yield _you(
            f"Nothing for what was voided: {what}. `load --revive` would send it again, no longer void."
        )
    if about.fields_help and not (differing or undone):
        yield NextStep(Fixer.OMNEO, about.fields_help)


def _refused(summary: Summary) -> Iterator[NextStep]:
    """What to do about what Omneo refused for good: sending it again as it is does not help."""
    if refused := summary.delivery.refused:
        yield NextStep(
            Fixer.TILL,
            f"Correct the data of {count(refused, 'transaction')} that Omneo refused for good, and export "
            "again: What is left out has the reasons. Sending the same again does not help.",
        )
        yield NextStep(
            Fixer.OMNEO,
            "Only where the reason is a setting in Omneo, such as a currency that is not configured: change "
            "that setting. After that, and not before, `retry` sends what was refused once more.",
        )


def _corrections(about: Circumstances) -> Iterator[NextStep]:
    """What was rejected, by who can correct it."""
    rejected = [cause for cause in about.causes if cause.outcome == Outcome.REJECTED.value]
    for who, what in (
        (Fixer.TILL, "Correct in the till's data, and export again"),
        (Fixer.YOU, "Correct in the mapping, then prepare again"),
    ):
        titles: Counter[str] = Counter()
        for cause in rejected:
            if fixer_of(cause) is who:
                titles[cause.title] += cause.transactions
        if titles:
            named = [f"{title} ({number:,})" for title, number in titles.most_common(_MOST_NAMED)]
            more = len(titles) - _MOST_NAMED
            listed = ", ".join([*named, *([count(more, "more cause")] if more > 0 else [])])
            yield NextStep(who, f"{what}: {listed}.", section="causes")


def _rejected_rows(summary: Summary, about: Circumstances) -> Iterator[NextStep]:
    """How rejected transactions come into Omneo once their rows are fixed."""
    number = summary.transactions.rejected
    if number and summary.transactions.accepted and not about.gate_closed:
        yield NextStep(
            Fixer.YOU,
            f"{count(number, 'rejected transaction', 'is')} not in Omneo: `run` them once the mapping is "
            f"corrected, or their rows are, in {summary.run_dir}/quarantine_rows* or in a new export.",
            section="causes",
        )


def _questions(about: Circumstances) -> Iterator[NextStep]:
    """What is unusual, by who can say whether it is right."""
    for who, what in ((Fixer.TILL, "Say whether the export is whole and right"), (Fixer.YOU, "Look at")):
        asked = [each for each in about.findings if _who_explains(each) is who]
        if asked:
            named = (": ".join([each.title.lower(), *each.evidence[:1]]) for each in asked[:_MOST_NAMED])
            yield NextStep(who, f"{what}: {'; '.join(named)}.", section="findings")


def _who_explains(anomaly: Anomaly) -> Fixer:
    kind = ANOMALY_KINDS.get(anomaly.code)
    return kind.fixer if kind else Fixer.YOU


def fixer_of(cause: RootCause) -> Fixer:
    """Who can correct a cause: a fix that was found for its values, and quotes the mapping, is for you."""
    code = CODES.get(cause.code)
    if code is None or (cause.fix != code.fix and "`" in cause.fix):
        return Fixer.YOU
    return code.fixer


def command(summary: Summary, verb: str, *options: str) -> str:
    """A command line about this run that can be pasted into a shell, with the workdir where it matters."""
    workdir = summary.run_dir.removesuffix(f"/runs/{summary.run_id}")  # a path, or a URL
    where = [] if Path(workdir).absolute() == Path.cwd() / DEFAULT_WORKDIR else ["--workdir", workdir]
    return shlex.join(["omneo-import", verb, summary.run_id, *options, *where])
