"""Sales, written in every layout and format and then spoiled: none is lost, none goes wrong, none in silence.

What is right is known before anything is written: each sale has its items, and each item a token of its own.
A sale that was not touched must be staged exactly. One that was touched is staged exactly, or rejected. No
token is in another sale, and each is in a body, in the quarantine, or in a version that a later one replaced.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import run
from pipeline.events import ignore
from pipeline.memory import Budget
from tests.fuzzing import examples

# ── Sales ───────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Sale:
    """A sale: its number, and a token, a quantity and a price for each item."""

    no: str
    items: tuple[tuple[str, int, Decimal], ...]

    @property
    def total(self) -> Decimal:
        return sum((quantity * price for _, quantity, price in self.items), Decimal(0))

    def again(self) -> Sale:
        """The sale corrected: one more of each item, all under other tokens."""
        return replace(self, items=tuple((f"{t}n", quantity + 1, price) for t, quantity, price in self.items))


@st.composite
def sales(draw: st.DrawFn) -> list[Sale]:
    tokens = count()
    price = st.sampled_from(["0.05", "1.50", "2.00", "19.99"]).map(Decimal)
    return [
        Sale(
            f"S{n:03}",
            tuple(
                (f"T{next(tokens):03}", draw(st.integers(1, 3)), draw(price))
                for _ in range(draw(st.integers(1, 3)))
            ),
        )
        for n in range(draw(st.integers(1, 5)))
    ]


# ── Layouts ─────────────────────────────────────────────────────────────────────────────────────────

AT = "2026-01-02 10:00"
Row = list[str]


@dataclass
class File:
    """A file: how its name begins, its header, and each row with its sale; a text is written as it is."""

    table: str
    header: Row
    rows: list[tuple[Row | str, str]] = field(default_factory=list)


def _item(item: tuple[str, int, Decimal]) -> Row:
    return [item[0], str(item[1]), str(item[2])]


def _lines(some: list[Sale]) -> list[File]:
    rows = [([s.no, AT, str(s.total), *_item(i)], s.no) for s in some for i in s.items]
    return [File("a", ["no", "at", "total", "what", "qty", "price"], list(rows))]


def _first_row(some: list[Sale]) -> list[File]:
    (file,) = _lines(some)
    for at in range(len(file.rows) - 1, 0, -1):
        if file.rows[at][1] == file.rows[at - 1][1]:
            file.rows[at] = ["", "", "", *file.rows[at][0][3:]], file.rows[at][1]
    return [file]


def _records(some: list[Sale]) -> list[File]:
    rows: list[tuple[Row | str, str]] = []
    for s in some:
        rows.append((["H", s.no, AT, str(s.total), "", "", ""], s.no))
        rows += [(["L", "", "", "", *_item(i)], s.no) for i in s.items]
    return [File("a", ["kind", "no", "at", "total", "what", "qty", "price"], rows)]


def _tables(some: list[Sale]) -> list[File]:
    items = [([s.no, *_item(i)], s.no) for s in some for i in s.items]
    return [
        File("h", ["no", "at", "total"], [([s.no, AT, str(s.total)], s.no) for s in some]),
        File("i", ["order", "what", "qty", "price"], list(items)),
    ]


def _nested(some: list[Sale]) -> list[File]:
    lists = [
        json.dumps([{"what": what, "qty": q, "price": float(price)} for what, q, price in s.items])
        for s in some
    ]
    rows = [([s.no, AT, str(s.total), text], s.no) for s, text in zip(some, lists, strict=True)]
    return [File("a", ["no", "at", "total", "list"], list(rows))]


LAYOUTS: dict[str, tuple[Callable[[list[Sale]], list[File]], str]] = {
    "lines": (_lines, "layout: lines, key: [no]"),
    "first_row": (_first_row, "layout: first_row, key: [no], carry_key: true"),
    "records": (_records, "layout: records, key: [no], records: {column: kind, header: [H], item: [L]}"),
    "tables": (
        _tables,
        "layout: tables, tables: "
        '{headers: {inputs: ["h*"], key: [no]}, items: {inputs: ["i*"], key: [order]}}',
    ),
    "nested": (_nested, "layout: nested, key: [no], nested: {items: list}"),
}


def mapping(layout: str, *, given_total: bool, duplicates: str) -> str:
    prefix = "items." if layout == "nested" else ""
    qty, price, what = f"{prefix}qty", f"{prefix}price", f"{prefix}what"
    number = {"tables": "order", "nested": "header.no"}.get(layout, "no")
    total = "total" if given_total else f'{{sum: {{sql: \'"{qty}" * "{price}"\'}}}}'
    return f"""
