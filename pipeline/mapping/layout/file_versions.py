"""One sale in several files of a run: which of its rows count.

Exports overlap, are copied, correct each other, or cut a sale in two. For a sale whose rows stand in several
files of one table, in the order in which these were written:

1. A file that shares a line with a later one (the same line id, or the same cells), or of which a later one
   holds all rows, is an older version: its rows do not count. That is not so where the sale's times in the
   two are more than twelve hours apart: these are two sales with one number.
2. Where several files are left, the mapping takes the total from the source, and exactly one reading agrees
   with it (the last file alone, or all of them together), that one counts.
3. Else the mapping says what is done (`across_files`); by default such a sale is rejected.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import polars as pl

from pipeline.core.model import KEY, LINE, SOURCE, TX
from pipeline.mapping.compile.compiler import FAR_APART_HOURS, CompiledMapping, Mapped
from pipeline.mapping.language.spec import CountValue, MappingSpec, SumValue, Value
from pipeline.mapping.layout.equality import Equality
from pipeline.mapping.layout.raw_transactions import (
    HEADERS,
    NO_NOTES,
    NOTES,
    Tables,
    cells_of,
    key_columns,
    parts_of,
    shape,
)
from pipeline.mapping.usage.used_columns import own_columns_of, values_of
from pipeline.mapping.usage.visitor import Scope

_RANK = "__rank"
_IN_FILE = (KEY, SOURCE)

Agrees = Callable[[Mapped], pl.Series]
"""Gives TX of the transactions whose items and payments agree with their total."""


@dataclass(frozen=True)
class Chosen:
    """Which rows of a partition count.

    Attributes:
        tables: The rows that count.
        left_out: SOURCE and LINE of the others.
        notes: `older_version` and `in_several_files`, as `shape` takes them.
        older: KEY and SOURCE of the sales' files whose rows do not count.
    """

    tables: Tables
    left_out: pl.DataFrame
    notes: pl.DataFrame
    older: pl.DataFrame

    def still_short(self, lost: pl.DataFrame) -> pl.DataFrame:
        """Of notes about rows that could not be read, those that are not about older versions."""
        return _less(lost, self.older)


def choose_versions(
    tables: Tables, compiled: CompiledMapping, written: Mapping[int, int], agrees: Agrees
) -> Chosen:
    """Choose the rows that count of sales that stand in several files.

    Args:
        tables: All rows of each sale, by table.
        compiled: The mapping.
        written: The place of each file, by SOURCE, in the order in which they were written.
        agrees: Whether a reading of a sale agrees with its total.
    """
    several = {name: rows for name, table in tables.items() if (rows := _in_several(table)).height}
    if not several:
        return Chosen(tables, _PLACES, NO_NOTES, pl.DataFrame(schema={KEY: pl.UInt64, SOURCE: pl.UInt32}))
    return _Choice(tables, several, compiled, written, agrees).made()


_PLACES: Final = pl.DataFrame(schema={SOURCE: pl.UInt32, LINE: pl.Int64})


def _in_several(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows of sales that stand in several files."""
    if rows.is_empty() or rows[SOURCE].min() == rows[SOURCE].max():
        return rows.clear()
    files = rows.select(KEY, SOURCE).drop_nulls(KEY).unique()
    keys = files.filter(pl.col(KEY).is_duplicated())[KEY].unique()
    return rows.filter(pl.col(KEY).is_in(keys.implode()))


