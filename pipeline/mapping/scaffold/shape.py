"""How the files of an export are laid out: sales, their lines and payments, whatever the layout."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline.core.errors import SourceError
from pipeline.core.text.wording import count
from pipeline.mapping.language.yaml_text import in_single_quotes, listed, quoted
from pipeline.mapping.scaffold.keys import GROUP, NTH, Key, grouped, keys_of
from pipeline.mapping.scaffold.plain_days import days_in_one_form
from pipeline.mapping.scaffold.samples import Sample, totals_rows
from pipeline.mapping.scaffold.unnumbered import key_of_unnumbered
from pipeline.mapping.scaffold.vocabulary.cells import share, share_of, sql_name, values
from pipeline.mapping.scaffold.vocabulary.dates import read_dates
from pipeline.mapping.scaffold.vocabulary.role_fit import choose_columns, fit, ranked
from pipeline.mapping.scaffold.vocabulary.roles import AMOUNTS, LINE, record_words
from pipeline.mapping.scaffold.vocabulary.row_types import is_named_type, kinds_of_rows, names_movements
from pipeline.mapping.scaffold.vocabulary.statuses import states
from pipeline.mapping.usage.column_names import outer_column

Places = npt.NDArray[np.int64]
_COPIES: Final = 0.2
"""The share of rows up to which equal ones are copies, where sales have one row otherwise."""
MIXED: Final = 0.02
"""The share of sales whose rows differ in a column that is the sale's all the same."""
PLACE: Final = "__place"
"""A column with the place of a row in its sample."""
_FIRST_ONLY: Final = 0.05
"""The share of the rows below a sale's first that may hold a cell which belongs to the sale."""


@dataclass(frozen=True)
class Shape:
    """An export as sales and lines.

    Attributes:
        sample: The file with the sales.
        layout: As in a mapping.
        key: What identifies a sale.
        headers: One row a sale: the cells that are the sale's.
        lines: One row a line.
        at: For each line, the row of its sale in `headers`.
        payments: One row a payment, where payments have rows of their own.
        source: Further lines under `source`.
        lookups: Lines under `lookups`.
        found_in: Columns that a look-up table holds, and the value that gives them.
        tables: The files by table, for layout `tables`.
        own_key: For layout `tables`, the column of the items that names their sale.
        notes: What a person should know.
    """

    sample: Sample
    layout: str
    key: Key
    headers: pl.DataFrame
    lines: pl.DataFrame
    at: Places
    payments: pl.DataFrame | None = None
    source: tuple[str, ...] = ()
    lookups: tuple[str, ...] = ()
    found_in: Mapping[str, str] = field(default_factory=dict)
    tables: tuple[tuple[str, Sample], ...] = ()
    own_key: str = ""
    notes: tuple[str, ...] = ()

    @property
    def columns(self) -> dict[str, list[str]]:
        """The export's columns by table, as the files name them."""
        tables = self.tables or (("lines", self.sample),)
        return {
            table: [sample.guarded.get(name, name) for name in sample.cells.columns]
            for table, sample in tables
        }

    @property
    def guarded(self) -> dict[str, str]:
        """The columns without what protects their cells, and the names that they have in the files."""
        tables = [sample for _, sample in self.tables] or [self.sample]
        return {name: old for sample in tables for name, old in sample.guarded.items()}

    @property
    def file_names(self) -> list[str]:
        """The names of the files with the sales."""
        return [self.sample.name, *self.sample.others]

    @property
    def has_several(self) -> bool:
        """Whether a sale can have several lines."""
        return self.lines.height > self.headers.height

    @property
    def own_headers(self) -> pl.DataFrame:
        """The cells of sales without those that a look-up table holds."""
        return self.headers.drop(self.found_in, strict=False)

    def is_of_sale(self, column: str) -> bool:
        """Whether a column has one value in all lines of a sale, as far as sales have several lines."""
        if self.layout not in ("lines", "headers"):
            return column in self.headers.columns
        return column in self.headers.columns and self.differing(column) == 0

    def differing(self, column: str) -> float:
        """The share of the sales of several lines in which a column has several values."""
        if (
            column not in self.lines.columns
            or not self.has_several
            or self.layout not in ("lines", "headers")
        ):
            return 0.0
        cells = pl.DataFrame({GROUP: self.at, "cell": self.lines[column]}).group_by(GROUP)
        several = cells.agg(pl.len(), pl.col("cell").n_unique().alias("n")).filter(pl.col("len") > 1)
        return share_of(several["n"] > 1)


