"""Each layout: the mapping that reads it, and how a sale is written in it."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl

from tests.hunters.sales import ZONE, Sale

HEADER = ["Shop", "Receipt", "Sold", "Email", "Note", "Total"]
TENDER = ["Tender", "Paid"]
ITEM = ["Line", "Sku", "Title", "Qty", "Price"]
KEY = ["Shop", "Receipt"]
KEY_BELOW = ["Store", "Order"]
"""The key's columns in tables of items and payments, under other names than in that of headers."""
MALFORMED = ("short", "long", "blank_more", "quotes")
Cells = dict[str, str]

BY_LINE = ("lines", "first_row", "carry")
LAYOUTS = (*BY_LINE, "headers", "records", "records_by_place", "tables", "nested")
BY_PLACE = ("carry", "first_row", "records_by_place")
"""Whose rows lose their meaning in another order."""
FORMATS = ("csv", "csv.gz", "jsonl", "parquet")


@dataclass(frozen=True)
class Line:
    """One row of a file: cells by column, or what became of them.

    Attributes:
        cells: By column; none where the row is blank or repeats the header.
        sale: Which sale it belongs to, by its token; blank for none.
        token: The row's own.
        at: Its place among the rows of a clean export, by which a person puts fixed rows in order.
        kind: `good`, `bad_cell`, one of `MALFORMED`, `blank`, `empty` or `header`.
    """

    cells: Cells
    sale: str = ""
    token: str = ""
    at: tuple[int, int] = (0, 0)
    kind: str = "good"

    @property
    def is_malformed(self) -> bool:
        return self.kind in MALFORMED

    @property
    def is_no_record(self) -> bool:
        return self.kind in ("blank", "empty", "header")


@dataclass(frozen=True)
class File:
    """Rows under a name; `table` of the layout `tables`; `cut` is what share of its bytes is there."""

    name: str
    lines: tuple[Line, ...]
    table: str = "rows"
    cut: float = 1.0

    def named(self, name: str) -> File:
        return replace(self, name=name)