mapping: hunted
source: {{{LAYOUTS[layout][1]}, duplicates: {duplicates}, ignore: [total]}}
columns: {{{qty}: integer, {price}: decimal}}
define: {{n: {{line_number: file}}}}
transaction:
  external_id: no
  total: {total}
  transacted_at:
    column: at
    then: [{{datetime: {{formats: ["%Y-%m-%d %H:%M"], timezone: {{constant: UTC}}}}}}]
items:
  external_id: {{template: "{{{number}}}-{{n}}"}}
  name: {what}
  quantity: {qty}
  price_current: {price}
  price_sell: {price}
""".replace(", ignore: [total]" if given_total else "\0", "")


# ── What may happen to files ────────────────────────────────────────────────────────────────────────


@dataclass
class Export:
    """Files in the order in which they were written, and what is right.

    Attributes:
        files: The files.
        right: The sales by number, as the last version has them.
        touched: Numbers of sales that may be rejected.
        replaced: Tokens of older versions.
        cut: Numbers of sales of which a file holds a part. Where another one holds a line of it as well, and
            the total comes from the items, nothing tells a part from a correction: the later file counts.
    """

    files: list[File]
    right: dict[str, Sale]
    touched: set[str] = field(default_factory=set)
    replaced: set[str] = field(default_factory=set)
    cut: set[str] = field(default_factory=set)


Change = Callable[[st.DrawFn, Export, str], None]


def _some(draw: st.DrawFn, export: Export) -> File:
    return draw(st.sampled_from([file for file in export.files if file.rows]))


def copied(draw: st.DrawFn, export: Export, _layout: str) -> None:
    file = _some(draw, export)
    export.files.append(replace(file, rows=[*file.rows]))


def split(draw: st.DrawFn, export: Export, _layout: str) -> None:
    """Cut a file in two, perhaps amid a sale."""
    file = _some(draw, export)
    at = draw(st.integers(0, len(file.rows)))
    first, second = file.rows[:at], file.rows[at:]
    if first and second and first[-1][1] == second[0][1]:
        export.touched.add(first[-1][1])
        export.cut.add(first[-1][1])
    file.rows = first
    export.files.append(replace(file, rows=second))


def overlapping(draw: st.DrawFn, export: Export, layout: str) -> None:
    some = draw(st.lists(st.sampled_from(sorted(export.right)), unique=True, max_size=3))
    export.files += LAYOUTS[layout][0]([export.right[no] for no in some])


def corrected(draw: st.DrawFn, export: Export, layout: str) -> None:
    no = draw(st.sampled_from(sorted(export.right)))
    old = export.right[no]
    export.right[no] = old.again()
    export.replaced |= {token for token, *_ in old.items}
    export.touched.add(no)
    export.files += LAYOUTS[layout][0]([export.right[no]])


def empty_rows(draw: st.DrawFn, export: Export, _layout: str) -> None:
    file = _some(draw, export)
    for at in draw(st.lists(st.integers(0, len(file.rows)), max_size=3)):
        blank = draw(st.sampled_from([[""] * len(file.header), [" "] * len(file.header), file.header]))
        file.rows.insert(at, ([*blank], ""))


def reordered(draw: st.DrawFn, export: Export, layout: str) -> None:
    file = _some(draw, export)
    if layout in ("first_row", "records"):  # their rows go by place: only whole sales may change places
        numbers = draw(st.permutations(sorted({no for _, no in file.rows})))
        file.rows.sort(key=lambda row: numbers.index(row[1]))
    else:
        file.rows = draw(st.permutations(file.rows))


def malformed(draw: st.DrawFn, export: Export, layout: str) -> None:
    file = _some(draw, export)
    at = draw(st.integers(0, len(file.rows) - 1))
    cells, no = file.rows[at]
    if isinstance(cells, str) or not no or layout == "nested":
        return
    text = ",".join(cells)
    file.rows[at] = (
        draw(st.sampled_from([text + ",", text + ",x,y", text.rpartition(",")[0], text + '"x,"y'])),
        no,
    )
    export.touched.add(no)


def _is_correction(change: Change) -> bool:
    return change is corrected


CHANGES: list[Change] = [copied, split, overlapping, corrected, empty_rows, reordered, malformed]


@st.composite
def exports(draw: st.DrawFn, layout: str) -> Export:
    some = draw(sales())
    export = Export(LAYOUTS[layout][0](some), {sale.no: sale for sale in some})
    # A correction comes last: an old file that is copied after it is the later version, and counts.
    for change in sorted(draw(st.lists(st.sampled_from(CHANGES), max_size=3)), key=_is_correction):
        change(draw, export, layout)
    return export


# ── Writing and reading back ────────────────────────────────────────────────────────────────────────


def _csv(file: File) -> str:
    def line(row: Row | str) -> str:
        if isinstance(row, str):
            return row
        return ",".join('"' + cell.replace('"', '""') + '"' if '"' in cell else cell for cell in row)

    return "".join(f"{line(row)}\n" for row in [file.header, *(row for row, _ in file.rows)])


def _write(file: File, path: Path, form: str) -> Path:
    whole = all(isinstance(row, list) for row, _ in file.rows)
    if form in ("parquet", "jsonl") and whole and file.rows:
        table = pl.DataFrame(
            [[cell or None for cell in row] for row, _ in file.rows],
            schema=dict.fromkeys(file.header, pl.String),
            orient="row",
        )
        path = path.with_suffix(f".{form}")
        table.write_parquet(path) if form == "parquet" else table.write_ndjson(path)
    elif form == "gz":
        path = path.with_suffix(".csv.gz")
        path.write_bytes(gzip.compress(_csv(file).encode()))
    else:
        path = path.with_suffix(".csv")
        path.write_text(_csv(file), encoding="utf-8")
    return path


@dataclass(frozen=True)
class Found:
    """What a dry run made of an export."""

    bodies: dict[str, dict[str, Any]]
    quarantine: str
    rows: Any
    warnings: Any


def prepared(export: Export, text: str, forms: list[str], budget: Budget) -> Found:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "write_report", lambda *_, **__: None)
        here = Path(folder)
        (here / "m.yaml").write_text(text)
        paths = []
        for n, file in enumerate(export.files):
            paths.append(_write(file, here / f"{file.table}{n:02}", forms[n % len(forms)]))
            os.utime(paths[-1], (1_700_000_000 + 60 * n,) * 2)
        options = run.PrepareOptions(budget=budget)
        done = run.prepare(here / "w", str(here / "m.yaml"), [str(path) for path in paths], options, ignore)
        home = Path(done.summary.run_dir)
        bodies = {
            body["external_id"]: body
            for part in home.glob("staged/*.parquet")
            for body in (json.loads(b, parse_float=Decimal) for b in pl.read_parquet(part)["body"])
        }
        told = pl.read_parquet(home / "quarantine" / "*.parquet")["raw"].drop_nulls().to_list()
        kept = [p.read_bytes() for p in home.rglob("quarantine_rows*") if p.is_file()]
        kept += [p.read_bytes() for p in home.glob("quarantine_rows/*")]
        tables = [pl.read_parquet(p).write_csv() for p in home.rglob("quarantine_rows*.parquet")]
        quarantine = "\n".join([*told, *tables, *(part.decode(errors="replace") for part in kept)])
        return Found(bodies, quarantine, done.summary.rows, done.summary.warnings)


def body_of(sale: Sale) -> tuple[Decimal, list[tuple[str, Decimal, Decimal]]]:
    return sale.total, sorted((token, Decimal(quantity), price) for token, quantity, price in sale.items)


def taken(body: dict[str, Any]) -> tuple[Decimal, list[tuple[str, Decimal, Decimal]]]:
    items = [(i["name"], Decimal(i["quantity"]), Decimal(i["price_sell"])) for i in body.get("items", [])]
    return Decimal(body["total"]), sorted(items)


BUDGETS = [Budget(), Budget(unit_bytes=1, waiting_bytes=0)]


@pytest.mark.parametrize("layout", LAYOUTS)
@examples(8)
@given(data=st.data())
def test_every_sale_is_staged_exactly_or_rejected_and_no_token_is_lost(
    layout: str, data: st.DataObject
) -> None:
    export = data.draw(exports(layout))
    given_total = data.draw(st.booleans())
    duplicates = data.draw(st.sampled_from(["keep", "drop"]))
    forms = data.draw(st.lists(st.sampled_from(["csv", "gz", "parquet", "jsonl"]), min_size=1, max_size=2))
    text = mapping(layout, given_total=given_total, duplicates=duplicates)
    found = prepared(export, text, forms, data.draw(st.sampled_from(BUDGETS)))

    for no, body in found.bodies.items():
        if given_total or no not in export.cut:
            assert taken(body) == body_of(export.right[no]), (no, found.warnings)
    untouched = export.right.keys() - export.touched
    assert untouched <= found.bodies.keys()
    assert found.rows.read == sum(len(file.rows) for file in export.files)
    written = {
        token for file in export.files for row, _ in file.rows for token in re.findall(r"T\d{3}n*", str(row))
    }
    staged = {item["name"] for body in found.bodies.values() for item in body.get("items", [])}
    lost = written - staged - export.replaced - set(re.findall(r"T\d{3}n*", found.quarantine))
    assert not lost
