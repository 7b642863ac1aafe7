from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal

import pytest

from pipeline.core.findings import ControlRow, Occurrence, RootCause, Sums
from pipeline.report.data import RejectionGate, ReportData
from pipeline.report.summary import DeliveryCounts, Summary, TransactionCounts
from pipeline.report.verdict import Mood, judge, money
from pipeline.report.view import masked, view
from tests.report.made_up_report import made_up_facts, made_up_report, summary_of

FACTS = made_up_facts(400)
DATA = made_up_report(FACTS)
CALM = replace(
    DATA,
    summary=replace(DATA.summary, rejected={}),
    controls=DATA.controls[:1],
    findings=(),
    preflight=None,
)


def test_the_summary_comes_first_and_everything_is_json() -> None:
    values = view(DATA)
    assert list(values)[: len(DATA.summary.as_dict())] == list(DATA.summary.as_dict())
    assert Summary.from_dict(json.loads(json.dumps(values))) == DATA.summary


def test_every_grouping_adds_up_to_the_summary() -> None:
    values = view(DATA)
    for grouping in ("by_month", "by_store", "by_currency", "by_day"):
        rows = values[grouping]
        for outcome in ("accepted", "dropped", "rejected"):
            assert sum(row[outcome]["transactions"] for row in rows) == values["transactions"][outcome]
            total = sum(Decimal(row[outcome]["total"]) for row in rows)
            assert total == Decimal(values["totals"][outcome]), (grouping, outcome)


def test_causes_are_explained_and_ordered_rejections_first() -> None:
    causes = view(DATA)["causes"]
    assert [cause["outcome"] for cause in causes] == ["rejected"] * 3 + ["dropped", "warning"]
    first = causes[0]
    assert (first["title"], first["transactions"]) == ("Not a date", 20)
    assert "Fix the cell" in first["fix"]
    assert (first["examples"][0]["source"], first["examples"][0]["line"]) == ("exports/sales-2023.csv", 23)


def test_personal_data_is_masked_unless_asked_for() -> None:
    masked, shown = json.dumps(view(DATA)), json.dumps(view(DATA, show_personal_data=True))
    assert "customer1@example.com" in shown
    assert "ann57@@example" in shown
    assert "@example" not in masked


def test_values_that_name_a_cause_are_masked_too() -> None:
    who = "ann@example.com"
    cause = RootCause(
        *("rejected", "lookup_missing", "Not in the table", "profile_id", who, 1),
        f"Add '{who}' to the table.",
        (Occurrence(who, f"'{who}' is not in the table", "a.csv", 2),),
    )
    (hidden,) = masked([cause])
    assert who not in str(hidden)
    assert hidden.shape == hidden.examples[0].value == "a***@***"
    (shaped,) = masked([replace(cause, shape="a@a.a")])
    assert shaped.shape == "a@a.a", "a shape shows no personal data"


def test_the_prediction_is_in_hours_at_the_rate_given_or_at_several() -> None:
    unknown = view(replace(DATA, requests=18_000))["prediction"]
    assert [(it["per_minute"], it["hours"]) for it in unknown["durations"]] == [
        (300, 1),
        (1000, 0.3),
        (3000, 0.1),
    ]
    known = view(replace(DATA, rate_per_min=600.0))["prediction"]
    assert known["requests"] == DATA.summary.transactions.accepted
    assert len(known["durations"]) == 1
    assert known["bytes"] == FACTS.body_bytes > 0


def test_control_differences_are_read_less_expected() -> None:
    row = view(DATA)["controls"][1]
    assert row["difference"] == {"transactions": -1, "total": "-49.95"}
    assert row["agrees"] is False
    unknown = ControlRow({"day": "x"}, Sums(5), Sums(5, Decimal(3)), Sums(5, Decimal(3)))
    assert unknown.agrees, "what was not expected cannot differ"


def test_the_verdict_before_a_load() -> None:
    assert judge(CALM).headline == "Ready to load"
    assert judge(CALM).mood is Mood.GOOD
    looked = judge(DATA)
    assert looked.mood is Mood.LOOK
    assert [look.section for look in looked.looks] == ["causes", "controls", "findings", "preflight"]
    closed = judge(replace(DATA, gate=RejectionGate("1%", closed=True)))
    assert (closed.mood, closed.headline) == (Mood.BAD, "Not ready: too much was rejected")
    assert "load" not in closed.next


def of_a_hundred(rejected: int, **codes: int) -> ReportData:
    numbers = TransactionCounts(read=100, accepted=100 - rejected, dropped=0, rejected=rejected)
    summary = replace(
        CALM.summary, transactions=numbers, rejected=codes, delivery=DeliveryCounts(pending=100 - rejected)
    )
    return replace(CALM, summary=summary)


def test_much_that_was_rejected_is_in_the_headline() -> None:
    little, much, most = (of_a_hundred(number, total_invalid=number) for number in (10, 11, 51))
    assert judge(little).headline == "Ready, with 1 thing to look at first"
    assert judge(much).headline == "Look first: 11.0% of the transactions were rejected"
    assert judge(most).headline == "Not ready: most was rejected"
    assert [judge(each).mood for each in (little, much, most)] == [Mood.LOOK, Mood.LOOK, Mood.BAD]
    assert "Fix" in judge(most).next


