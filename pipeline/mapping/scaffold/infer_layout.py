"""Infers the layout of an export from samples, and which column has which role in it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePath

import polars as pl

from pipeline.core.errors import SourceError
from pipeline.core.file_formats import FileFormat
from pipeline.core.model import Dialect, Worksheet
from pipeline.mapping.language.value_spec import Number
from pipeline.mapping.language.yaml_text import listed, quoted
from pipeline.mapping.scaffold.infer_columns import (
    ColumnChoice,
    choose_columns,
    lists_in,
    number_form,
    plain,
    record_words,
    values,
)
from pipeline.mapping.usage.column_names import outer_column


@dataclass(frozen=True)
class Sample:
    """The beginning of a file.

    Attributes:
        name: The file's name.
        rows: Its first rows; cells as the readers give them, other columns are not looked at.
        format: What it is.
        dialect: How it is written, where it is CSV.
        sure: Whether its encoding is certain.
        others: The names of other files that have these columns or some of them.
        sheet: What is read of it, where it is a workbook.
    """

    name: str
    rows: pl.DataFrame
    format: FileFormat = "csv"
    dialect: Dialect = field(default_factory=Dialect)
    sure: bool = True
    others: tuple[str, ...] = ()
    sheet: Worksheet = field(default_factory=Worksheet)

    @property
    def inputs(self) -> list[str]:
        """Globs for the names of all files of this kind."""
        return list(dict.fromkeys(glob_of(name) for name in (self.name, *self.others)))


@dataclass(frozen=True)
class InferredLayout:
    """What the samples show about an export.

    Attributes:
        sample: The file with the transactions.
        layout: As in a mapping.
        source: Further lines under `source` about the layout.
        key: The columns that identify a transaction.
        header: Columns for a transaction's roles.
        item: Columns for an item's roles; empty where there are no items.
        lines: The rows of the items.
        payment: Columns for a payment's roles, where payments have rows of their own.
        headers: The rows of the transactions, where they are not all rows of the sample.
        tables: The files by table, for layout `tables`.
        doubts: What is unsure about the layout.
    """

    sample: Sample
    layout: str
    key: tuple[str, ...]
    header: dict[str, ColumnChoice]
    item: dict[str, ColumnChoice]
    lines: pl.DataFrame
    payment: dict[str, ColumnChoice] = field(default_factory=dict)
    headers: pl.DataFrame | None = None
    source: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()

    tables: tuple[tuple[str, Sample], ...] = ()

    @property
    def header_rows(self) -> pl.DataFrame:
        """The rows in which a transaction's own cells are."""
        rows = cells_of(self.sample.rows)
        return rows if self.headers is None else self.headers

    @property
    def columns(self) -> dict[str, list[str]]:
        """The export's columns by table."""
        tables = self.tables or (("lines", self.sample),)
        return {table: cells_of(sample.rows).columns for table, sample in tables}

    @property
    def by_line_total(self) -> bool:
        """Whether prices have to be taken from line totals."""
        price = self.item.get("price")
        return "line_total" in self.item and not (price and not price.doubt)

    @property
    def repeats(self) -> bool:
        """Whether there are equal lines, and no line number."""
        known = "line_no" in self.item or not self.item or self.layout in ("nested", "records")
        return not known and self.lines.height > 0 and bool(self.lines.is_duplicated().any())

    @property
    def number(self) -> Number:
        """How amounts are written."""
        roles = ("total", "paid", "price", "list_price", "line_total", "tax")
        cells = [
            rows[choice.column]
            for rows, found in ((self.sample.rows, self.header), (self.lines, self.item))
            for role, choice in found.items()
            if role in roles and choice.column in rows.columns and rows.schema[choice.column] == pl.String
        ]
        return number_form(cells)


HEADER = (
    *("transacted_at", "time", "timezone", "key", "store", "register", "currency", "total", "email", "card"),
    *("customer", "staff", "status", "tender", "paid"),
)
ITEM = ("quantity", "price", "list_price", "line_total", "tax", "name", "sku", "line_no", "department")


def infer_layout(samples: Sequence[Sample]) -> InferredLayout:
    """Infer the layout of an export.

    Args:
        samples: Of several that have the same columns, or some of another's, that with the most counts.

    Raises:
        SourceError: No sample has rows, or files have no column in common.
    """
    kinds = _kinds([sample for sample in samples if sample.rows.height])
    if not kinds:
        raise SourceError("There are no rows to draft a mapping from.")
    tables = [kind for kind in kinds if choose_columns(cells_of(kind.rows), [*HEADER, *ITEM])] or kinds[:1]
    found = _one_file(tables[0]) if len(tables) == 1 else _several_files(tables)
    strange = [
        f"{kind.name} is not used; it does not look like sales" for kind in kinds if kind not in tables
    ]
    return replace(found, doubts=(*found.doubts, *strange))


