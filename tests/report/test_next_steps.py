from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.core.codes import CODES, Fixer
from pipeline.core.findings import Anomaly, RootCause
from pipeline.report.next_steps import Circumstances, fixer_of, next_steps
from pipeline.report.summary import DeliveryCounts, Summary, TransactionCounts
from tests.report.made_up_report import made_up_facts, summary_of

PREPARED = summary_of(made_up_facts(300))
ALL = PREPARED.transactions.accepted
CLEAN = TransactionCounts(ALL, ALL)


def after(**delivery: int) -> Summary:
    return replace(PREPARED, delivery=DeliveryCounts(**delivery))


def commands(summary: Summary, about: Circumstances | None = None) -> list[str]:
    """The commands to type, without run and workdir."""
    typed = (step.command.split() for step in next_steps(summary, about) if step.command)
    return [
        " ".join([words[1], *(word for word in words if word in ("--resend", "--follow"))]) for words in typed
    ]


def first(summary: Summary, about: Circumstances | None = None) -> str:
    return next_steps(summary, about)[0].short


def test_each_state_has_its_command() -> None:
    assert commands(PREPARED) == ["load"]
    assert commands(after(delivered=ALL - 1, pending=1)) == ["load"]
    assert commands(after(delivered=ALL), Circumstances(stopped="401")) == ["load"]
    assert commands(after(delivered=ALL)) == ["confirm"]
    assert commands(after(delivered=ALL - 1, failed=1)) == ["retry", "confirm"]
    assert commands(after(delivered=ALL - 1, in_doubt=1)) == ["retry", "confirm"]
    delivered = after(delivered=ALL)
    assert commands(replace(delivered, confirmed=ALL - 1, missing=1)) == ["confirm --resend"]
    assert commands(replace(delivered, confirmed=1)) == ["confirm"]
    assert commands(replace(delivered, confirmed=ALL)) == []
    assert commands(PREPARED, Circumstances(loading="`load` (since 9:00)")) == ["status --follow"]
    assert commands(PREPARED, Circumstances(replaced_by="later")) == []


def test_what_omneo_refused_for_good_is_corrected_and_not_sent_again() -> None:
    refused = replace(after(delivered=ALL - 2, refused=1, failed=1), confirmed=ALL - 3, missing=1)
    assert commands(refused) == ["retry", "confirm --resend"]
    assert "1 transaction without a clear answer" in next_steps(refused)[0].text
    by = {step.who: step.text for step in next_steps(refused)}
    assert "1 transaction that Omneo refused for good" in by[Fixer.TILL]
    assert "setting in Omneo" in by[Fixer.OMNEO]
    begun = after(delivered=ALL - 3, pending=2, refused=1)
    assert [*dict.fromkeys(step.who for step in next_steps(begun))] == [Fixer.YOU, Fixer.TILL, Fixer.OMNEO]
    only = replace(after(delivered=ALL - 1, refused=1), confirmed=ALL - 1)
    assert commands(only) == []


def test_what_was_rejected_is_for_whoever_can_correct_it() -> None:
    def cause(code: str, fix: str = "") -> RootCause:
        return RootCause("rejected", code, CODES[code].title, None, None, 3, fix or CODES[code].fix)

    assert fixer_of(cause("total_mismatch")) is Fixer.TILL
    assert fixer_of(cause("timezone_unknown")) is Fixer.YOU
    assert fixer_of(cause("transacted_at_invalid")) is Fixer.TILL
    assert fixer_of(cause("transacted_at_invalid", "Add it to `formats`.")) is Fixer.YOU, "a fix was found"
    about = Circumstances(
        causes=[cause("total_mismatch"), cause("timezone_unknown"), cause("total_mismatch")]
    )
    said = {step.who: step.text for step in next_steps(PREPARED, about) if "Correct" in step.text}
    assert said == {
        Fixer.TILL: "Correct in the till's data, and export again: Total differs from the items (6).",
        Fixer.YOU: "Correct in the mapping, then prepare again: Unknown time zone (3).",
    }


def test_what_is_unusual_is_asked_of_whoever_can_say() -> None:
    days = Anomaly("days_without_sales", "Days without sales", "", ("S1, Monday 2024-07-01: no sales",))
    night = Anomaly("sales_at_night", "Sales at night", "", ("S2: 88%",))
    steps = next_steps(PREPARED, Circumstances(findings=[days, night]))
    asked = {step.who: step.text for step in steps if "Say" in step.text or "Look at" in step.text}
    assert "days without sales: S1, Monday 2024-07-01: no sales" in asked[Fixer.TILL]
    assert "sales at night: S2: 88%" in asked[Fixer.YOU]


def test_where_nothing_is_left_to_do_it_says_so() -> None:
    done = replace(after(delivered=ALL), confirmed=ALL, missing=0, differing=0)
    assert "6 rejected transactions are not in Omneo" in next_steps(done)[-1].text
    assert first(replace(done, transactions=CLEAN)) == "Nothing: all that was accepted is in Omneo."
    assert first(after(unchanged=ALL)).startswith("Nothing")
    assert first(replace(after(voided=ALL), transactions=CLEAN)).startswith("Nothing for what was voided: ")
    nothing = replace(PREPARED, transactions=TransactionCounts(), delivery=DeliveryCounts())
    assert "Nothing was accepted" in first(nothing)
    assert "--max-rejected" in first(PREPARED, Circumstances(gate_closed=True))


def test_a_command_names_the_workdir_unless_it_is_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    here = replace(PREPARED, run_dir=".omneo-import/runs/r1", run_id="r1")
    assert first(here) == "omneo-import load r1"
    assert first(replace(here, run_dir=str(tmp_path / ".omneo-import/runs/r1"))) == "omneo-import load r1"
    odd = replace(here, run_dir="/srv/my imports/runs/r1")
    assert first(odd) == "omneo-import load r1 --workdir '/srv/my imports'"


def test_before_the_first_load_what_to_look_at_comes_before_sending() -> None:
    found = (Anomaly("days_without_sales", "Days without sales", "A day is missing.", ("Fitzroy",)),)
    steps = next_steps(after(pending=ALL), Circumstances(findings=found))
    assert (steps[0].who, steps[0].section) == (Fixer.TILL, "findings")
    assert [step.text.split()[0] for step in steps if step.command] == ["Then"]
    assert next_steps(after(pending=ALL))[0].text.startswith("Send ")


def test_who_prepares_again_loads_the_new_run() -> None:
    cause = RootCause("rejected", "total_mismatch", "Total differs from the items", "total", None, 3, "Look")
    looked_at = next_steps(after(pending=ALL), Circumstances(causes=(cause,)))
    (sending,) = (step for step in looked_at if step.command)
    assert sending.text.endswith("If you prepared again, load the new run instead.")
