"""Reads the look-up tables of a mapping."""

from __future__ import annotations

import io
import re
from codecs import BOM_UTF8
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

import polars as pl

from pipeline.core.errors import SourceError, did_you_mean
from pipeline.core.model import Dialect
from pipeline.core.storage.compression import compression_of, unpacked
from pipeline.core.storage.file_formats import JSON_LINES, PARQUET, PARQUET_BEGINS, WORKBOOKS, matches
from pipeline.core.storage.file_systems import REMOTE, file_system, store_errors
from pipeline.core.text.header_names import usable_names
from pipeline.mapping.functions.cell_cleaning import trimmed
from pipeline.mapping.language.mapping_errors import FormulaError
from pipeline.mapping.language.source_map import Issue
from pipeline.mapping.language.source_spec import LookupTable
from pipeline.mapping.language.spec import MappingSpec

SEPARATOR = "\x1f"
"""Separates the cells of a key of several columns: ASCII's unit separator, which is in no cell."""


@dataclass(frozen=True)
class LookupRows:
    """The rows of a look-up table.

    Attributes:
        keys: The key of each row, its cells joined by `SEPARATOR`; unique, never null.
        values: All columns as trimmed texts, blank ones null; as many rows.
    """

    keys: pl.Series
    values: pl.DataFrame

    def column(self, name: str) -> pl.Series:
        """A column of the table.

        Raises:
            FormulaError: There is no such column.
        """
        if name not in self.values.columns:
            there = ", ".join(self.values.columns)
            near = did_you_mean(name, self.values.columns) or f"; there are {there}"
            raise FormulaError(f"the look-up table has no column '{name}'{near}")
        return self.values[name]


class _UnknownRows(LookupRows):
    """The rows of a table whose file is not known yet."""

    def column(self, name: str) -> pl.Series:
        """An empty column, since the table may have it."""
        return pl.Series(name, [], dtype=pl.String)


def load_tables(
    spec: MappingSpec,
    directory: Path,
    sources: Sequence[str] | None = (),
    given: Mapping[str, pl.DataFrame] | None = None,
) -> tuple[Mapping[str, LookupRows], list[Issue]]:
    """Read all look-up tables of a mapping.

    Args:
        spec: The mapping.
        directory: The mapping's own directory; no table outside of it is read.
        sources: The files given on the command line, for tables `from: source`; None where they are not
            known yet: such a table has any column, and no rows.
        given: Rows of such tables by name, all cells as texts, where they are known without a file.

    Returns:
        The tables by name, and what is wrong with the others.
    """
    tables: dict[str, LookupRows] = {}
    issues = []
    for name, entry in spec.lookups.items():
        try:
            if given and name in given:
                tables[name] = _keyed(given[name], entry)
            elif entry.from_ == "source" and sources is None:
                tables[name] = _UnknownRows(pl.Series([], dtype=pl.String), pl.DataFrame())
            else:
                tables[name] = _table(entry, directory, sources or ())
        except FormulaError as error:
            issues.append(Issue(("lookups", name, *error.inside), str(error)))
    return tables, issues


def _table(entry: LookupTable, directory: Path, sources: Sequence[str]) -> LookupRows:
    paths = [_own_file(entry, directory)] if entry.from_ == "mapping" else _matching(entry, sources)
    return _keyed(pl.concat([_rows(path, entry) for path in paths], how="diagonal"), entry)


def _keyed(rows: pl.DataFrame, entry: LookupTable) -> LookupRows:
    for name in entry.key:
        if name not in rows.columns:
            near = did_you_mean(name, rows.columns) or f"; there are {', '.join(rows.columns)}"
            raise FormulaError(f"{entry.file} has no column '{name}'{near}")
    rows = (
        rows.select(trimmed(pl.col(name), ()) for name in rows.columns)
        .drop_nulls(entry.key)
        # A row that is repeated as a whole is harmless; rows of one key that differ are an error.
        .unique(maintain_order=True)
    )
    keys = rows.select(pl.concat_str(entry.key, separator=SEPARATOR)).to_series()
    repeated = keys.filter(keys.is_duplicated())
    if repeated.len():
        shown = str(repeated[0]).replace(SEPARATOR, ", ")
        raise FormulaError(
            f"{entry.file} has the key '{shown}' on several rows that differ; one row a key was expected"
        )
    return LookupRows(keys, rows)