def _kinds(samples: Sequence[Sample]) -> list[Sample]:
    """One sample per kind of file. Exports gain columns over time, so fewer columns are the same kind."""
    kinds: list[Sample] = []
    for sample in sorted(samples, key=lambda sample: -sample.rows.width):
        names = {*cells_of(sample.rows).columns}
        at = next((at for at, kind in enumerate(kinds) if names <= {*kind.rows.columns}), None)
        if at is None:
            kinds.append(sample)
        else:
            kinds[at] = _joined(kinds[at], sample)
    return sorted(kinds, key=lambda kind: min(n for n, s in enumerate(samples) if s.name == kind.name))


def _joined(kind: Sample, sample: Sample) -> Sample:
    """Two samples of one kind as one, since more rows show more."""
    alike = {*kind.rows.dtypes, *sample.rows.dtypes} == {pl.String()}
    rows = pl.concat([kind.rows, sample.rows], how="diagonal") if alike else kind.rows
    return replace(kind, rows=rows, others=(*kind.others, sample.name))


def cells_of(rows: pl.DataFrame) -> pl.DataFrame:
    """The source's own columns."""
    return rows.select(name for name in rows.columns if not name.startswith("__"))


def _one_file(sample: Sample) -> InferredLayout:
    rows = cells_of(sample.rows)
    nested = list(lists_in(rows))
    flat = rows.drop({outer_column(name, rows.columns) for name, _ in nested})
    found = _without_line_numbers(flat, choose_columns(flat, [*HEADER, *ITEM, "record_type"]))
    header = {role: choice for role, choice in found.items() if role in HEADER}
    item = {role: choice for role, choice in found.items() if role in ITEM}
    inferred = InferredLayout(
        sample, "lines", _key(flat, found), header, item, rows, doubts=_key_doubts(found)
    )
    if nested:
        return _nested(inferred, nested)
    records = found.get("record_type")
    words = record_words(values(rows[records.column]).unique().sort().to_list()) if records else {}
    if records and words:
        return _records(inferred, records.column, words)
    if not {"quantity", "price", "line_total"} & item.keys():
        return replace(inferred, layout="headers", item={})
    return _first_row(inferred) if _blank_below(rows, inferred) else inferred


def _without_line_numbers(rows: pl.DataFrame, found: dict[str, ColumnChoice]) -> dict[str, ColumnChoice]:
    """Find out whether a column `Pos` is a till or a position: positions differ on all lines of a sale."""
    register, number = found.get("register"), found.get("key")
    if register is None or number is None or "line_no" in found:
        return found
    of_each = rows.group_by(number.column).agg(pl.col(register.column).n_unique().alias("n"), pl.len())
    several = of_each.filter(pl.col("len") > 1)
    if several.is_empty() or (several["n"] < several["len"]).any():
        return found
    return {**{role: choice for role, choice in found.items() if role != "register"}, "line_no": register}


def _key_doubts(found: dict[str, ColumnChoice]) -> tuple[str, ...]:
    return () if "key" in found else ("no column's name says that it is the transaction's number",)


def _key(rows: pl.DataFrame, found: dict[str, ColumnChoice]) -> tuple[str, ...]:
    """The number of the transaction, with store and register where each has numbers of its own."""
    number = found["key"].column if "key" in found else rows.columns[0]
    key = [number]
    for role in ("store", "register"):
        choice = found.get(role)
        if choice and choice.column not in key and rows.schema[choice.column] == pl.String:
            several = rows.group_by(key).agg(pl.col(choice.column).drop_nulls().n_unique().alias("n"))
            if (several["n"] > 1).any():
                key.insert(len(key) - 1, choice.column)
    return tuple(key)


def _blank_below(rows: pl.DataFrame, inferred: InferredLayout) -> bool:
    """Whether the cells of a transaction are only on its first row."""
    again = rows.select(pl.struct(inferred.key).is_first_distinct()).to_series()
    below = rows.filter(~again)
    role = next((role for role in ("total", "transacted_at", "status") if role in inferred.header), None)
    if role is None or below.is_empty():
        return False
    return values(below[inferred.header[role].column]).len() * 2 < below.height


def _first_row(inferred: InferredLayout) -> InferredLayout:
    return replace(inferred, layout="first_row", source=("carry_key: true",))


def _nested(inferred: InferredLayout, lists: Sequence[tuple[str, list[str]]]) -> InferredLayout:
    """The list whose members fit items best holds the items; another list holds the payments."""
    members = dict(lists)
    by_fit = sorted(members, key=lambda name: -len(_members(members[name], ITEM)))
    parts = dict(zip(("items", "payments"), by_fit, strict=False))
    found = {
        part: {
            role: ColumnChoice(f"{part}.{name}")
            for role, name in _members(members[column], _ROLES_OF[part]).items()
        }
        for part, column in parts.items()
    }
    named = ", ".join(f"{part}: {quoted(column)}" for part, column in parts.items())
    return replace(
        inferred,
        layout="nested",
        item=found["items"],
        payment=found.get("payments", {}),
        lines=pl.DataFrame(),
        source=(f"nested: {{{named}}}",),
        doubts=(
            *inferred.doubts,
            "items were found by their members' names, without looking at what is in them",
        ),
    )


