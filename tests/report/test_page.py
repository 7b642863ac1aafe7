from __future__ import annotations

import asyncio
import json
import os
import random
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipeline.core.findings import Anomaly, Occurrence, RootCause
from pipeline.core.model import RequestCounts
from pipeline.report.aggregates import Facts, nothing
from pipeline.report.data import CheckMade, PreviousRun, Provenance, ReportData, ReportedSource
from pipeline.report.render import payload, prose, write_report
from pipeline.report.summary import DeliveryCounts, Summary, TransactionCounts
from tests.command import SAMPLE, call
from tests.report.browser import Tab, browser, chromium
from tests.report.made_up_report import made_up_facts, made_up_report, summary_of

HOSTILE = (
    "<script>window.owned=1</script><img src='https://evil.example/x.png' onerror='window.owned=1'>"
    '\x00\x1b[31m\u202e=HYPERLINK("https://evil.example")' + "x" * 10_000
)
FACTS = made_up_facts(1200)


def needs_chromium(test: Callable[..., None]) -> Callable[..., None]:
    without = pytest.mark.skipif(chromium() is None, reason="Chromium is not installed")
    return pytest.mark.slow(without(test))


def hostile_report() -> ReportData:
    """Every text that can come from data, a mapping or the tenant is an attack."""
    facts = replace(
        FACTS,
        totals=FACTS.totals.with_columns(store=FACTS.totals["store"] + HOSTILE),
        profiles=FACTS.profiles.with_columns(handle=FACTS.profiles["handle"] + HOSTILE),
        samples=FACTS.samples.with_columns(
            body=pl.lit(
                json.dumps({HOSTILE: HOSTILE, "items": [{"name": HOSTILE}] * 500, "payments": HOSTILE})
            ),
            local=pl.lit(HOSTILE),
            rows=pl.lit(
                json.dumps(
                    {"rows": [{"source": HOSTILE, "line": 2, "cells": {HOSTILE: HOSTILE, "payer": HOSTILE}}]}
                )
            ),
        ),
        periods=pl.DataFrame([(HOSTILE, "2023-05", 4, 3)], FACTS.periods.schema, orient="row"),
        hours=pl.DataFrame([(HOSTILE, 3, 400), ("b", 15, 900)], FACTS.hours.schema, orient="row"),
        gaps=pl.DataFrame(
            [(HOSTILE, HOSTILE, HOSTILE, 3, 30, 900, sure) for sure in (True, False)],
            FACTS.gaps.schema,
            orient="row",
        ),
        unjudged=pl.DataFrame([(HOSTILE, 2.5)], FACTS.unjudged.schema, orient="row"),
    )
    data = made_up_report(facts)
    finding = Anomaly("x", HOSTILE, HOSTILE, [HOSTILE] * 50)
    examples = (Occurrence(HOSTILE, HOSTILE, HOSTILE, 2), Occurrence(None, HOSTILE, HOSTILE, 3))
    causes = [
        RootCause(outcome, HOSTILE, HOSTILE, HOSTILE, HOSTILE, 9, HOSTILE, examples)
        for outcome in ("rejected", "dropped", "warning")
    ]
    source = ReportedSource(HOSTILE, 1, 1, HOSTILE)
    return replace(
        data,
        causes=causes,
        findings=(finding,) * 3,
        provenance=Provenance(HOSTILE, HOSTILE, (source,) * 30, {HOSTILE: HOSTILE}),
        controls=tuple(replace(row, key={"store": HOSTILE}) for row in data.controls * 20),
        stopped=HOSTILE,
        checks=(CheckMade(HOSTILE, HOSTILE, "warn"), CheckMade("x", HOSTILE, "off", skipped=HOSTILE)),
        patterns={HOSTILE: HOSTILE},
        previous=PreviousRun(
            *(HOSTILE, HOSTILE, True, 1, 2, TransactionCounts(), {"accepted": "1.00"}, {HOSTILE: 2}, {}, {}),
            *([HOSTILE], [HOSTILE]),
        ),
    )


