"""Which layout an export has, and which column plays which role in it, as far as a sample can tell."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePath

import polars as pl

from pipeline.core.errors import SourceError
from pipeline.core.file_formats import FileFormat
from pipeline.core.model import Dialect
from pipeline.mapping.language.value_spec import Number
from pipeline.mapping.language.yaml_text import listed, quoted
from pipeline.mapping.scaffold.infer_columns import (
    Pick,
    lists_in,
    number_form,
    picks,
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
        others: The names of other files with these columns, or with some of them.
    """

    name: str
    rows: pl.DataFrame
    format: FileFormat = "csv"
    dialect: Dialect = field(default_factory=Dialect)
    sure: bool = True
    others: tuple[str, ...] = ()

    @property
    def inputs(self) -> list[str]:
        """Globs for the names of all files of this kind."""
        return list(dict.fromkeys(glob_of(name) for name in (self.name, *self.others)))


@dataclass(frozen=True)
class Survey:
    """What is known about an export.

    Attributes:
        sample: The file with the transactions.
        layout: As in a mapping.
        source: Lines under `source` that say more about the layout.
        key: The columns that tell transactions apart.
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
    header: dict[str, Pick]
    item: dict[str, Pick]
    lines: pl.DataFrame
    payment: dict[str, Pick] = field(default_factory=dict)
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
        """Whether lines without a number are alike in every cell."""
        known = "line_no" in self.item or not self.item or self.layout in ("nested", "records")
        return not known and self.lines.height > 0 and bool(self.lines.is_duplicated().any())

    @property
    def number(self) -> Number:
        """How amounts are written."""
        roles = ("total", "paid", "price", "list_price", "line_total", "tax")
        cells = [
            rows[pick.column]
            for rows, found in ((self.sample.rows, self.header), (self.lines, self.item))
            for role, pick in found.items()
            if role in roles and pick.column in rows.columns and rows.schema[pick.column] == pl.String
        ]
        return number_form(cells)


HEADER = (
    *("transacted_at", "time", "timezone", "key", "store", "register", "currency", "total", "email", "card"),
    *("customer", "staff", "status", "tender", "paid"),
)
ITEM = ("quantity", "price", "list_price", "line_total", "tax", "name", "sku", "line_no", "department")


def survey(samples: Sequence[Sample]) -> Survey:
    """Find out what an export is.

    Args:
        samples: Of several that have the same columns, or some of another's, that with the most counts.

    Raises:
        SourceError: No sample has rows, or files have no column in common.
    """
    kinds = _kinds([sample for sample in samples if sample.rows.height])
    if not kinds:
        raise SourceError("There are no rows to draft a mapping from.")
    tables = [kind for kind in kinds if picks(cells_of(kind.rows), [*HEADER, *ITEM])] or kinds[:1]
    found = _one_file(tables[0]) if len(tables) == 1 else _several_files(tables)
    strange = [
        f"{kind.name} is not used; it does not look like sales" for kind in kinds if kind not in tables
    ]
    return replace(found, doubts=(*found.doubts, *strange))


def _kinds(samples: Sequence[Sample]) -> list[Sample]:
    """One sample for each kind of file; columns come over the years, so fewer of them are no other kind."""
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
    """Two samples of one kind as one; more rows say more."""
    alike = {*kind.rows.dtypes, *sample.rows.dtypes} == {pl.String()}
    rows = pl.concat([kind.rows, sample.rows], how="diagonal") if alike else kind.rows
    return replace(kind, rows=rows, others=(*kind.others, sample.name))


def cells_of(rows: pl.DataFrame) -> pl.DataFrame:
    """The source's own columns."""
    return rows.select(name for name in rows.columns if not name.startswith("__"))


def _one_file(sample: Sample) -> Survey:
    rows = cells_of(sample.rows)
    nested = list(lists_in(rows))
    flat = rows.drop({outer_column(name, rows.columns) for name, _ in nested})
    found = _without_line_numbers(flat, picks(flat, [*HEADER, *ITEM, "record_type"]))
    header = {role: pick for role, pick in found.items() if role in HEADER}
    item = {role: pick for role, pick in found.items() if role in ITEM}
    guess = Survey(sample, "lines", _key(flat, found), header, item, rows, doubts=_key_doubts(found))
    if nested:
        return _nested(guess, nested)
    records = found.get("record_type")
    words = record_words(values(rows[records.column]).unique().sort().to_list()) if records else {}
    if records and words:
        return _records(guess, records.column, words)
    if not {"quantity", "price", "line_total"} & item.keys():
        return replace(guess, layout="headers", item={})
    return _first_row(guess) if _blank_below(rows, guess) else guess


def _without_line_numbers(rows: pl.DataFrame, found: dict[str, Pick]) -> dict[str, Pick]:
    """What is called `Pos` may be a till or a position: if it differs on every row of a sale, the latter."""
    register, number = found.get("register"), found.get("key")
    if register is None or number is None or "line_no" in found:
        return found
    of_each = rows.group_by(number.column).agg(pl.col(register.column).n_unique().alias("n"), pl.len())
    several = of_each.filter(pl.col("len") > 1)
    if several.is_empty() or (several["n"] < several["len"]).any():
        return found
    return {**{role: pick for role, pick in found.items() if role != "register"}, "line_no": register}


def _key_doubts(found: dict[str, Pick]) -> tuple[str, ...]:
    return () if "key" in found else ("no column's name says that it is the transaction's number",)


def _key(rows: pl.DataFrame, found: dict[str, Pick]) -> tuple[str, ...]:
    """The number of the transaction, with store and register where numbers begin anew in each."""
    number = found["key"].column if "key" in found else rows.columns[0]
    key = [number]
    for role in ("store", "register"):
        pick = found.get(role)
        if pick and pick.column not in key and rows.schema[pick.column] == pl.String:
            several = rows.group_by(key).agg(pl.col(pick.column).drop_nulls().n_unique().alias("n"))
            if (several["n"] > 1).any():
                key.insert(len(key) - 1, pick.column)
    return tuple(key)


