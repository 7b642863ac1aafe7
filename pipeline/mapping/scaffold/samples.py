"""What a draft is made from: some rows of each file, by kind of file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import PurePath
from typing import Final

import polars as pl

from pipeline.core.errors import SourceError
from pipeline.core.model import Dialect, Worksheet
from pipeline.core.storage.file_formats import FileFormat
from pipeline.mapping.scaffold.vocabulary.cells import MOSTLY, share, values

_FEW_ROWS: Final = 5
_NULLS: Final = frozenset(
    [
        "error",
        "unknown",
        "n/a",
        "na",
        "#n/a",
        "nan",
        "none",
        "null",
        "(null)",
        "undefined",
        "\\n",
        "-",
        "--",
        "?",
    ]
)
_TOTALS: Final = (
    r"(?i)^(?:grand ?|sub)?(?:totals?|summe|gesamt(?:summe)?|totale|suma|somme|total g[eé]n[eé]ral)\s*:?$"
)


@dataclass(frozen=True)
class Sample:
    """Rows of a file, or of several of one kind.

    Attributes:
        name: The file's name.
        rows: Some or all of its rows, in its order; cells as the readers give them, other columns are not
            looked at.
        format: What it is.
        dialect: How it is written, where it is CSV.
        sure: Whether its encoding is certain.
        others: The names of other files that have these columns or some of them.
        sheet: What is read of it, where it is a workbook.
        nulls: Words in place of numbers and dates that mean an empty cell; they are blank in `rows`.
        guarded: For columns of `rows` that go without what protects their cells from spreadsheets, the names
            that they have in the file. So have those in `days`.
        days: For columns of `rows` that hold days in one form, what is replaced in the file's, and by what.
            As the file has them they are in a column whose name begins with `__`.
        edges: Places in `rows` before which rows are left out; the height of `rows` where the file goes on.
    """

    name: str
    rows: pl.DataFrame
    format: FileFormat = "csv"
    dialect: Dialect = field(default_factory=Dialect)
    sure: bool = True
    others: tuple[str, ...] = ()
    sheet: Worksheet = field(default_factory=Worksheet)
    nulls: tuple[str, ...] = ()
    edges: tuple[int, ...] = ()
    guarded: Mapping[str, str] = field(default_factory=dict)
    days: Mapping[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)

    @property
    def cut(self) -> bool:
        """Whether rows are left out."""
        return bool(self.edges)

    @property
    def at_edges(self) -> list[int]:
        """The rows beside which rows are left out: their sales may lack lines."""
        beside = {place for edge in self.edges for place in (edge - 1, edge)}
        return sorted(place for place in beside if 0 <= place < self.rows.height)

    @property
    def inputs(self) -> list[str]:
        """Globs for the names of all files of this kind."""
        return list(dict.fromkeys(glob_of(name) for name in (self.name, *self.others)))

    @cached_property
    def cells(self) -> pl.DataFrame:
        """The source's own columns."""
        return self.rows.select(name for name in self.rows.columns if not name.startswith("__"))

    def as_stored(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Some of the rows with the names of the file, and with days as the file writes them."""
        days = {f"__{name}": self.guarded[name] for name in self.days}
        others = {name: old for name, old in self.guarded.items() if name not in self.days}
        return rows.drop(self.days).rename({**days, **others})


def glob_of(name: str) -> str:
    """A file name with a glob in place of the date or number in it."""
    return re.sub(r"\d[\d_-]*\d", "[0-9]*", PurePath(name).name)


def kinds_of(samples: Sequence[Sample]) -> tuple[list[Sample], list[str]]:
    """One sample per kind of file, and what a person should know of the files.

    Exports gain columns over time, so fewer columns are the same kind. A file with the rows of another one is
    left out.

    Raises:
        SourceError: No sample has rows.
    """
    kinds: list[Sample] = []
    notes: list[str] = []
    order = {id(sample): place for place, sample in enumerate(samples)}
    seen: list[Sample] = []
    filled = [sample for sample in samples if sample.rows.height]
    for sample in sorted(filled, key=lambda each: (-each.rows.width, each.format == "xlsx", order[id(each)])):
        twin = next((each for each in seen if _is_copy(sample.cells, each.cells)), None)
        if twin is not None:
            notes.append(f"{sample.name} begins as {twin.name} does: is it a copy?")
            continue
        seen.append(sample)
        names = {*sample.cells.columns}
        at = next((at for at, kind in enumerate(kinds) if names <= {*kind.rows.columns}), None)
        if at is None:
            kinds.append(sample)
        else:
            kinds[at] = _joined(kinds[at], sample)
    if not kinds:
        raise SourceError("There are no rows to draft a mapping from.")
    first = {sample.name: place for place, sample in enumerate(samples)}
    return sorted(kinds, key=lambda kind: min(first[name] for name in (kind.name, *kind.others))), notes


def _is_copy(one: pl.DataFrame, other: pl.DataFrame) -> bool:
    """Whether most columns are alike: a copy may write dates and numbers in another way."""
    if one.columns != other.columns or one.height != other.height:
        return False
    alike = sum(one[name].equals(other[name]) for name in one.columns)
    return alike == one.width or (alike * 2 > one.width and one.height > _FEW_ROWS)


def _joined(kind: Sample, sample: Sample) -> Sample:
    """Two samples of one kind as one, since more rows show more."""
    alike = {*kind.rows.dtypes, *sample.rows.dtypes} == {pl.String()}
    rows = pl.concat([kind.rows, sample.rows], how="diagonal") if alike else kind.rows
    nulls = tuple(dict.fromkeys((*kind.nulls, *sample.nulls)))
    edges = (*kind.edges, *(kind.rows.height + edge for edge in sample.edges)) if alike else kind.edges
    return replace(kind, rows=rows, others=(*kind.others, sample.name), nulls=nulls, edges=edges)


def null_words(rows: pl.DataFrame) -> list[str]:
    """Words such as `N/A` that stand in columns which otherwise hold numbers or dates."""
    found: set[str] = set()
    for cells in rows.iter_columns():
        if cells.dtype != pl.String:
            continue
        filled = values(cells)
        words = filled.filter(filled.str.to_lowercase().is_in(_NULLS))
        if (
            0 < words.len() < filled.len() / 2
            and share(filled, r"\d") >= (1 - words.len() / filled.len()) * MOSTLY
        ):
            found |= {*words.unique().to_list()}
    return sorted(found)


def totals_rows(rows: pl.DataFrame) -> tuple[str, list[str]] | None:
    """The column and the words that mark rows of totals, where there are some among the last rows."""
    texts = [name for name, dtype in rows.schema.items() if dtype == pl.String]
    for name in texts[:4]:
        words = rows[name].tail(5).drop_nulls().str.strip_chars()
        found = words.filter(words.str.contains(_TOTALS)).unique().sort().to_list()
        if found and rows[name].head(max(rows.height - 5, 0)).is_in(found).sum() == 0:
            return name, found
    return None