def big_report() -> ReportData:
    """A run of a million receipts in 200 stores over 72 months and two currencies."""
    months = [f"{2018 + month // 12}-{month % 12 + 1:02}" for month in range(72)]
    dice = random.Random(1)
    rows = [
        (
            month,
            f"S{store:03}",
            "NZD" if store % 9 == 0 else "AUD",
            outcome,
            many,
            Decimal(dice.randrange(10**9)) / 100,
            many // 3,
            many // 20,
            Decimal(-many),
            1,
            Decimal(9),
        )
        for month in months
        for store in range(200)
        for outcome, many in (("accepted", 66), ("dropped", 2), ("rejected", 1))
    ]
    days = pl.date_range(pl.date(2018, 1, 1), pl.date(2023, 12, 31), eager=True).cast(pl.String)
    empty, stores = nothing(), [f"S{n:03}" for n in range(200)]
    gaps = [
        ("S007", "2023-06-14", "2023-06-14", 1, 15, 3_000_000, True),
        (None, "2021-05-03", "2021-05-04", 2, 2900, 10**9, True),
    ]
    facts = replace(
        FACTS,
        totals=pl.DataFrame(rows, schema=empty.totals.schema, orient="row"),
        days=pl.DataFrame(
            {
                "day": days,
                "currency": "AUD",
                "outcome": "accepted",
                "transactions": 434,
                "total": pl.Series([Decimal("1.00")] * len(days), dtype=pl.Decimal(38, 4)),
                "guests": 130,
                "returns": 20,
                "returned": pl.Series([Decimal("-9.00")] * len(days), dtype=pl.Decimal(38, 4)),
                "voids": 1,
                "void_total": pl.Series([Decimal("9.00")] * len(days), dtype=pl.Decimal(38, 4)),
            },
            schema=empty.days.schema,
        ),
        periods=pl.DataFrame(
            [(store, month, 66, 30) for store in stores for month in months],
            empty.periods.schema,
            orient="row",
        ),
        hours=pl.DataFrame(
            [(store, hour, 400) for store in stores for hour in range(9, 18)],
            empty.hours.schema,
            orient="row",
        ),
        gaps=pl.DataFrame(gaps, empty.gaps.schema, orient="row"),
        customers=pl.DataFrame({"sales": [1, 2, 7], "customers": [3000, 1500, 500]}, empty.customers.schema),
        people=312_000,
    )
    return made_up_report(facts)


def delivered_report() -> ReportData:
    accepted = FACTS.transactions("accepted")
    summary = summary_of(
        FACTS,
        delivery=DeliveryCounts(delivered=accepted - 10, refused=4, failed=6),
        requests=RequestCounts(sent=accepted + 20, retried=20, throttled=5, errors=15),
        confirmed=accepted - 12,
        missing=2,
        differing=0,
    )
    return made_up_report(FACTS, summary=summary)


REPORTS: dict[str, Callable[[], ReportData]] = {
    "usual": lambda: made_up_report(FACTS),
    "hostile": hostile_report,
    "big": big_report,
    "delivered": delivered_report,
    "empty": lambda: made_up_report(
        nothing(), causes=(), controls=(), findings=(), preflight=None, gate=None
    ),
}


def in_browser(page: Path, look: Callable[[Tab], Awaitable[None]], **how: Any) -> Tab:
    """Open `page`, let `look` do its work, and check that nothing was complained about or asked for."""

    async def run() -> Tab:
        async with browser() as tab:
            await tab.open(page.as_uri(), **how)
            await look(tab)
            return tab

    tab = asyncio.run(run())
    assert tab.complaints == []
    assert set(tab.requests) <= {page.as_uri(), "data:,"}
    return tab


