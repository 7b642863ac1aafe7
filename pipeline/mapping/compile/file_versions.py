"""Which rows count for a sale that is in several files of a run.

Exports overlap, are copied, correct each other, or split a sale. For a sale with rows in several files of one
table, taking the files in the order in which they were written:

1. A file that shares a line with a later file (the same line id, or the same cells), or all of whose rows are
   in a later file, is an older version: its rows do not count.
2. If several files are left, the mapping takes the total from the source, and exactly one reading agrees with
   it (the last file alone, or all of them together), that reading counts.
3. Otherwise the mapping decides (`across_files`); by default such a sale is rejected.

The first two do not hold where the sale's times in the files are more than twelve hours apart: these are two
sales with one number, and taking the last file alone would lose the other sale.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import polars as pl

from pipeline.core.model import KEY, LINE, SOURCE, TX
from pipeline.core.storage.partition_frames import NO_LOCATIONS, MappedTransactions, cells_of
from pipeline.mapping.compile.compiled_mapping import CompiledMapping
from pipeline.mapping.compile.compiler import FAR_APART_HOURS
from pipeline.mapping.language.spec import MappingSpec
from pipeline.mapping.language.value_spec import CountValue, SumValue
from pipeline.mapping.layout.equality import Equality
from pipeline.mapping.layout.raw_transactions import NO_NOTES, NOTES, build_transactions
from pipeline.mapping.layout.row_kinds import HEADERS, Tables, rows_by_kind
from pipeline.mapping.usage.used_columns import own_columns_of, values_of
from pipeline.mapping.usage.visitor import Scope

_RANK = "__rank"
"""The place of a row's file in the order in which the files were written."""
_IN_FILE = (KEY, SOURCE)
_OLDER: Final = "Another file, written earlier, holds this sale too; the rows of this one count."
_REPEATED: Final = "A file that was written later has this row, equal in every cell; it was counted once."
_UNSETTLED: Final = (
    "Several files hold this sale with different rows, and nothing says whether they correct or continue "
    "each other."
)
_TWO_SALES: Final = (
    f"Several files hold this sale, with times more than {FAR_APART_HOURS} hours apart: these look like two "
    "sales with one number. Add what tells them apart, such as the day, to `key`."
)

AgreesWithTotal = Callable[[MappedTransactions], pl.Series]
"""Gives TX of the transactions whose items and payments agree with their total."""


@dataclass(frozen=True)
class ChosenRows:
    """The rows of a partition that count.

    Attributes:
        tables: These rows.
        left_out: SOURCE and LINE of the other rows.
        notes: `older_version`, `in_several_files` and `duplicate_row`, as `build_transactions` takes them.
        older: KEY and SOURCE of the files whose rows do not count for a sale.
    """

    tables: Tables
    left_out: pl.DataFrame
    notes: pl.DataFrame
    older: pl.DataFrame

    def still_short(self, lost: pl.DataFrame) -> pl.DataFrame:
        """Of notes about rows that could not be read, those that are not about older versions."""
        return _without_files(lost, self.older)


def choose_versions(
    tables: Tables, compiled: CompiledMapping, written: Mapping[int, int], agrees: AgreesWithTotal
) -> ChosenRows:
    """Choose the rows that count for sales in several files.

    Args:
        tables: All rows of each sale, by table.
        compiled: The mapping.
        written: For each SOURCE, its place in the order in which the files were written.
        agrees: Whether a reading of a sale agrees with its total.
    """
    several = {name: rows for name, table in tables.items() if (rows := _in_several_files(table)).height}
    if not several:
        return ChosenRows(
            tables, NO_LOCATIONS, NO_NOTES, pl.DataFrame(schema={KEY: pl.UInt64, SOURCE: pl.UInt32})
        )
    rank = pl.col(SOURCE).replace_strict(dict(written), return_dtype=pl.Int64).alias(_RANK)
    return _Choice(tables, several, compiled, rank, agrees).made()