def dates_of(rows: pl.DataFrame) -> list[str]:
    """The columns with dates, the likeliest for the sale first; others than dates of a sale come last."""
    named = ranked(rows, "transacted_at")
    texts = [name for name, dtype in rows.schema.items() if dtype == pl.String and name not in named]
    return [*named, *(name for name in texts if _is_certain_date(rows[name]))]


def _is_certain_date(cells: pl.Series) -> bool:
    filled = values(cells.head(200))
    if filled.is_empty() or share(filled, r"\d[-/.: ]+\w+[-/. ]") < 0.9:
        return False
    found = read_dates(filled)
    return found is not None and found.read > 0.9


# ── One file ────────────────────────────────────────────────────────────────────────────────────────


def one_file(sample: Sample) -> list[Shape]:
    """How one file may be laid out, the likeliest first.

    Raises:
        SourceError: It is one JSON document with a list of rows.
    """
    rows = sample.cells
    nested = list(lists_in(rows))
    flat = rows.drop({outer_column(name, rows.columns) for name, _ in nested})
    if nested and (
        not flat.columns or (rows.height == 1 and not choose_columns(flat, ["key", "transacted_at"]))
    ):
        raise SourceError(
            f"{sample.name} is one JSON document, and its rows are in `{nested[0][0]}`",
            hint=f"Write one object a line: `jq -c '.{nested[0][0]}[]' FILE > FILE.jsonl`.",
        )
    found = choose_columns(flat, ["record_type"])
    words = record_words(values(rows[found["record_type"]]).unique().sort().to_list()) if found else {}
    if words:
        return [_records(sample, flat, found["record_type"], words)]
    source: tuple[str, ...] = ()
    places = pl.int_range(flat.height, eager=True)
    if totals := totals_rows(flat):
        column, marks = totals
        sql = " OR ".join(f"{sql_name(column)} = {in_single_quotes(mark)}" for mark in marks)
        source = (f"rows: {{skip: {quoted(sql)}}}  # rows of totals",)
        of_totals = flat[column].str.strip_chars().is_in(marks).fill_null(value=False)
        flat, places = flat.filter(~of_totals), places.filter(~of_totals)
    dates = dates_of(flat)
    parts = [name for name in choose_columns(flat, ["store", "register"]).values() if name not in dates]
    keys = keys_of(flat, dates, parts)
    left_out = (_without_movements, _without_unnumbered)
    tried = (without(flat, dates, parts) for without in left_out if keys[0].doubt and not source)
    if sold := next(filter(None, tried), None):
        keys, source, kept = sold
        flat, places = flat.filter(kept), places.filter(kept)
    unnumbered = key_of_unnumbered(flat, dates, parts) if keys[0].doubt else None
    if unnumbered and not (unnumbered.amount and source):
        keys.insert(0, unnumbered)
    if NTH in keys[0].columns:
        nth = pl.int_range(1, pl.len() + 1).over(flat.columns).cast(pl.String).alias(NTH)
        keys, flat, source = keys[:1], flat.with_columns(nth), (f"rows: {{number_equal: {NTH}}}",)
    plain, doubt = days_in_one_form(sample, flat, keys[0], dates)
    if plain is not None:
        return one_file(plain)
    keys[0] = replace(keys[0], doubt=keys[0].doubt or doubt)
    if nested:
        return [_nested(sample, flat, keys[0], nested)]
    flat = flat.with_columns(places.alias(PLACE))
    return [_flat(sample, flat, key, dates, source) for key in keys[:4]]


def _without_movements(
    rows: pl.DataFrame, dates: Sequence[str], parts: Sequence[str]
) -> tuple[list[Key], tuple[str, ...], pl.Series] | None:
    """Keys of the rows that are no movements of money, what leaves those out, and which rows are left.

    None where no column tells them apart, or where no key is certain without them.
    """
    for name, dtype in rows.schema.items():
        filled = (
            values(rows[name]) if dtype == pl.String and is_named_type(name) else pl.Series(dtype=pl.String)
        )
        found = kinds_of_rows(filled.unique().sort().to_list())
        is_known = {"sale", "movement"} <= found.keys() <= {"sale", "refund", "movement"}
        if not is_known or not names_movements(filled, is_named=True):
            continue
        kept = rows[name].str.strip_chars().is_in(found["movement"]).fill_null(value=False).not_()
        keys = keys_of(rows.filter(kept), dates, [*parts, name])
        if "refund" in found:  # A return is not its sale, though it has the number of that.
            keys = [replace(key, columns=tuple(dict.fromkeys((name, *key.columns)))) for key in keys]
        if not keys[0].doubt:
            sql = " OR ".join(f"{sql_name(name)} = {in_single_quotes(word)}" for word in found["movement"])
            why = f"by `{name}` {count(rows.height - int(kept.sum()), 'row')} move money and sell nothing"
            return keys, (f"rows: {{skip: {quoted(sql)}}}  # unsure: {why}",), kept
    return None