class _Choice:
    """The choice for one partition; `several` has the rows that it is about, by table."""

    def __init__(
        self,
        tables: Tables,
        several: Tables,
        compiled: CompiledMapping,
        written: Mapping[int, int],
        agrees: Agrees,
    ) -> None:
        self._tables = tables
        self._several = several
        self._compiled = compiled
        self._spec = compiled.spec
        self._rank = pl.col(SOURCE).replace_strict(dict(written), return_dtype=pl.Int64).alias(_RANK)
        self._agrees = agrees
        self._equal = Equality.of(self._spec)

    def made(self) -> Chosen:
        """Go through the three rules."""
        found = {name: self._older(name, rows) for name, rows in self._several.items()}
        repeats = {name: rows for name, (_, rows) in found.items()}
        older = {name: files for name, (files, _) in found.items()}
        apart = self._far_apart(older, repeats)
        older = {name: files.filter(~_among(apart)) for name, files in older.items()}
        left = dict(self._tables) | {name: _less(self._tables[name], files) for name, files in older.items()}
        several = {name: _in_several(left[name]) for name in self._several}
        keys = pl.concat([rows[KEY] for rows in several.values()]).unique()
        alone, together = self._by_total(left, keys.filter(~keys.is_in(apart.implode())))
        unsettled = keys.filter(~keys.is_in(pl.concat([alone, together]).implode()))
        match self._spec.source.across_files:
            case "latest":
                alone, unsettled = pl.concat([alone, unsettled]), unsettled.clear()
            case "add":
                unsettled = unsettled.clear()
            case _:
                pass
        for name, rows in several.items():
            older[name] = pl.concat([older[name], self._before_the_last(rows.filter(_among(alone)))])
        return self._without(older, unsettled, repeats)

    def _without(self, older: Tables, unsettled: pl.Series, repeats: Tables) -> Chosen:
        kept, out = dict(self._tables), [_PLACES]
        for name, files in older.items():
            kept[name] = _less(self._tables[name], files)
            gone = self._tables[name].join(files, on=_IN_FILE, how="semi", maintain_order="left")
            out.append(gone.select(SOURCE, LINE))
        files = pl.concat(older.values())
        replaced = files.filter(~_among(unsettled)).select(KEY).unique()
        notes = [_notes(replaced, "older_version", _OLDER), _notes(pl.DataFrame(unsettled), _UNSETTLED, _WHY)]
        if self._spec.source.duplicates == "drop":
            twice = pl.concat(repeats.values()).join(files, on=_IN_FILE, how="semi", maintain_order="left")
            notes.append(_notes(twice, "duplicate_row", _TWICE))
        return Chosen(kept, pl.concat(out), pl.concat([NO_NOTES, *notes]), files)

    # ── Rule 1 ──────────────────────────────────────────────────────────────────────────────────────

    def _older(self, name: str, rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        """The older versions by KEY and SOURCE, and their rows that a later file has with the same cells."""
        cells = self._cells(rows)
        shared = [rows.select(*_IN_FILE, LINE, self._rank, cells)]
        if name == HEADERS:  # its key is the id of such a row
            shared.append(rows.select(*_IN_FILE, self._rank, pl.col(KEY).alias("id")))
        shared += self._lines(name, rows)
        repeats, *others = (
            each.filter(pl.col(_RANK) < pl.col(_RANK).max().over(KEY, "id")) for each in shared
        )
        older = pl.concat([each.select(_IN_FILE) for each in (repeats, *others)])
        return older.unique(maintain_order=True), repeats

    def _lines(self, name: str, rows: pl.DataFrame) -> Iterator[pl.DataFrame]:
        """The lines by what tells them from others: their id; inside of lists, also all of their cells."""
        parts = parts_of({name: rows}, self._spec)
        if parts.nested:
            for part in (parts.items, parts.payments):
                if part is not None and part.height:
                    yield part.select(*_IN_FILE, self._rank, self._cells(part))
        names = _line_id(self._spec, name)
        if names and parts.items is not None and names <= {*parts.items.columns}:
            ids = [self._equal.form(column) for column in sorted(names)]
            known = parts.items.filter(pl.all_horizontal(each.is_not_null() for each in ids))
            yield known.select(*_IN_FILE, self._rank, known.select(ids).hash_rows().alias("id"))

    def _cells(self, rows: pl.DataFrame) -> pl.Series:
        """All cells of each row as one number."""
        comparable = [self._equal.comparable(rows[name]) for name in cells_of(rows)]
        return pl.DataFrame(comparable).hash_rows().alias("id")

    def _far_apart(self, older: Tables, repeats: Tables) -> pl.Series:
        """Keys of which the versions differ, and are of times that no correction puts so far apart."""
        changed = [
            self._several[name]
            .join(files, on=_IN_FILE, how="semi")
            .join(repeats[name], on=[SOURCE, LINE], how="anti")[KEY]
            for name, files in older.items()
        ]
        keys = pl.concat(changed).unique()
        if keys.is_empty():
            return keys
        # Every file's version as a transaction of its own.
        versions = {
            name: rows.filter(_among(keys)).with_columns(
                pl.struct(_IN_FILE).hash(seed=0).alias(KEY), pl.col(KEY).alias("__sale")
            )
            for name, rows in self._several.items()
        }
        mapped, sales = self._mapped(versions, "__sale")
        if "transacted_at" not in mapped.headers.columns:
            return keys.clear()
        times = mapped.headers.select("transacted_at").with_columns(sales)
        span = times.group_by("__sale").agg(
            (pl.col("transacted_at").max() - pl.col("transacted_at").min()).alias("span")
        )
        return span.filter(pl.col("span") > pl.duration(hours=FAR_APART_HOURS))["__sale"].alias(KEY)

    def _mapped(self, tables: Tables, name: str) -> tuple[Mapped, pl.Series]:
        """Map rows; and for each transaction the cell `name` of its first row."""
        shaped = shape(tables, self._spec)
        places = pl.concat([rows.select(SOURCE, LINE, name) for rows in tables.values()])
        found = shaped.headers.select(SOURCE, LINE).join(
            places, on=[SOURCE, LINE], how="left", maintain_order="left"
        )
        return self._compiled.apply(shaped), found[name]

    # ── Rule 2 ──────────────────────────────────────────────────────────────────────────────────────

    def _by_total(self, tables: Tables, keys: pl.Series) -> tuple[pl.Series, pl.Series]:
        """Keys of sales whose total only the last file gives, and of those where only all together do."""
        if keys.is_empty() or not _total_is_given(self._spec):
            return keys.clear(), keys.clear()
        every = {name: rows.filter(_among(keys)) for name, rows in tables.items()}
        last = {name: _less(rows, self._before_the_last(rows)) for name, rows in every.items()}
        alone, together = self._agreeing(last), self._agreeing(every)
        return (
            alone.filter(~alone.is_in(together.implode())),
            together.filter(~together.is_in(alone.implode())),
        )

    def _agreeing(self, tables: Tables) -> pl.Series:
        """Keys of the sales that agree with their total in this reading."""
        mapped, keys = self._mapped(tables, KEY)
        total = own_columns_of(self._spec, self._spec.transaction["total"], Scope.TRANSACTION) or frozenset()
        problems = mapped.problems
        disagree = problems.filter(
            (pl.col("code") == "header_conflict")
            & (pl.col("field").is_in([*total]) | pl.col("field").is_null())
        )[TX]
        agree = self._agrees(mapped)
        return keys.gather(agree.filter(~agree.is_in(disagree.implode())))

    def _before_the_last(self, rows: pl.DataFrame) -> pl.DataFrame:
        """KEY and SOURCE of the files of each sale but for the last."""
        files = rows.select(*_IN_FILE, self._rank).unique(_IN_FILE, maintain_order=True)
        return files.filter(pl.col(_RANK) < pl.col(_RANK).max().over(KEY)).select(_IN_FILE)


def _among(keys: pl.Series) -> pl.Expr:
    return pl.col(KEY).is_in(keys.implode()).fill_null(value=False)


def _less(rows: pl.DataFrame, files: pl.DataFrame) -> pl.DataFrame:
    """The rows without those of some sales' files."""
    return rows.join(files, on=_IN_FILE, how="anti", maintain_order="left") if files.height else rows


_OLDER: Final = "Another file, written earlier, holds this sale too; the rows of this one count."
_TWICE: Final = "A file that was written later has this row, alike in every cell; it was counted once."
_UNSETTLED: Final = "in_several_files"
_WHY: Final = (
    "Several files hold this sale with different rows, and nothing says whether they correct or continue "
    "each other."
)


def _notes(rows: pl.DataFrame, code: str, message: str) -> pl.DataFrame:
    """Notes about rows, or about whole sales, which have no SOURCE and LINE."""
    about = {"code": pl.lit(code), "message": pl.lit(message)}
    absent = {name: pl.lit(None, NOTES[name]) for name in (SOURCE, LINE) if name not in rows.columns}
    return rows.with_columns(**about, **absent).select(NOTES.keys())


def _line_id(spec: MappingSpec, table: str) -> frozenset[str]:
    """The columns of a line that tell it from the others of its sale; empty where only its place does."""
    own: Value | None = spec.items.get("external_id") if spec.items else None
    if own is None:
        return frozenset()
    return (own_columns_of(spec, own, Scope.LINE) or frozenset()).difference(key_columns(spec, table))


def _total_is_given(spec: MappingSpec) -> bool:
    """Whether the total comes from the source, and is not added up from the lines."""
    sites = values_of(spec, spec.transaction["total"], Scope.TRANSACTION)
    return not any(isinstance(site.value, SumValue | CountValue) for site in sites)