LOOKS = """(() => {
  const all = (selector) => [...document.querySelectorAll(selector)];
  const name = (element) => element.outerHTML.slice(0, 120);
  all("details").forEach((folded) => (folded.open = true));
  const levels = all("h1,h2,h3,h4,h5,h6").map((h) => Number(h.tagName[1]));
  return {
    owned: window.owned === undefined ? 0 : 1,
    scroll: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    longAndFixed: all("table:not(.heat)").filter(
      (t) => t.tBodies[0].rows.length > 24 && !t.tHead.querySelector("[role=button]")).map(name),
    noCaption: all("table").filter((t) => !t.caption || !t.caption.textContent.trim()).map(name),
    noScope: all("th:not([scope])").map(name),
    namelessHeads: all("th[scope=col]").filter((h) => !h.textContent.trim()).map(name),
    nameless: all("svg:not([aria-hidden=true])").filter(
      (s) => s.getAttribute("role") !== "img" || !s.getAttribute("aria-label")).map(name),
    scrollers: all(".tall").filter((d) => d.tabIndex !== 0 || !d.ariaLabel).map(name),
    h1: levels.filter((level) => level === 1).length,
    skipped: levels.filter((level, n) => n && level > levels[n - 1] + 1),
    deadLinks: all("a[href^='#']").filter(
      (a) => !document.getElementById(a.getAttribute("href").slice(1))).map(name),
    ids: all("[id]").length - new Set(all("[id]").map((e) => e.id)).size,
    lang: document.documentElement.lang,
    elsewhere: all("[src],[href]").map((e) => e.src || e.href).filter(
      (u) => u && typeof u === "string" && /^https?:/.test(u)),
  };
})()"""
CLEAN = {
    "owned": 0, "scroll": 0, "longAndFixed": [], "noCaption": [], "noScope": [], "namelessHeads": [],
    "nameless": [], "scrollers": [], "h1": 1, "skipped": [], "deadLinks": [], "ids": 0, "lang": "en",
    "elsewhere": [],
}  # fmt: skip

CONTRAST = """(() => {
  const rgb = (text) => text.match(/[0-9.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((c) => c / 255).map(
    (c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)).reduce(
    (sum, c, n) => sum + c * [0.2126, 0.7152, 0.0722][n], 0);
  const ground = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const color = rgb(getComputedStyle(e).backgroundColor);
      if (color.length === 3 || color[3] > 0) return color;
    }
    return [255, 255, 255];
  };
  const poor = new Set();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const unseen = ["SCRIPT", "title", "desc"].includes(element.tagName);
    if (unseen || !walker.currentNode.textContent.trim()) continue;
    const style = getComputedStyle(element);
    const ink = element.closest("svg") ? style.fill : style.color;
    const [low, high] = [light(rgb(ink)), light(ground(element))].sort((a, b) => a - b);
    if ((high + 0.05) / (low + 0.05) < 4.5) poor.add(element.tagName + "." + element.className + style.color);
  }
  return [...poor];
})()"""


@needs_chromium
@pytest.mark.parametrize("name", REPORTS)
def test_the_page_is_whole_at_every_width(name: str, tmp_path: Path) -> None:
    page = write_report(tmp_path, REPORTS[name]())

    async def look(tab: Tab) -> None:
        assert await tab.evaluate(LOOKS) == CLEAN
        await tab.open(page.as_uri(), width=1280)
        assert await tab.evaluate(LOOKS) == CLEAN

    in_browser(page, look, width=390)


@needs_chromium
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(scheme: str, tmp_path: Path) -> None:
    page = write_report(tmp_path, delivered_report())

    async def look(tab: Tab) -> None:
        dark = await tab.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
        assert dark == (scheme == "dark")
        assert await tab.evaluate(CONTRAST) == []

    in_browser(page, look, scheme=scheme)


