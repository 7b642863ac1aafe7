from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pipeline.core.findings import Occurrence, RootCause
from pipeline.core.model import RequestCounts
from pipeline.report.data import TenantAnswer
from pipeline.report.next_steps import Circumstances
from pipeline.report.render import render_terminal, run_table
from pipeline.report.summary import DeliveryCounts, Summary
from pipeline.report.verdict import PREFLIGHT, REJECTIONS, ReviewPoint, RunVerdict, verdict_of
from pipeline.report.view import overview
from tests.report.made_up_report import CAUSES, made_up_facts, summary_of

PREPARED = summary_of(made_up_facts(300))
HOSTILE = "\x1b]0;owned\x07\x1b[31m<script>\r\u202egnp.exe\x9b"


def shown(
    summary: Summary = PREPARED,
    verdict: RunVerdict | None = None,
    causes: Sequence[RootCause] = (),
    answers: Sequence[TenantAnswer] = (),
    about: str = "",
) -> str:
    values = overview(summary, verdict or verdict_of(summary), causes=causes, preflight=answers)
    return render_terminal(values, about)


def test_the_closing_summary_says_what_why_and_what_next() -> None:
    text = shown(causes=CAUSES, about=REJECTIONS)
    assert "282 of 300 transactions" in text
    assert text.split("\n\n")[2].splitlines()[:4] == [
        "  Rejected",
        "            20  transacted_at_invalid      Not a date",
        "                exports/sales-2023.csv:23: '31/31/2023 10:15' is not a date",
        "                Fix the cell, or give the mapping the right date format.",
    ]
    assert "  Dropped\n            80  draft                      Draft sale: PARKED\n" in text
    assert "guest                      Sale without a customer" in text
    assert f"  next          omneo-import load {PREPARED.run_id}" in text
    assert "you: 6 rejected transactions are not in Omneo" in text.splitlines()[-1]
    assert "delivery" not in text


def test_a_command_about_delivery_does_not_repeat_what_the_dry_run_found() -> None:
    text = shown(PREPARED)
    for word in ("Rejected", "Dropped", "Warnings", "malformed", "guest"):
        assert word not in text


def test_the_tenants_answers_are_reported_where_it_was_asked() -> None:
    answers = [
        TenantAnswer("Token", "The token is good.", good=True),
        TenantAnswer("New locations", HOSTILE, good=False, evidence=[f"S{n}" for n in range(9)]),
    ]
    text = shown(answers=answers, about=PREFLIGHT)
    assert "          well  Token: The token is good.\n      not well  New locations: ␛]0;" in text
    assert "                - S5\n                and 3 more lines; see the report" in text


def test_the_closing_summary_after_a_load() -> None:
    accepted = PREPARED.transactions.accepted
    loaded = replace(
        PREPARED,
        delivery=DeliveryCounts(delivered=accepted - 2, refused=2),
        requests=RequestCounts(sent=accepted + 5, retried=5, throttled=1, errors=4),
    )
    text = shown(loaded)
    assert text.startswith("Delivered, except 2 transactions")
    assert "280 delivered + 2 refused" in text
    assert f"next          omneo-import confirm {PREPARED.run_id}" in text
    assert "till supplier: Correct the data of 2 transactions that Omneo refused for good" in text
    stopped = replace(loaded, delivery=DeliveryCounts(delivered=1, pending=accepted - 1))
    assert "Omneo refuses the token." in shown(
        stopped, verdict_of(stopped, Circumstances(stopped="Omneo refuses the token."))
    )


def test_the_closing_summary_names_what_else_to_look_at() -> None:
    looks = [ReviewPoint("Sales at night", "findings")]
    text = shown(PREPARED, verdict_of(PREPARED, looks=looks, currency="AUD"))
    assert text.startswith("Ready, with 2 things to look at first\n")
    assert "worth AUD " in text
    assert "Look at first\n                Sales at night" in text


def test_the_runs_are_a_table() -> None:
    accepted = PREPARED.transactions.accepted
    loaded = replace(PREPARED, run_id="r2", delivery=DeliveryCounts(delivered=accepted - 1, unchanged=1))
    lines = run_table([(each, verdict_of(each)) for each in (PREPARED, loaded)]).splitlines()
    assert lines[0].endswith("accepted  rejected  delivered  pending  in doubt")
    assert lines[1].split()[:7] == [PREPARED.run_id, "2024-08-01", "10:15", "282", "6", "0", "282"]
    assert lines[2].endswith(f"{accepted}        0         0  Delivered; 6 transactions rejected")
    assert run_table([]) == "There are no runs yet."


def test_many_codes_are_cut_short_and_hostile_texts_neutralised() -> None:
    example = Occurrence(HOSTILE * 400, HOSTILE, HOSTILE * 400, 2)
    cause = RootCause("rejected", HOSTILE, HOSTILE, HOSTILE, HOSTILE, 9, HOSTILE, [example])
    causes = [cause, replace(cause, outcome="dropped")] * 10
    many = {f"rule_{n}": 10 - n for n in range(9)} | {HOSTILE: 99}
    text = shown(replace(PREPARED, warnings=many, report=f"/tmp/{HOSTILE}"), causes=causes, about=REJECTIONS)
    assert text.count("and 4 more causes") == 2
    assert text.count("and 4 more codes") == 1
    assert max(map(len, text.splitlines())) < 300
    assert not set(text) & set("\x1b\x07\r\x9b\u202e")


def test_a_cause_has_no_example_where_all_were_of_a_person_who_was_forgotten() -> None:
    text = shown(causes=[replace(each, examples=()) for each in CAUSES], about=REJECTIONS)
    assert text.split("\n\n")[2].splitlines()[:3] == [
        "  Rejected",
        "            20  transacted_at_invalid      Not a date",
        "                Fix the cell, or give the mapping the right date format.",
    ]