@dataclass(frozen=True)
class Form:
    """How an export is written and read.

    Attributes:
        layout: One of `LAYOUTS`.
        format: One of `FORMATS`.
        total: `column` or `sum`.
        item_id: `column`, `file`, `content` or `none`.
        duplicates: `drop` or `keep`.
        typed: Amounts are numbers in JSON lines and Parquet, no texts.
        amounts: `plain` or `currency`: `($1,149.00)`.
        others: The format of every second file whose rows are all good; blank for the same.
        delimiter: Of CSV, as `newline`, `quoting`, `encoding`, and whether the last line has an end.
    """

    layout: str
    format: str = "csv"
    total: str = "column"
    item_id: str = "column"
    duplicates: str = "drop"
    typed: bool = False
    delimiter: str = ","
    newline: str = "\n"
    quoting: int = csv.QUOTE_MINIMAL
    encoding: str = "utf-8"
    ends: bool = True
    amounts: str = "plain"
    others: str = ""

    @property
    def has_items(self) -> bool:
        return self.layout != "headers"

    @property
    def is_csv(self) -> bool:
        return self.format.startswith("csv")

    def columns(self, table: str = "rows") -> list[str]:
        whole = [*HEADER, *TENDER]
        return {
            "lines": [*whole, *ITEM],
            "first_row": [*whole, *ITEM],
            "carry": [*whole, *ITEM],
            "headers": whole,
            "records": ["Type", *KEY, *HEADER[2:], *TENDER, *ITEM],
            "records_by_place": ["Type", *KEY, *HEADER[2:], *TENDER, *ITEM],
            "nested": [*HEADER, "Items", "Tenders"],
            "tables": {"headers": HEADER, "items": [*KEY_BELOW, *ITEM]}.get(table, [*KEY_BELOW, *TENDER]),
        }[self.layout]

    def mapping(self) -> str:
        """The mapping that reads it."""
        layout = {"carry": "first_row", "records_by_place": "records"}.get(self.layout, self.layout)
        source: dict[str, Any] = {"layout": layout, "duplicates": self.duplicates}
        if len(self.delimiter) > 1:
            source["csv"] = {"delimiter": self.delimiter}
        source["number"] = {"thousands": ",", "currency": ["$"], "parentheses": True}
        if self.layout == "tables":
            keys = {"headers": KEY, "items": KEY_BELOW, "payments": KEY_BELOW}
            source["tables"] = {table: {"inputs": [f"{table}*"], "key": key} for table, key in keys.items()}
        else:
            source["key"] = KEY
        if self.layout == "carry":
            source["carry_key"] = True
        if layout == "records":
            kinds = {"header": ["H"], "item": ["I"], "payment": ["P"]}
            source["records"] = {"column": "Type", **kinds}
        if layout == "nested":
            source["nested"] = {"items": "Items", "payments": "Tenders"}
        item = "items." if layout == "nested" else ""
        tender = "payments." if layout == "nested" else ""
        head = "" if layout in ("lines", "first_row") else "header."
        id_ = {
            "column": {"template": f"{{{head}Shop}}-{{{head}Receipt}}-{{{item}Line}}"},
            "file": {"template": f"{{{head}Shop}}-{{{head}Receipt}}-{{number}}"},
            "content": {"template": f"{{{head}Shop}}-{{{head}Receipt}}-{{number}}"},
        }
        moment = {"datetime": {"formats": ["%Y-%m-%d %H:%M:%S"], "timezone": {"constant": ZONE}}}
        made: dict[str, Any] = {
            "mapping": "hunted",
            "source": source,
            "columns": {f"{item}Qty": "integer", f"{item}Price": "decimal"},
            "transaction": {
                "external_id": {"template": "{Shop}-{Receipt}"},
                "receipt_ref": "Receipt",
                "total": "Total"
                if self.total == "column"
                else {"sum": {"sql": f'"{item}Qty" * "{item}Price"'}},
                "transacted_at": {"column": "Sold", "then": [moment]},
                "timezone": {"constant": ZONE},
                "currency": {"constant": "AUD"},
                "location_id": "Shop",
                "meta": {"object": {"note": "Note"}},
            },
            "profile": [{"value": "Email", "handle": "email"}],
            "payments_form": "amounts",
            "payments": [{"tender": f"{tender}Tender", "amount": f"{tender}Paid"}],
        }
        if self.item_id in ("file", "content"):
            made["define"] = {"number": {"line_number": self.item_id}}
        if self.has_items:
            made["items"] = {
                **({"external_id": id_[self.item_id]} if self.item_id in id_ else {}),
                "name": f"{item}Title",
                "sku": f"{item}Sku",
                "quantity": f"{item}Qty",
                "price_current": f"{item}Price",
                "price_sell": f"{item}Price",
            }
        else:
            del made["columns"]
        return json.dumps(made, ensure_ascii=False)

    # ── A sale in rows ──────────────────────────────────────────────────────────────────────────────

    def amount(self, value: Decimal) -> str:
        if self.amounts == "plain" or (self.typed and not self.is_csv):
            return str(value)
        text = f"${abs(value):,.2f}"
        return f"({text})" if value < 0 else text

    def rows(self, number: int, sale: Sale) -> dict[str, list[Line]]:
        """The rows of a sale, by table."""
        key = {"Shop": sale.shop, "Receipt": sale.receipt}
        head = key | {"Sold": f"{sale.sold:%Y-%m-%d %H:%M:%S}", "Email": sale.email, "Note": sale.note}
        head |= {"Total": self.amount(sale.total)}
        tenders = [{"Tender": each.tender, "Paid": self.amount(each.amount)} for each in sale.payments]
        items = [
            {"Line": str(each.line), "Sku": each.sku, "Qty": str(each.quantity)}
            | {"Price": self.amount(each.price), "Title": each.title}
            for each in sale.items
        ]
        found: dict[str, list[tuple[str, Cells]]] = {"rows": []}
        rows, own = found["rows"], [each.token for each in sale.items]
        paid = [each.token for each in sale.payments]
        match self.layout:
            case "lines":
                rows += [(token, head | tenders[0] | item) for token, item in zip(own, items, strict=True)]
            case "first_row" | "carry":
                below = key if self.layout == "first_row" else {}
                rows += [(own[0], head | tenders[0] | items[0])]
                rows += [(token, below | item) for token, item in zip(own[1:], items[1:], strict=True)]
            case "headers":
                rows += [(sale.token, head | tenders[0])]
            case "records" | "records_by_place":
                below = key if self.layout == "records" else {}
                rows += [(sale.token, {"Type": "H"} | head)]
                rows += [
                    (token, {"Type": "I"} | below | item) for token, item in zip(own, items, strict=True)
                ]
                rows += [
                    (token, {"Type": "P"} | below | each) for token, each in zip(paid, tenders, strict=True)
                ]
            case "nested":
                rows += [(sale.token, head | {"Items": _list(items), "Tenders": _list(tenders)})]
            case _:
                found = {"headers": [(sale.token, head)]}
                below = dict(zip(KEY_BELOW, key.values(), strict=True))
                found["items"] = [(token, below | item) for token, item in zip(own, items, strict=True)]
                found["payments"] = [(token, below | each) for token, each in zip(paid, tenders, strict=True)]
        return {
            table: [Line(cells, sale.token, token, (number, at)) for at, (token, cells) in enumerate(some)]
            for table, some in found.items()
        }

    def clean(self, sales: list[Sale]) -> list[File]:
        """A clean export: one file, or one a table."""
        tables = ("headers", "items", "payments") if self.layout == "tables" else ("rows",)
        every = [self.rows(number, sale) for number, sale in enumerate(sales)]
        return [
            File(f"{table}_a", tuple(line for rows in every for line in rows[table]), table)
            for table in tables
        ]

    # ── Rows in a file ──────────────────────────────────────────────────────────────────────────────

    def of_file(self, at: int, file: File) -> Form:
        """The form of one of the files."""
        good = file.cut == 1 and all(line.kind in ("good", "bad_cell") for line in file.lines)
        return replace(self, format=self.others) if self.others and good and at % 2 else self

    def write(self, file: File, directory: Path, written: float) -> Path:
        path = directory / f"{file.name}.{self.format}"
        whole = self.content(file)
        path.write_bytes(whole[: int(len(whole) * file.cut)])
        os.utime(path, (written, written))
        return path

    def content(self, file: File) -> bytes:
        columns = self.columns(file.table)
        if self.format == "parquet":
            return self._parquet(file, columns)
        if self.format == "jsonl":
            return "".join(self._json(line, columns) + "\n" for line in file.lines).encode()
        rows = [self._row(columns), *(self._csv(line, columns) for line in file.lines)]
        whole = self.newline.join(rows) + (self.newline if self.ends else "")
        packed = whole.encode(self.encoding)
        return gzip.compress(packed) if self.format == "csv.gz" else packed

    def places(self, file: File) -> list[int]:
        """The line on which each row starts; in Parquet, its number."""
        if not self.is_csv:
            return list(range(1, len(file.lines) + 1))
        columns = self.columns(file.table)
        rows = [self._row(columns), *(self._csv(line, columns) for line in file.lines)]
        heights = [row.count("\n") + 1 for row in rows]
        return [1 + sum(heights[:at]) for at in range(1, len(rows))]

    def _csv(self, line: Line, columns: list[str]) -> str:
        text = self._row(_cells(line, columns))
        return f'{text}{self.delimiter}"broken" quotes' if line.kind == "quotes" else text

    def _row(self, cells: list[str]) -> str:
        text, delimiter, quoting = io.StringIO(), self.delimiter, self.quoting
        if len(delimiter) > 1:
            # `csv` knows single characters only, so a cell with a part of the delimiter is quoted here.
            delimiter = "\x1e"
            quoting = csv.QUOTE_ALL if any(set(cell) & set(self.delimiter) for cell in cells) else quoting
        csv.writer(text, delimiter=delimiter, lineterminator="\n", quoting=quoting).writerow(cells)  # type: ignore[arg-type]
        return text.getvalue().removesuffix("\n").replace("\x1e", self.delimiter)

    def _json(self, line: Line, columns: list[str]) -> str:
        if line.is_malformed:
            return f'{{"Shop": "{line.token}", "Receipt"'
        if line.kind == "empty":
            return "{}"
        cells = {name: self._typed(name, line.cells.get(name, "")) for name in columns}
        # Numbers go in as they are written, digit by digit.
        return "{" + ", ".join(f"{json.dumps(name)}: {cell}" for name, cell in cells.items()) + "}"

    def _typed(self, name: str, cell: str) -> str:
        if name in ("Items", "Tenders"):
            return cell or "[]"
        if self.typed and name in ("Total", "Paid", "Price", "Qty", "Line"):
            return cell or "null"
        return json.dumps(cell, ensure_ascii=len(cell) % 2 == 0)

    def _parquet(self, file: File, columns: list[str]) -> bytes:
        rows = [{name: line.cells.get(name, "") or None for name in columns} for line in file.lines]
        frame = pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.String))
        if self.typed:
            numbers = [name for name in ("Total", "Paid", "Price") if name in columns]
            whole = [name for name in ("Qty", "Line") if name in columns]
            frame = frame.with_columns(pl.col(numbers).cast(pl.Decimal(18, 2)), pl.col(whole).cast(pl.Int64))
        if "Items" in columns:
            item, tender = (
                pl.Struct(dict.fromkeys(ITEM, pl.String)),
                pl.Struct(dict.fromkeys(TENDER, pl.String)),
            )
            lists = [
                pl.col(name).str.json_decode(pl.List(inner))
                for name, inner in (("Items", item), ("Tenders", tender))
            ]
            frame = frame.with_columns(lists)
        packed = io.BytesIO()
        frame.write_parquet(packed)
        return packed.getvalue()


def _list(members: list[Cells]) -> str:
    return json.dumps(members, ensure_ascii=False)


def _cells(line: Line, columns: list[str]) -> list[str]:
    if line.kind == "blank":
        return ["", " ", *[""] * (len(columns) - 2)]
    if line.kind == "empty":
        return [""] * len(columns)
    if line.kind == "header":
        return columns
    cells = [line.cells.get(name, "") for name in columns]
    if line.kind == "long":
        return [*cells, "one", "too many"]
    if line.kind == "blank_more":
        return [*cells, ""]
    return cells[:-1] if line.kind == "short" else cells