def _without_unnumbered(
    rows: pl.DataFrame, dates: Sequence[str], parts: Sequence[str]
) -> tuple[list[Key], tuple[str, ...], pl.Series] | None:
    """As `_without_movements`, of rows that have a number: the others have only statuses of their own.

    Payment systems list attempts that came to nothing beside payments.
    """
    for name in ranked(rows, "key"):
        numbered = rows[name].str.strip_chars().replace("", None).is_not_null()
        if numbered.all() or fit(name, "key") < 2:
            continue
        for column in ranked(rows, "status"):
            of = rows[column].str.strip_chars()
            without = of.filter(~numbered)
            if without.null_count() or without.is_in(of.filter(numbered).implode()).any():
                continue
            keys = keys_of(rows.filter(numbered), dates, parts)
            known, _ = states(of.filter(numbered).drop_nulls().unique().to_list())
            if keys[0].doubt or keys[0].columns[-1] != name or "complete" not in known:
                continue
            words = ", ".join(without.unique().sort().to_list())
            why = f"{count(without.len(), 'row')} without `{name}` are {words} by `{column}`"
            sql = quoted(f"{sql_name(name)} IS NULL")
            return keys, (f"rows: {{skip: {sql}}}  # unsure: {why}",), numbered
    return None


def _flat(
    sample: Sample,
    rows: pl.DataFrame,
    key: Key,
    dates: Sequence[str],
    source: tuple[str, ...],
) -> Shape:
    lines = _without_cut(sample, rows, key)
    distinct = lines.unique(maintain_order=True)
    copies = lines.height - distinct.height
    if 0 < copies <= lines.height * _COPIES and distinct.height == lines[GROUP].n_unique():
        lines = distinct
    first = lines.unique(GROUP, keep="first", maintain_order=True)
    at = lines[GROUP].rank("dense").cast(pl.Int64).to_numpy() - 1
    lines, headers = lines.drop(GROUP), first.drop(GROUP)
    shape = Shape(sample, "lines", key, headers=headers, lines=lines, at=at, source=source)
    if not shape.has_several:
        return replace(shape, layout="headers" if not has_lines(rows) else "lines")
    below = lines.filter(~pl.Series(is_first(at)))
    on_first = [name for name in headers.columns if _is_on_first(headers[name], below[name])]
    if key.carried or any(name in dates or _is_of_header(name) for name in on_first):
        return replace(shape, layout="first_row", source=(*source, "carry_key: true"))
    return shape


def _without_cut(sample: Sample, rows: pl.DataFrame, key: Key) -> pl.DataFrame:
    """The rows with the number of their sale, without sales of which the sample may lack rows."""
    lines = grouped(rows, key)
    cut = lines.filter(pl.col(PLACE).is_in(sample.at_edges))[GROUP].unique()
    whole = lines.filter(~pl.col(GROUP).is_in(cut.implode()))
    return (whole if whole.height else lines).drop(PLACE)


def has_lines(rows: pl.DataFrame) -> bool:
    """Whether rows look like lines of sales, and not only like sales."""
    found = choose_columns(rows, ["quantity", "price", "name", "sku", "total"])
    return bool(found.keys() & {"quantity", "price"}) and bool(found.keys() & {"name", "sku", "quantity"})


def is_first(at: Places) -> npt.NDArray[np.bool_]:
    """Which lines are the first of their sale."""
    seen = np.zeros(at.size, np.bool_)
    seen[np.unique(at, return_index=True)[1]] = True
    return seen


def _is_on_first(first: pl.Series, below: pl.Series) -> bool:
    return values(first).len() * 2 > first.len() and values(below).len() <= below.len() * _FIRST_ONLY


def _is_of_header(name: str) -> bool:
    return any(fit(name, role) > 1 for role in ("total", "status", "tender", "currency", "shipping", "paid"))


# ── Record types and lists ──────────────────────────────────────────────────────────────────────────