_ROLES_OF = {"items": ITEM, "payments": ("tender", "paid")}
_SHORT = {"tender": ("method", "type", "name"), "paid": ("amount", "value")}
"""Names of members in a list of payments; in a flat file these names would be too vague."""


def _members(names: Sequence[str], roles: Sequence[str]) -> dict[str, str]:
    """Members by role, chosen by their names alone."""
    found = {
        role: choice.column
        for role, choice in choose_columns(pl.DataFrame({n: ["1"] for n in names}), roles).items()
    }
    for role in set(roles) & _SHORT.keys():
        short = next((name for name in names if plain(name) in _SHORT[role]), None)
        if short and role not in found:
            found[role] = short
    return found


def _records(inferred: InferredLayout, column: str, words: dict[str, list[str]]) -> InferredLayout:
    rows = cells_of(inferred.sample.rows)
    of = {kind: rows.filter(pl.col(column).is_in(known)) for kind, known in words.items()}
    kinds = "".join(f", {kind}: {listed(known)}" for kind, known in words.items() if known)
    payment = choose_columns(of["payment"], ("paid", "tender")) if words["payment"] else {}
    if payment and "tender" not in payment:
        payment["tender"] = _fullest_text(of["payment"], [column, *inferred.key, payment["paid"].column])
    item = choose_columns(of["item"], ITEM)
    if "name" not in item:
        used = [column, *inferred.key, *(choice.column for choice in item.values())]
        item["name"] = _fullest_text(of["item"], used)
    if "price" not in item and "line_total" not in item and "total" in inferred.header:
        item["line_total"] = replace(inferred.header["total"], doubt="the total of a line's own row")
    return replace(
        inferred,
        layout="records",
        key=(inferred.key[-1],),
        header=choose_columns(of["header"], HEADER),
        item=item,
        payment=payment,
        lines=of["item"],
        headers=of["header"],
        source=(f"records: {{column: {quoted(column)}{kinds}}}",),
    )


def _fullest_text(rows: pl.DataFrame, but: Sequence[str]) -> ColumnChoice:
    """The column among the remaining ones with the most words."""
    left = [name for name in rows.columns if name not in but and rows.schema[name] == pl.String]
    words = [values(rows[name]).str.contains(r"[A-Za-z]{3}").sum() for name in left]
    best = max(zip(words, left, strict=True), default=(0, rows.columns[0]))[1]
    return ColumnChoice(best, "the fullest column of words in such rows")


def _several_files(samples: Sequence[Sample]) -> InferredLayout:
    """Several tables: headers have a date, items a price or quantity, payments an amount paid."""
    found = {sample.name: choose_columns(cells_of(sample.rows), [*HEADER, *ITEM]) for sample in samples}
    headers = max(samples, key=lambda sample: _header_likeness(found[sample.name]))
    rest = [sample for sample in samples if sample is not headers]
    items = max(rest, key=lambda sample: len(found[sample.name].keys() & {*ITEM}))
    key = _shared(headers, items, found[headers.name].get("key"))
    others = [sample for sample in rest if sample is not items]
    payments = next((s for s in others if "paid" in found[s.name] and key in s.rows.columns), None)
    tables = [("headers", headers), ("items", items)] + ([("payments", payments)] if payments else [])
    unused = [sample.name for sample in others if sample is not payments]
    doubts = [f"{name} is not used; is it a look-up table?" for name in unused]
    lines = [
        f"  {table}: {{inputs: {listed(sample.inputs)}, key: [{quoted(key)}]}}" for table, sample in tables
    ]
    return InferredLayout(
        headers,
        "tables",
        (key,),
        {role: choice for role, choice in found[headers.name].items() if role in HEADER},
        {role: choice for role, choice in found[items.name].items() if role in ITEM},
        cells_of(items.rows),
        payment={r: p for r, p in found[payments.name].items() if r in ("tender", "paid")}
        if payments
        else {},
        source=("tables:", *lines),
        tables=tuple(tables),
        doubts=tuple(doubts),
    )


def _header_likeness(found: dict[str, ColumnChoice]) -> tuple[bool, bool, int]:
    has_items = bool(found.keys() & {"quantity", "price", "line_total"})
    return "transacted_at" in found, not has_items, len(found.keys() & {*HEADER})


def _shared(headers: Sample, items: Sample, number: ColumnChoice | None) -> str:
    """The column in both files that is the transaction's number, or else identifies most header rows."""
    both = [name for name in cells_of(headers.rows).columns if name in items.rows.columns]
    if not both:
        raise SourceError(
            f"{headers.name} and {items.name} have no column in common, so they cannot be joined.",
            hint="Draft a mapping from one of them, and write the tables yourself.",
        )
    return max(both, key=lambda name: (number == ColumnChoice(name), headers.rows[name].n_unique()))


def glob_of(name: str) -> str:
    """A file name with a glob in place of the date or number in it."""
    return re.sub(r"\d[\d_-]*\d", "[0-9]*", PurePath(name).name)