@dataclass(frozen=True)
class _Choice:
    """The choice for one partition; `several` holds the rows that it is about, by table."""

    tables: Tables
    several: Tables
    compiled: CompiledMapping
    rank: pl.Expr
    agrees: AgreesWithTotal

    @property
    def spec(self) -> MappingSpec:
        return self.compiled.spec

    def made(self) -> ChosenRows:
        """Apply the three rules."""
        older, repeats = {}, {}
        for name, rows in self.several.items():
            older[name], repeats[name] = self._older(name, rows)
        apart = self._far_apart(repeats)
        older = {name: files.filter(~_among(apart)) for name, files in older.items()}
        left = dict(self.tables)
        left |= {name: _without_files(self.tables[name], files) for name, files in older.items()}
        several = {name: _in_several_files(left[name]) for name in self.several}
        keys = pl.concat([rows[KEY] for rows in several.values()]).unique()
        alone, together = self._by_total(left, keys.filter(~keys.is_in(apart.implode())))
        unsettled = keys.filter(~keys.is_in(pl.concat([alone, together]).implode()))
        if self.spec.source.across_files == "latest":
            alone = pl.concat([alone, unsettled])
        if self.spec.source.across_files != "reject":
            unsettled = unsettled.clear()
        for name, rows in several.items():
            older[name] = pl.concat([older[name], self._before_the_last(rows.filter(_among(alone)))])
        return self._without_older(older, unsettled, apart, repeats)

    def _without_older(
        self, older: Tables, unsettled: pl.Series, apart: pl.Series, repeats: Tables
    ) -> ChosenRows:
        kept, left_out = dict(self.tables), [NO_LOCATIONS]
        for name, files in older.items():
            kept[name] = _without_files(self.tables[name], files)
            gone = self.tables[name].join(files, on=_IN_FILE, how="semi", maintain_order="left")
            left_out.append(gone.select(SOURCE, LINE))
        files = pl.concat(older.values())
        replaced = files.filter(~_among(unsettled)).select(KEY).unique()
        notes = [
            _notes(replaced, "older_version", _OLDER),
            _notes(pl.DataFrame(unsettled).remove(_among(apart)), "in_several_files", _UNSETTLED),
            _notes(pl.DataFrame(unsettled).filter(_among(apart)), "in_several_files", _TWO_SALES),
        ]
        if self.spec.source.duplicates == "drop":
            twice = pl.concat(repeats.values()).join(files, on=_IN_FILE, how="semi", maintain_order="left")
            notes.append(_notes(twice, "duplicate_row", _REPEATED))
        return ChosenRows(kept, pl.concat(left_out), pl.concat([NO_NOTES, *notes]), files)

    # ── Rule 1 ──────────────────────────────────────────────────────────────────────────────────────

    def _older(self, name: str, rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        """KEY and SOURCE of older versions, and their rows that a later file has with the same cells."""
        shared = [rows.select(*_IN_FILE, LINE, self.rank, self._cells(rows))]
        if name == HEADERS:  # The key identifies such a row.
            shared.append(rows.select(*_IN_FILE, self.rank, pl.col(KEY).alias("id")))
        shared += self._lines(name, rows)
        is_older = pl.col(_RANK) < pl.col(_RANK).max().over(KEY, "id")
        repeats, *others = (each.filter(is_older) for each in shared)
        older = pl.concat([each.select(_IN_FILE) for each in (repeats, *others)])
        return older.unique(), repeats

    def _lines(self, name: str, rows: pl.DataFrame) -> Iterator[pl.DataFrame]:
        """The lines by what identifies them: their id; for objects inside a row also all of their cells."""
        kinds = rows_by_kind({name: rows}, self.spec)
        if kinds.nested:
            for part in (kinds.items, kinds.payments):
                if part is not None and part.height:
                    yield part.select(*_IN_FILE, self.rank, self._cells(part))
        own_id = self.spec.items.get("external_id")
        if own_id is None or kinds.items is None:
            return
        columns = own_columns_of(self.spec, own_id, Scope.LINE) or frozenset()
        columns = columns.difference(self.spec.source.key_of(name))
        if columns and columns <= {*kinds.items.columns}:
            equal = Equality.of(self.spec)
            ids = [equal.form(column) for column in sorted(columns)]
            known = kinds.items.filter(pl.all_horizontal(each.is_not_null() for each in ids))
            yield known.select(*_IN_FILE, self.rank, known.select(ids).hash_rows().alias("id"))

    def _cells(self, rows: pl.DataFrame) -> pl.Series:
        """All cells of each row as one number."""
        equal = Equality.of(self.spec)
        comparable = [equal.comparable(rows[name]) for name in cells_of(rows)]
        return pl.DataFrame(comparable).hash_rows().alias("id")

    def _far_apart(self, repeats: Tables) -> pl.Series:
        """Keys of sales whose versions differ, and whose times are too far apart for a correction."""
        is_before_the_last = self.rank < self.rank.max().over(KEY)
        changed = [
            rows.filter(is_before_the_last).join(repeats[name], on=[SOURCE, LINE], how="anti")[KEY]
            for name, rows in self.several.items()
        ]
        keys = pl.concat(changed).unique()
        if keys.is_empty():
            return keys
        # Each file's version is mapped as a transaction of its own.
        versions = {
            name: rows.filter(_among(keys)).with_columns(
                pl.struct(_IN_FILE).hash().alias(KEY), pl.col(KEY).alias("__sale")
            )
            for name, rows in self.several.items()
        }
        mapped, sales = self._mapped(versions, "__sale")
        if "transacted_at" not in mapped.headers.columns:
            return keys.clear()
        times = mapped.headers.select("transacted_at").with_columns(sales)
        time = pl.col("transacted_at")
        span = times.group_by("__sale").agg((time.max() - time.min()).alias("span"))
        return span.filter(pl.col("span") > pl.duration(hours=FAR_APART_HOURS))["__sale"].alias(KEY)

    def _mapped(self, tables: Tables, name: str) -> tuple[MappedTransactions, pl.Series]:
        """The rows mapped; and for each transaction the cell `name` of its first row."""
        raw = build_transactions(tables, self.spec)
        cells = pl.concat([rows.select(SOURCE, LINE, name) for rows in tables.values()])
        found = raw.headers.select(SOURCE, LINE).join(
            cells, on=[SOURCE, LINE], how="left", maintain_order="left"
        )
        return self.compiled.apply(raw), found[name]

    # ── Rule 2 ──────────────────────────────────────────────────────────────────────────────────────

    def _by_total(self, tables: Tables, keys: pl.Series) -> tuple[pl.Series, pl.Series]:
        """Keys of sales that agree with their total by the last file only, and by all files together only."""
        parts = values_of(self.spec, self.spec.transaction["total"], Scope.TRANSACTION)
        # A total that is added up from the lines agrees with any reading.
        if keys.is_empty() or any(isinstance(part.value, SumValue | CountValue) for part in parts):
            return keys.clear(), keys.clear()
        every = {name: rows.filter(_among(keys)) for name, rows in tables.items()}
        last = {name: _without_files(rows, self._before_the_last(rows)) for name, rows in every.items()}
        alone, together = self._agreeing(last), self._agreeing(every)
        return (
            alone.filter(~alone.is_in(together.implode())),
            together.filter(~together.is_in(alone.implode())),
        )

    def _agreeing(self, tables: Tables) -> pl.Series:
        """Keys of the sales that agree with their total in this reading."""
        mapped, keys = self._mapped(tables, KEY)
        total = own_columns_of(self.spec, self.spec.transaction["total"], Scope.TRANSACTION) or ()
        about_total = pl.col("field").is_in([*total]) | pl.col("field").is_null()
        disagree = mapped.problems.filter((pl.col("code") == "header_conflict") & about_total)[TX]
        agree = self.agrees(mapped)
        return keys.gather(agree.filter(~agree.is_in(disagree.implode())))

    def _before_the_last(self, rows: pl.DataFrame) -> pl.DataFrame:
        """KEY and SOURCE of each sale's files except the last."""
        files = rows.select(*_IN_FILE, self.rank).unique(_IN_FILE)
        return files.filter(pl.col(_RANK) < pl.col(_RANK).max().over(KEY)).select(_IN_FILE)


def _in_several_files(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows of sales that are in several files."""
    if rows.is_empty() or rows[SOURCE].min() == rows[SOURCE].max():
        return rows.clear()
    files = rows.select(KEY, SOURCE).drop_nulls(KEY).unique()
    keys = files.filter(pl.col(KEY).is_duplicated())[KEY].unique()
    return rows.filter(pl.col(KEY).is_in(keys.implode()))


def _among(keys: pl.Series) -> pl.Expr:
    return pl.col(KEY).is_in(keys.implode()).fill_null(value=False)


def _without_files(rows: pl.DataFrame, files: pl.DataFrame) -> pl.DataFrame:
    """The rows without those of some sales' files."""
    return rows.join(files, on=_IN_FILE, how="anti", maintain_order="left") if files.height else rows


def _notes(rows: pl.DataFrame, code: str, message: str) -> pl.DataFrame:
    """Notes about rows, or about whole sales, which have no SOURCE and LINE."""
    about = {"code": pl.lit(code), "message": pl.lit(message)}
    absent = {name: pl.lit(None, NOTES[name]) for name in (SOURCE, LINE) if name not in rows.columns}
    return rows.with_columns(**about, **absent).select(NOTES.keys())