def test_the_verdict_says_what_is_left_behind() -> None:
    said = judge(of_a_hundred(3, name_missing=3)).sentence
    assert said.endswith(
        "sent to Omneo. Nothing has been sent yet. Left out: 3 were rejected as defective (AUD 900.64)."
    )
    said = judge(of_a_hundred(3, total_invalid=2, name_missing=1)).sentence
    assert "(AUD 900.64, and 2 without a total that could be read)" in said, "they count as zero"
    assert judge(of_a_hundred(0)).sentence.endswith("Nothing has been sent yet.")


def test_rows_that_could_not_be_read_are_not_called_transactions() -> None:
    looks = [look.text for look in judge(of_a_hundred(0, malformed_row=2)).looks]
    assert looks == ["2 rows could not be read"]
    looks = [look.text for look in judge(of_a_hundred(3, malformed_row=1, total_invalid=3)).looks]
    assert looks == ["3 transactions rejected, for 1 reason", "1 row could not be read"]


def test_the_verdict_after_a_load() -> None:
    accepted = DATA.summary.transactions.accepted

    def verdict(
        confirmed: int | None = None, missing: int | None = None, **delivery: int
    ) -> tuple[Mood, str]:
        summary = summary_of(FACTS, delivery=DeliveryCounts(**delivery), confirmed=confirmed, missing=missing)
        judged = judge(replace(CALM, summary=summary))
        return judged.mood, judged.headline

    assert verdict(delivered=accepted) == (Mood.LOOK, "Delivered; 8 transactions rejected")
    rest = "; 8 transactions rejected"
    assert verdict(unchanged=accepted) == (Mood.LOOK, f"Delivered{rest}")
    assert verdict(delivered=accepted, confirmed=accepted) == (Mood.LOOK, f"Delivered and confirmed{rest}")
    few = f"Delivered; 1 of {accepted:,} confirmed{rest}"
    assert verdict(delivered=accepted, confirmed=1) == (Mood.LOOK, few)
    assert verdict(delivered=accepted - 1, pending=1) == (Mood.LOOK, f"Loading is not finished{rest}")
    assert verdict(delivered=accepted - 1, failed=1) == (Mood.LOOK, f"Delivered, except 1 transaction{rest}")
    assert verdict(delivered=accepted, confirmed=accepted - 1, missing=1)[0] is Mood.BAD


@pytest.mark.parametrize(
    ("rejected", "malformed", "headline"),
    [
        (0, 0, (Mood.GOOD, "Delivered")),
        (1, 0, (Mood.LOOK, "Delivered; 1 transaction rejected")),
        (2, 2, (Mood.LOOK, "Delivered; 2 transactions rejected")),
        (0, 3, (Mood.LOOK, "Delivered; 3 rows rejected")),
    ],
)
def test_a_headline_names_what_was_rejected(
    rejected: int, malformed: int, headline: tuple[Mood, str]
) -> None:
    data = of_a_hundred(rejected, **({"malformed_row": malformed} if malformed else {}))
    sent = replace(data.summary, delivery=DeliveryCounts(delivered=100 - rejected))
    judged = judge(replace(data, summary=sent))
    assert (judged.mood, judged.headline) == headline


def test_the_verdict_after_an_undo_and_what_was_rejected() -> None:
    accepted = DATA.summary.transactions.accepted

    def headline(rejected: int = 0, **delivery: int) -> str:
        numbers = TransactionCounts(accepted + rejected, accepted, rejected=rejected)
        summary = summary_of(FACTS, transactions=numbers, delivery=DeliveryCounts(**delivery))
        return judge(replace(CALM, summary=summary)).headline

    assert headline(voided=accepted) == "Voided in Omneo"
    assert headline(voided=accepted - 1, pending=1) == "Voided in Omneo"
    assert headline(voided=1, delivered=accepted - 1) == "Delivered, and 1 transaction of it voided"
    assert headline(in_doubt=2, delivered=accepted - 2) == "Whether Omneo has 2 transactions is unknown"
    assert headline(3, delivered=accepted) == "Delivered; 3 transactions rejected"
    assert headline(delivered=accepted - 1, forgotten=1) == "Delivered"
    assert headline(pending=accepted - 1, forgotten=1).startswith("Ready")


def test_money_is_exact_and_names_its_currency() -> None:
    one = replace(DATA.summary, totals={"accepted": "-1234567.80"})
    assert money(one, "accepted", "AUD") == "AUD -1,234,567.80"
    several = replace(DATA.summary, totals={"accepted": {"AUD": "1000.00", "NZD": "2.50", "none": "0.10"}})
    assert money(several, "accepted") == "AUD 1,000.00 and NZD 2.50 and 0.10"


def test_a_run_of_which_nothing_was_accepted_says_so_once_and_with_its_currency() -> None:
    numbers = TransactionCounts(read=40, accepted=0, dropped=0, rejected=40)
    nothing_accepted = summary_of(
        FACTS,
        transactions=numbers,
        delivery=DeliveryCounts(),
        totals={"accepted": "0.00", "dropped": "0.00", "rejected": "200.00"},
        rejected={"name_missing": 40},
    )
    gate = RejectionGate("25%", closed=True, rejected=40, read=40, default=True, nothing_accepted=True)
    judged = judge(replace(CALM, summary=nothing_accepted, gate=gate))
    assert judged.sentence == (
        "Nothing of the run was accepted, and something was rejected (40 of 40). "
        "Left out: 40 were rejected as defective (AUD 200.00)."
    )