def _records(sample: Sample, rows: pl.DataFrame, column: str, words: dict[str, list[str]]) -> Shape:
    of = {kind: pl.col(column).str.strip_chars().is_in(known) for kind, known in words.items()}
    at = of["header"].fill_null(value=False).cum_sum().cast(pl.Int64) - 1
    rows = rows.with_columns(at.alias("at"), pl.int_range(pl.len()).alias(PLACE)).filter(pl.col("at") >= 0)
    cut = rows.filter(pl.col(PLACE).is_in(sample.at_edges))["at"].unique()
    rows = rows.filter(~pl.col("at").is_in(cut.implode())).drop(PLACE)
    rows = rows.with_columns(pl.col("at").rank("dense").cast(pl.Int64) - 1)
    kinds = "".join(f", {kind}: {listed(known)}" for kind, known in words.items() if known)
    parts = {kind: rows.filter(each) for kind, each in of.items()}
    headers = parts["header"].drop("at")
    key = keys_of(headers.drop(column), dates_of(headers), ())[0]
    carried = values(parts["item"][key.columns[-1]]).len() < parts["item"].height
    source = [f"records: {{column: {quoted(column)}{kinds}}}", *(["carry_key: true"] if carried else [])]
    drop = [column, "at", *key.columns]
    return Shape(
        sample,
        "records",
        Key((key.columns[-1],), carried, key.why, key.doubt),
        headers=headers.drop(column),
        lines=parts["item"].drop(drop),
        at=parts["item"]["at"].to_numpy(),
        payments=parts["payment"].drop(drop) if words["payment"] else None,
        source=tuple(source),
    )


def _nested(sample: Sample, rows: pl.DataFrame, key: Key, lists: Sequence[tuple[str, list[str]]]) -> Shape:
    """The list whose members fit items best holds the items; another list holds the payments."""
    members = dict(lists)
    wanted = [*LINE, *AMOUNTS]
    by_fit = sorted(
        members, key=lambda name: -sum(max(fit(each, role) for role in wanted) > 1 for each in members[name])
    )
    parts = dict(zip(("items", "payments"), by_fit, strict=False))
    frames = {part: _exploded(sample.cells, column, part) for part, column in parts.items()}
    named = ", ".join(f"{part}: {quoted(column)}" for part, column in parts.items())
    at = frames["items"]["at"].to_numpy()
    return Shape(
        sample,
        "nested",
        replace(key, carried=False),
        headers=rows,
        lines=frames["items"].drop("at"),
        at=at,
        payments=frames["payments"].drop("at") if "payments" in frames else None,
        source=(f"nested: {{{named}}}",),
    )


def _exploded(rows: pl.DataFrame, path: str, part: str) -> pl.DataFrame:
    """The members of the lists as text, one row a member, with `at`: the row that it is from."""
    column = outer_column(path, rows.columns)
    cells = rows[column]
    if cells.dtype == pl.String:
        cells = cells.str.json_decode(_json_type(values(cells)))
    if path != column:
        cells = cells.struct.field(path.removeprefix(f"{column}."))
    frame = (
        pl.DataFrame({"at": pl.int_range(rows.height, eager=True), "list": cells})
        .explode("list")
        .drop_nulls()
    )
    members = frame.unnest("list")
    texts = [
        pl.col(name).cast(pl.String).alias(f"{part}.{name}")
        for name, dtype in members.schema.items()
        if name != "at" and not dtype.is_nested()
    ]
    return members.select("at", *texts)


def lists_in(rows: pl.DataFrame) -> Iterator[tuple[str, list[str]]]:
    """Lists of objects, as `column` or inside of objects as `column.member`, with their members' names."""
    for name, dtype in rows.schema.items():
        held = _json_type(values(rows[name])) if dtype == pl.String else dtype
        if members := _members_of(held):
            yield name, members
        elif isinstance(held, pl.Struct):
            inner = ((f"{name}.{member.name}", _members_of(member.dtype)) for member in held.fields)
            yield from ((path, members) for path, members in inner if members)


def _members_of(dtype: object) -> list[str]:
    """The names in a list of objects; none for another type."""
    inner = dtype.inner if isinstance(dtype, pl.List) else None
    return [member.name for member in inner.fields] if isinstance(inner, pl.Struct) else []


def _json_type(texts: pl.Series) -> pl.DataType | None:
    """The type of a column of JSON lists or objects; None for another column."""
    is_json = any(
        share(texts, every) == 1 and share(texts, some) > 0
        for every, some in ((r"^\[\s*[{\]]", r"^\[\s*\{"), (r"^\{\s*[\"}]", r"^\{\s*\""))
    )
    try:
        return texts.str.json_decode(infer_schema_length=None).dtype if is_json else None
    except pl.exceptions.ComputeError:  # Not JSON in spite of its braces, or members of several types.
        return None