@needs_chromium
def test_tables_sort_by_amount_and_by_name(tmp_path: Path) -> None:
    page = write_report(tmp_path, big_report())
    column = """((head, n) => {
      const tables = [...document.querySelectorAll("table")];
      const table = tables.find((t) => t.caption.textContent.startsWith("By store"));
      const button = [...table.tHead.querySelectorAll("[role=button]")].find((b) => b.textContent === head);
      button.click();
      return [button.parentElement.ariaSort, [...table.tBodies[0].rows].map((r) => r.cells[n].textContent)];
    })"""

    async def look(tab: Tab) -> None:
        order, worth = await tab.evaluate(f"{column}('Worth', 3)")
        amounts = [Decimal(text.replace(",", "")) for text in worth]
        assert order == "descending"
        assert len(amounts) == 200
        assert amounts == sorted(amounts, reverse=True)
        order, worth = await tab.evaluate(f"{column}('Worth', 3)")
        assert order == "ascending"
        assert [Decimal(text.replace(",", "")) for text in worth] == sorted(amounts)
        order, names = await tab.evaluate(f"{column}('Store', 0)")
        assert names == sorted(names, reverse=True)
        await tab.evaluate("document.querySelector('#stores .tall [role=button]').focus()")
        await tab.call("Input.dispatchKeyEvent", type="rawKeyDown", key="Enter")
        order = "document.querySelector('#stores .tall [role=button]').parentElement.ariaSort"
        assert await tab.evaluate(order) == "ascending", "keys do what a mouse does"
        search = """((text) => {
          const field = document.querySelector("#stores input[type=search]");
          field.value = text;
          field.dispatchEvent(new Event("input"));
          const rows = [...document.querySelectorAll("#stores .tall tbody tr")];
          const found = rows.filter((row) => !row.hidden).map((row) => row.cells[0].textContent);
          return [found, field.labels[0].textContent];
        })"""
        assert await tab.evaluate(f"{search}('s19')") == [
            [f"S{n}" for n in range(190, 200)],
            "Search by store  10 of 200",
        ]
        found, _ = await tab.evaluate(f"{search}('')")
        assert len(found) == 200

    in_browser(page, look)


AXE = os.environ.get("OMNEO_IMPORT_TEST_AXE", "")


@needs_chromium
@pytest.mark.skipif(not AXE, reason="OMNEO_IMPORT_TEST_AXE does not name axe-core's axe.min.js")
@pytest.mark.parametrize("width", [390, 1400])
@pytest.mark.parametrize("name", ["usual", "big", "delivered", "empty"])
def test_axe_finds_nothing_to_object_to(name: str, width: int, tmp_path: Path) -> None:
    page = write_report(tmp_path, REPORTS[name]())
    axe = Path(AXE).read_text(encoding="utf-8")
    found = """axe.run().then((all) => all.violations.map((each) => [each.id, each.nodes[0].html]))"""

    async def look(tab: Tab) -> None:
        await tab.evaluate("document.querySelectorAll('details').forEach((folded) => (folded.open = true))")
        await tab.evaluate(f"{axe};0")
        assert await tab.evaluate(found) == []

    in_browser(page, look, width=width)


@needs_chromium
def test_the_policy_lets_no_other_script_run_and_nothing_leave(tmp_path: Path) -> None:
    page = write_report(tmp_path, made_up_report(FACTS))
    attack = """(async () => {
      const script = document.createElement("script");
      script.textContent = "window.owned = 1";
      document.body.append(script);
      const image = new Image();
      image.src = "http://127.0.0.1:9/x.png";
      document.body.append(image);
      const sent = await fetch("http://127.0.0.1:9/").then(() => "sent", () => "blocked");
      return [sent, window.owned === undefined];
    })()"""

    async def run() -> list[object]:
        async with browser() as tab:
            await tab.open(page.as_uri())
            answer: list[object] = await tab.evaluate(attack)
            assert any("Content Security Policy" in complaint for complaint in tab.complaints)
            return answer

    assert asyncio.run(run()) == ["blocked", True]


@needs_chromium
def test_it_prints_on_paper_with_all_rows_and_without_folds(tmp_path: Path) -> None:
    page = write_report(tmp_path, big_report())

    async def look(tab: Tab) -> None:
        assert (await tab.pdf()).startswith(b"%PDF")
        await tab.call("Emulation.setEmulatedMedia", media="print")
        talls = "[...document.querySelectorAll('.tall')]"
        assert await tab.evaluate(f"{talls}.length") > 1
        assert await tab.evaluate(f"{talls}.filter((d) => d.scrollHeight > d.clientHeight + 1).length") == 0
        assert await tab.evaluate("getComputedStyle(document.querySelector('details')).display") == "none"
        signed = "getComputedStyle(document.querySelector('.sign')).display"
        assert await tab.evaluate(signed) == "grid", "paper has a place to sign"
        # Chromium repeats no head of a table on the next page that holds a form control.
        assert await tab.evaluate("document.querySelectorAll('thead :is(button, input)').length") == 0

    in_browser(page, look, width=794)