def _own_file(entry: LookupTable, directory: Path) -> str:
    """The file under the mapping's directory; symbolic links are resolved before that is checked."""
    root = directory.resolve()
    path = (root / entry.file).resolve()
    if not path.is_relative_to(root):
        raise FormulaError(
            f"'{entry.file}' is not under the mapping's own directory; put the table beside it",
            inside=("file",),
        )
    if not path.is_file():
        near = did_you_mean(entry.file, [beside.name for beside in root.glob("*.*")])
        raise FormulaError(f"there is no file '{entry.file}' beside the mapping{near}", inside=("file",))
    return str(path)


def _matching(entry: LookupTable, sources: Sequence[str]) -> list[str]:
    found = [path for path in sources if matches(PurePosixPath(path.replace("\\", "/")).name, entry.file)]
    if not found:
        raise FormulaError(f"no source file is called {entry.file}; give it on the command line as well")
    return found


def _rows(path: str, entry: LookupTable) -> pl.DataFrame:
    """All cells of a file as texts."""
    try:
        content = _unpacked(path, _read(path))
        if kind := _other_kind(path, content):
            raise FormulaError(f"{path} is {kind}, and look-up tables are CSV or Parquet; save it as CSV")
        if content.startswith(PARQUET_BEGINS):
            rows = pl.read_parquet(content).select(pl.all().cast(pl.String))
        else:
            rows = _csv(content, entry)
    except (OSError, EOFError, UnicodeDecodeError, pl.exceptions.PolarsError) as error:
        raise FormulaError(f"{path} cannot be read: {str(error).splitlines()[0]}") from None
    rows.columns = usable_names(rows.columns)[0]
    return rows


def _read(path: str) -> bytes:
    if REMOTE not in path:
        return Path(path).read_bytes()
    filesystem, key = file_system(path, SourceError)
    with store_errors(path, "read"):
        return bytes(filesystem.cat_file(key))


def _unpacked(path: str, content: bytes) -> bytes:
    """The bytes of a file that may be compressed; an archive or a workbook stays as it is."""
    compression = compression_of(content)
    if compression is None or compression == "zip":
        return content
    with unpacked(io.BufferedReader(io.BytesIO(content)), compression, path) as file:
        return file.read()


def _other_kind(path: str, content: bytes) -> str:
    """What a file is that is no look-up table, by its name or its first bytes; empty where it may be one."""
    suffixes = PurePosixPath(path.lower()).suffixes[-2:]
    start = content[:_LOOKED_AT].removeprefix(BOM_UTF8).lstrip()
    if not {".json", *JSON_LINES}.isdisjoint(suffixes) or re.match(rb"\{|\[\s*[{\[]", start):
        return "JSON"
    if not {*WORKBOOKS, *_OTHER_WORKBOOKS}.isdisjoint(suffixes) or start.startswith(b"\xd0\xcf\x11\xe0"):
        return "an Excel workbook"
    if start.startswith(b"PK\x03\x04"):
        return "a zip archive or a workbook"
    if path.lower().endswith(PARQUET) and not content.startswith(PARQUET_BEGINS):
        return "no Parquet file, though its name says so"
    return ""


def _csv(content: bytes, entry: LookupTable) -> pl.DataFrame:
    dialect = entry.csv
    names = dialect.header if isinstance(dialect.header, tuple) else None
    if not _is_utf8(dialect.encoding):
        content = content.decode(dialect.encoding).encode()
    rows = pl.read_csv(
        content,
        separator=dialect.delimiter or _delimiter(content, dialect),
        quote_char=dialect.quote,
        comment_prefix=dialect.comment,
        skip_lines=dialect.skip_lines,
        has_header=dialect.header is True,
        infer_schema=False,
    )
    if names is not None:
        rows = rows.rename(dict(zip(rows.columns, names, strict=False)))
    return rows


def _is_utf8(encoding: str) -> bool:
    return encoding.lower().replace("-", "").replace("_", "") in ("utf8", "utf8sig", "ascii")


def _delimiter(content: bytes, dialect: Dialect) -> str:
    """The most frequent of the usual delimiters in the first line."""
    head = pl.read_csv(
        content,
        separator=_NEVER,
        quote_char=None,
        skip_lines=dialect.skip_lines,
        has_header=False,
        n_rows=1,
        infer_schema=False,
    )
    line = str(head.item()) if head.height else ""
    return max(",;\t|", key=line.count)


_NEVER = "\x1f"
"""A delimiter that no text contains, so that each line is one cell."""
_OTHER_WORKBOOKS: Final = (".xls", ".xlsb", ".ods")
_LOOKED_AT: Final = 64