def _blank_below(rows: pl.DataFrame, guess: Survey) -> bool:
    """Whether cells of the transaction are only on its first row."""
    again = rows.select(pl.struct(guess.key).is_first_distinct()).to_series()
    below = rows.filter(~again)
    role = next((role for role in ("total", "transacted_at", "status") if role in guess.header), None)
    if role is None or below.is_empty():
        return False
    return values(below[guess.header[role].column]).len() * 2 < below.height


def _first_row(guess: Survey) -> Survey:
    return replace(guess, layout="first_row", source=("carry_key: true",))


def _nested(guess: Survey, lists: Sequence[tuple[str, list[str]]]) -> Survey:
    """Items in the list whose members look most like items; payments in another."""
    members = dict(lists)
    by_fit = sorted(members, key=lambda name: -len(_members(members[name], ITEM)))
    parts = dict(zip(("items", "payments"), by_fit, strict=False))
    found = {
        part: {
            role: Pick(f"{part}.{name}") for role, name in _members(members[column], _ROLES_OF[part]).items()
        }
        for part, column in parts.items()
    }
    named = ", ".join(f"{part}: {quoted(column)}" for part, column in parts.items())
    return replace(
        guess,
        layout="nested",
        item=found["items"],
        payment=found.get("payments", {}),
        lines=pl.DataFrame(),
        source=(f"nested: {{{named}}}",),
        doubts=(
            *guess.doubts,
            "items were found by their members' names, without looking at what is in them",
        ),
    )


_ROLES_OF = {"items": ITEM, "payments": ("tender", "paid")}
_SHORT = {"tender": ("method", "type", "name"), "paid": ("amount", "value")}
"""What members of a list of payments are called, which would say nothing in a flat file."""


def _members(names: Sequence[str], roles: Sequence[str]) -> dict[str, str]:
    """Members by role, by their names alone."""
    found = {
        role: pick.column for role, pick in picks(pl.DataFrame({n: ["1"] for n in names}), roles).items()
    }
    for role in set(roles) & _SHORT.keys():
        short = next((name for name in names if plain(name) in _SHORT[role]), None)
        if short and role not in found:
            found[role] = short
    return found


def _records(guess: Survey, column: str, words: dict[str, list[str]]) -> Survey:
    rows = cells_of(guess.sample.rows)
    of = {kind: rows.filter(pl.col(column).is_in(known)) for kind, known in words.items()}
    kinds = "".join(f", {kind}: {listed(known)}" for kind, known in words.items() if known)
    payment = picks(of["payment"], ("paid", "tender")) if words["payment"] else {}
    if payment and "tender" not in payment:
        payment["tender"] = _fullest_text(of["payment"], [column, *guess.key, payment["paid"].column])
    item = picks(of["item"], ITEM)
    if "name" not in item:
        used = [column, *guess.key, *(pick.column for pick in item.values())]
        item["name"] = _fullest_text(of["item"], used)
    if "price" not in item and "line_total" not in item and "total" in guess.header:
        item["line_total"] = replace(guess.header["total"], doubt="the total of a line's own row")
    return replace(
        guess,
        layout="records",
        key=(guess.key[-1],),
        header=picks(of["header"], HEADER),
        item=item,
        payment=payment,
        lines=of["item"],
        headers=of["header"],
        source=(f"records: {{column: {quoted(column)}{kinds}}}",),
    )


def _fullest_text(rows: pl.DataFrame, but: Sequence[str]) -> Pick:
    """The column, of those left, that is filled most and holds words."""
    left = [name for name in rows.columns if name not in but and rows.schema[name] == pl.String]
    words = [values(rows[name]).str.contains(r"[A-Za-z]{3}").sum() for name in left]
    best = max(zip(words, left, strict=True), default=(0, rows.columns[0]))[1]
    return Pick(best, "the fullest column of words in such rows")


def _several_files(samples: Sequence[Sample]) -> Survey:
    """Headers have the date, items a price or quantity, payments a tender and neither."""
    found = {sample.name: picks(cells_of(sample.rows), [*HEADER, *ITEM]) for sample in samples}
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
    return Survey(
        headers,
        "tables",
        (key,),
        {role: pick for role, pick in found[headers.name].items() if role in HEADER},
        {role: pick for role, pick in found[items.name].items() if role in ITEM},
        cells_of(items.rows),
        payment={r: p for r, p in found[payments.name].items() if r in ("tender", "paid")}
        if payments
        else {},
        source=("tables:", *lines),
        tables=tuple(tables),
        doubts=tuple(doubts),
    )


def _header_likeness(found: dict[str, Pick]) -> tuple[bool, bool, int]:
    has_items = bool(found.keys() & {"quantity", "price", "line_total"})
    return "transacted_at" in found, not has_items, len(found.keys() & {*HEADER})


def _shared(headers: Sample, items: Sample, number: Pick | None) -> str:
    """The column in both files that is the transaction's number, or tells rows of the headers apart best."""
    both = [name for name in cells_of(headers.rows).columns if name in items.rows.columns]
    if not both:
        raise SourceError(
            f"{headers.name} and {items.name} have no column in common, so they cannot be joined.",
            hint="Draft a mapping from one of them, and write the tables yourself.",
        )
    return max(both, key=lambda name: (number == Pick(name), headers.rows[name].n_unique()))


def glob_of(name: str) -> str:
    """A file name with a glob for the date or number in it."""
    return re.sub(r"\d[\d_-]*\d", "[0-9]*", PurePath(name).name)
