from __future__ import annotations

from dataclasses import replace

from markdown_it import MarkdownIt

from pipeline.core.findings import Anomaly, Occurrence
from pipeline.report.render import render_markdown
from pipeline.report.summary import DeliveryCounts
from pipeline.report.view import view
from tests.report.made_up_report import CAUSES, made_up_facts, made_up_report, summary_of

FACTS = made_up_facts(400)
DATA = made_up_report(FACTS)


def test_the_short_version_says_what_why_and_what_next() -> None:
    text = render_markdown(view(DATA))
    assert text.startswith("## ⚠️ Ready, with 4 things to look at first\n")
    assert "| accepted | 376 | 94.0% |" in text
    assert (
        "| Not a date | `transacted_at_invalid` | 20 | exports/sales-2023.csv:23 `31/31/2023 10:15` "
        "| Fix the cell, or give the mapping the right date format. |" in text
    )
    assert "1 of 2 control totals differ" in text
    assert f"Next: `omneo-import load {DATA.summary.run_id}" in text
    assert "Delivery" not in text
    assert len(text) < 4000


def test_after_a_load_it_tells_the_delivery() -> None:
    summary = summary_of(
        FACTS, delivery=DeliveryCounts(delivered=370, refused=6), confirmed=370, missing=0, differing=0
    )
    text = render_markdown(view(replace(DATA, summary=summary)))
    counts = "376 accepted = 370 delivered + 6 refused + 0 pending + 0 in doubt"
    assert f"Delivery: {counts}, 370 confirmed" in text


def test_nothing_from_the_data_becomes_markup() -> None:
    hostile = "<img src=x> [a](https://evil.example) `b` | c\n# d @all **e** www.evil.example"
    example = Occurrence(hostile, hostile, hostile, 7)
    causes = [replace(each, title=hostile, fix=hostile, examples=(example,)) for each in CAUSES]
    finding = Anomaly("x", hostile, hostile)
    text = render_markdown(view(replace(DATA, causes=causes, findings=(finding,))))
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text)
    inline = [child for token in tokens for child in token.children or ()]
    assert {token.type for token in inline} <= {"text", "code_inline", "text_special"}
    assert not any(token.type.startswith("html") for token in tokens)
    assert [token.tag for token in tokens if token.type == "heading_open"] == ["h2", "h3", "h3", "h3"]
    cells = [token.type for token in tokens if token.type in {"td_open", "th_open"}]
    assert len(cells) == 4 * 4 + 5 * (4 + 2), "four rows of four columns, then two tables of five"
    assert "@all" not in text.replace("\\@all", "")
    assert "www.evil" not in text.replace("`", "").replace("www\\.evil", "")


def test_a_cause_has_no_example_where_all_were_of_a_person_who_was_forgotten() -> None:
    text = render_markdown(view(replace(DATA, causes=[replace(each, examples=()) for each in CAUSES])))
    assert (
        "| Not a date | `transacted_at_invalid` | 20 |  | Fix the cell, or give the mapping the right date "
        "format. |" in text
    )