@needs_chromium
@pytest.mark.slow
def test_three_hundred_sales_print_on_eight_pages(tmp_path: Path) -> None:
    ended = call("prepare", "-m", "pos_lines", SAMPLE, "--workdir", tmp_path / "w", "--json")
    assert ended.summary["transactions"]["read"] > 300

    async def look(tab: Tab) -> None:
        pages = len(re.findall(rb"/Type /Page\b", await tab.pdf()))
        assert 4 < pages <= 8

    in_browser(Path(ended.summary["report"]), look)


def test_what_is_not_decided_stands_above_the_signatures(tmp_path: Path) -> None:
    page = write_report(tmp_path, replace(made_up_report(FACTS), unsure=2)).read_text(encoding="utf-8")
    signed = page.partition('aria-label="Signatures"')[2]
    assert "2 values are still marked unsure in the mapping" in signed.partition("may be sent to Omneo")[0]
    assert "Not decided" not in write_report(tmp_path, made_up_report(FACTS)).read_text(encoding="utf-8")


def test_voided_sales_are_named_above_the_signatures(tmp_path: Path) -> None:
    voids = json.loads((write_report(tmp_path, made_up_report(FACTS)).parent / "report.json").read_text())[
        "voids"
    ]
    page = (tmp_path / "report.html").read_text(encoding="utf-8").partition('aria-label="Signatures"')[2]
    assert voids["transactions"] > 0
    assert f"The till voided {voids['transactions']} of the accepted transactions" in page


@pytest.mark.slow
def test_a_big_report_stays_small(tmp_path: Path) -> None:
    page = write_report(tmp_path, big_report())
    assert page.stat().st_size < 300_000
    assert (tmp_path / "report.json").stat().st_size < 3_000_000


@pytest.mark.slow
@pytest.mark.parametrize("name", REPORTS)
def test_nothing_from_the_data_becomes_markup_or_hides(name: str, tmp_path: Path) -> None:
    text = write_report(tmp_path, REPORTS[name]()).read_text(encoding="utf-8")
    assert text.count("<script>") == 1
    assert "<img" not in text
    assert not set(text) & set("\x00\x1b\u202e")
    assert "x" * 600 not in text


def test_both_files_are_private_and_replaced_whole(tmp_path: Path) -> None:
    data = made_up_report(FACTS)
    page = write_report(tmp_path, data)
    assert write_report(tmp_path, data) == page == tmp_path / "report.html"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "report.json"]
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
    stored = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert Summary.from_dict(stored) == data.summary


def test_personal_data_is_in_the_files_only_when_asked_for(tmp_path: Path) -> None:
    data = made_up_report(FACTS)
    page = write_report(tmp_path, data)
    files = [page, tmp_path / "report.json"]
    assert not any("@example" in path.read_text(encoding="utf-8") for path in files)
    write_report(tmp_path, data, show_personal_data=True)
    assert all("@example" in path.read_text(encoding="utf-8") for path in files)


def test_the_sections_are_in_the_order_a_reader_needs(tmp_path: Path) -> None:
    def sections(data: ReportData) -> list[str]:
        text = write_report(tmp_path, data).read_text(encoding="utf-8")
        return [part.split('"')[0] for part in text.split('<section id="')[1:]]

    common = ["funnel", "causes", "totals", "stores", "profiles", "returns", "samples", "findings", "checks"]
    common += ["changes", "completeness"]
    assert sections(made_up_report(FACTS)) == [*common, "prediction", "preflight", "provenance"]
    assert sections(delivered_report()) == [*common, "preflight", "delivery", "provenance"]


@pytest.mark.slow
def test_several_currencies_are_never_added_up(tmp_path: Path) -> None:
    text = write_report(tmp_path, big_report()).read_text(encoding="utf-8")
    assert '<th scope="col">Currency</th>' in text
    facts: Facts = big_report().facts
    for amount in facts.sums("accepted").values():
        assert f"{amount:,.2f}" in text


def test_long_payloads_and_prose() -> None:
    shown = payload({"items": [{"name": "a\x1b", "n": n} for n in range(400)]})
    assert shown.count("\n") == 80
    assert shown.endswith("more lines")
    assert "\x1b" not in shown
    assert prose("set `a < b` & c") == "set <code>a &lt; b</code> &amp; c"
