"""What a draft is made from: the beginning of each file, by kind of file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePath
from typing import Final

import polars as pl

from pipeline.core.errors import SourceError
from pipeline.core.file_formats import FileFormat
from pipeline.core.model import Dialect, Worksheet

_TOTALS: Final = (
    r"(?i)^(?:grand ?|sub)?(?:totals?|summe|gesamt(?:summe)?|totale|suma|somme|total g[eé]n[eé]ral)\s*:?$"
)


@dataclass(frozen=True)
class Sample:
    """The beginning of a file, or of several of one kind.

    Attributes:
        name: The file's name.
        rows: Its first rows; cells as the readers give them, other columns are not looked at.
        format: What it is.
        dialect: How it is written, where it is CSV.
        sure: Whether its encoding is certain.
        others: The names of other files that have these columns or some of them.
        sheet: What is read of it, where it is a workbook.
        cut: Whether the file goes on after these rows.
    """

    name: str
    rows: pl.DataFrame
    format: FileFormat = "csv"
    dialect: Dialect = field(default_factory=Dialect)
    sure: bool = True
    others: tuple[str, ...] = ()
    sheet: Worksheet = field(default_factory=Worksheet)
    cut: bool = False

    @property
    def inputs(self) -> list[str]:
        """Globs for the names of all files of this kind."""
        return list(dict.fromkeys(glob_of(name) for name in (self.name, *self.others)))

    @property
    def cells(self) -> pl.DataFrame:
        """The source's own columns."""
        return self.rows.select(name for name in self.rows.columns if not name.startswith("__"))


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
    for sample in sorted(filled, key=lambda each: (-each.rows.width, order[id(each)])):
        twin = next((each for each in seen if each.cells.equals(sample.cells)), None)
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


def _joined(kind: Sample, sample: Sample) -> Sample:
    """Two samples of one kind as one, since more rows show more."""
    alike = {*kind.rows.dtypes, *sample.rows.dtypes} == {pl.String()}
    rows = pl.concat([kind.rows, sample.rows], how="diagonal") if alike else kind.rows
    return replace(kind, rows=rows, others=(*kind.others, sample.name), cut=kind.cut or sample.cut)


def totals_rows(rows: pl.DataFrame) -> tuple[str, list[str]] | None:
    """The column and the words that mark rows of totals, where there are some among the last rows."""
    texts = [name for name, dtype in rows.schema.items() if dtype == pl.String]
    for name in texts[:4]:
        words = rows[name].tail(5).drop_nulls().str.strip_chars()
        found = words.filter(words.str.contains(_TOTALS)).unique().sort().to_list()
        if found and rows[name].head(max(rows.height - 5, 0)).is_in(found).sum() == 0:
            return name, found
    return None
