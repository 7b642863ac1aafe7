"""Excel workbooks (.xlsx, .xlsm): one sheet, every cell as text."""

from __future__ import annotations

import csv
import io
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NoReturn, cast

import polars as pl

from pipeline.core.errors import SourceError, did_you_mean
from pipeline.core.model import LINE, Dialect, Worksheet
from pipeline.core.text.header_names import usable_names
from pipeline.core.text.wording import agree, count
from pipeline.extract.parquet_reader import as_text
from pipeline.extract.rows import MALFORMED_SCHEMA, NUL_MESSAGE, Batch, lines_with_nul
from pipeline.extract.source_files import SourceFile, open_raw
from pipeline.extract.workbook import (
    BOOK,
    SheetFacts,
    SheetPart,
    column_name,
    extent,
    has_values,
    ranges,
    sheet_facts,
    sheet_parts,
)

if TYPE_CHECKING:
    from python_calamine import CalamineSheet

BATCH_ROWS: Final = 1 << 14
_LARGEST: Final = 50_000_000
"""Cells that a sheet may span. All are held in memory, filled or not, at 32 bytes each and their texts."""
_CELL_BYTES: Final = 90
"""What a cell takes in memory, its text included, as measured with an export of eighteen columns."""
_LOOKED_AT: Final = 200
"""Rows at the beginning of a sheet, to find the header."""
_TITLE_ROWS: Final = 5
"""Rows as wide as a table that a title above it may have."""
_EXCEL_DIGITS: Final = 15
"""Significant digits that Excel keeps of a number; those that a file has beyond them are noise of doubles."""


_DAMAGED: Final = (
    # Raised by damaged archives.
    *(zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError),
    # Raised where a part is missing, or is no XML.
    *(KeyError, ValueError),
)
_OLE: Final = b"\xd0\xcf\x11\xe0"
"""Old Excel files begin so, and new ones with a password."""
_PASSWORD: Final = "EncryptedPackage".encode("utf-16-le")
_OTHER_BOOKS: Final = {"xl/workbook.bin": ".xlsb workbook", "content.xml": "OpenDocument file"}


def is_workbook(stored: io.BufferedReader) -> bool:
    """Whether a file is a workbook of any kind, also of one that `ExcelReader` refuses.

    It may be read from its start afterwards.
    """
    head = stored.peek(4)
    if not head.startswith(b"PK\x03\x04"):
        return head.startswith(_OLE)
    try:
        with zipfile.ZipFile(stored) as archive:
            return not {BOOK, *_OTHER_BOOKS}.isdisjoint(archive.namelist())
    except _DAMAGED:
        return False
    finally:
        stored.seek(0)


class ExcelReader:
    """Reads one sheet of a workbook.

    A cell is the text that it shows without the formatting of numbers: integers without a fraction, fractions
    to 15 digits as Excel keeps them, `TRUE` and `FALSE`, dates and times in ISO 8601 (`2024-01-31`,
    `2024-01-31T13:04:05`, `13:04:05`), durations as `30:15:00`. An integer that a double cannot hold exactly
    (above 10^16) is written as in `1.23E+17`, since it has lost digits. LINE is the sheet's own row number.
    Rows without any text are left out. A row with a formula error is malformed, unless `errors` is `blank`.

    Attributes:
        columns: See `Reader`.
        header: See `Reader`.
        notices: See `Reader`; also about other sheets, hidden rows and merged cells.
        sheet: The name of the sheet.
        header_row: The number of the row with the column names.
        other_sheets: Others that have cells as well and are visible, where the mapping names none.
        held_bytes: About how much memory the sheet takes, which is loaded as a whole.
    """

    def __init__(self, file: SourceFile, wanted: Worksheet, dialect: Dialect) -> None:
        """Load a sheet and read its header.

        Args:
            file: The workbook.
            wanted: What is read of it.
            dialect: How malformed rows are written as CSV.

        Raises:
            SourceError: It cannot be read, is protected by a password, or has no such sheet, header or cells.
        """
        self._name = file.name
        self._wanted = wanted
        self._delimiter, self._quote = dialect.delimiter or ",", dialect.quote or '"'
        self.notices: list[str] = []
        self.other_sheets: list[str] = []
        with open_raw(file) as stored:
            part, self._facts = self._chosen(stored)
            self._sheet: CalamineSheet | None = self._loaded(stored, part)
        self.held_bytes = self._sheet.height * self._sheet.width * _CELL_BYTES
        self.sheet = part.name
        self._first = (self._sheet.start or (0, 0))[0] + 1  # the rows above it have no cells
        self.header_row = wanted.header_row or self._first
        names = self._header()
        self._used = self._columns_used(names)
        self._left = (self._sheet.start or (0, 0))[1] + 1
        self._errors = self._errors_in_columns()
        self.header = [names[n] for n in self._used]
        self._with_time: set[int] = set()
        self.columns, of_names = usable_names(self.header)
        self.notices += [*of_names, *self._about_rows()]

    def _chosen(self, stored: io.BufferedReader) -> tuple[SheetPart, SheetFacts]:
        """The sheet to read, and what its XML says."""
        if stored.peek(4).startswith(_OLE):
            self._refuse_old(stored)
        try:
            with zipfile.ZipFile(stored) as archive:
                for name in _OTHER_BOOKS.keys() & {*archive.namelist()}:
                    raise self._other(f"an {_OTHER_BOOKS[name]}")
                sheets = sheet_parts(archive)
                part = self._named(sheets) if self._wanted.sheet else self._first_filled(sheets, archive)
                facts = sheet_facts(archive, part.part)
                if facts.rows * facts.columns > _LARGEST:
                    self._refuse_stray(part, *extent(archive, part.part))
        except _DAMAGED as error:
            raise SourceError(
                f"{self._name} cannot be read as an Excel workbook: {error}",
                hint="It may be cut short or damaged; copy it again, or save it again in Excel.",
            ) from error
        return part, facts

    def _refuse_old(self, stored: io.BufferedReader) -> NoReturn:
        if _PASSWORD in stored.read():
            raise SourceError(
                f"{self._name} is protected by a password",
                hint="Open it in Excel, take the password out (File, Info, Protect Workbook), and save it.",
            )
        raise self._other("an old Excel file (.xls)")

    def _other(self, kind: str) -> SourceError:
        return SourceError(f"{self._name} is {kind}", hint="Save it as .xlsx or as CSV, and name that file.")

    def _named(self, sheets: Sequence[SheetPart]) -> SheetPart:
        wanted = self._wanted.sheet or ""
        found = next((sheet for sheet in sheets if sheet.name == wanted), None)
        if found is None:
            names = [sheet.name for sheet in sheets]
            raise SourceError(
                f"{self._name} has no sheet '{wanted}'{did_you_mean(wanted, names)}",
                hint=f"Its sheets are: {', '.join(names)}. The mapping has it at `source.excel.sheet`.",
            )
        return found

    def _first_filled(self, sheets: Sequence[SheetPart], archive: zipfile.ZipFile) -> SheetPart:
        filled = [
            sheet for sheet in sheets if sheet.part in archive.namelist() and has_values(archive, sheet.part)
        ]
        found = next((sheet for sheet in filled if sheet.visible), None)
        if found is None:
            hidden = f"; hidden sheets have: {', '.join(sheet.name for sheet in filled)}" if filled else ""
            raise SourceError(
                f"{self._name} has no visible sheet with cells{hidden}",
                hint="Name a hidden one with `source: {excel: {sheet: …}}` in the mapping." if filled else "",
            )
        others = [s.name + ("" if s.visible else " (hidden)") for s in filled if s is not found]
        self.other_sheets = [sheet.name for sheet in filled if sheet is not found and sheet.visible]
        if others:
            self.notices.append(
                f"the sheet '{found.name}' is read, and these are not: {', '.join(others)}"
                f" (`source: {{excel: {{sheet: {found.name}}}}}` in the mapping chooses one)"
            )
        return found

    def _refuse_stray(self, part: SheetPart, rows: int, columns: int) -> None:
        if rows * columns > _LARGEST:
            raise SourceError(
                f"{self._name}: the cells of the sheet '{part.name}' span A1:{column_name(columns)}{rows},"
                f" {count(rows * columns, 'cell')}, and at most {_LARGEST:,} fit into memory",
                hint="Delete stray cells at its right and lower end (Ctrl+End shows it), or save it as CSV.",
            )

    def _loaded(self, stored: io.BufferedReader, part: SheetPart) -> CalamineSheet:
        try:
            from python_calamine import CalamineError, CalamineWorkbook
        except ImportError as error:
            raise SourceError(
                f"{self._name} is an Excel workbook, and the package that reads those is not installed",
                hint="Install the extra: pip install 'omneo-import[excel]'.",
            ) from error
        stored.seek(0)
        try:
            with CalamineWorkbook.from_filelike(stored) as workbook:
                return workbook.get_sheet_by_name(part.name)
        except (CalamineError, OSError, ValueError) as error:
            raise SourceError(
                f"{self._name}: the sheet '{part.name}' cannot be read: {error}",
                hint="Save the workbook again in Excel, or save the sheet as CSV.",
            ) from error

    def likely(self) -> Worksheet:
        """What a mapping should read of this workbook: a title may stand above the names of columns.

        These are in the first row that fills more than half of the cells that any row of the beginning does;
        or below it where that has a number or date in it, as titles have, and a row of names follows.
        """
        top = next(self._chunks(self._first, _LOOKED_AT), [])
        filled = [sum(cell != "" for cell in row) for row in top]
        header = next((n for n, number in enumerate(filled) if 2 * number > max(filled)), 0)
        below = range(header, min(header + _TITLE_ROWS, len(top)))
        header = next((n for n in below if filled[n] >= filled[header] and _are_names(top[n])), header)
        return replace(
            self._wanted,
            sheet=self._wanted.sheet or (self.sheet if self.other_sheets else None),
            header_row=self._first + header if header else None,
        )

    def _header(self) -> list[str]:
        row = next(self._chunks(self.header_row, 1), [])
        names = ["".join(_texts(cell).fill_null("")) for cell in zip(*row, strict=True)]
        if not any(names):
            raise SourceError(
                f"{self._name}: the sheet '{self.sheet}' has no column names in row {self.header_row}",
                hint="Set `source: {excel: {header_row: …}}` in the mapping to the row that has them.",
            )
        return names

    def _columns_used(self, names: Sequence[str]) -> list[int]:
        """The columns that have a name or, below it, any cell."""
        unnamed = {n for n, name in enumerate(names) if not name}
        filled: set[int] = set()
        for chunk in self._chunks(self.header_row + 1, BATCH_ROWS) if unnamed else ():
            columns = list(zip(*chunk, strict=True))
            filled |= {n for n in unnamed - filled if any(cell != "" for cell in columns[n])}
        return [n for n in range(len(names)) if n not in unnamed - filled]

    def _errors_in_columns(self) -> dict[int, dict[int, str]]:
        """The formula errors of rows that they make malformed."""
        used = {self._left + n for n in self._used if self._wanted.errors == "reject"}
        found = {
            row: {column: error for column, error in errors.items() if column in used}
            for row, errors in self._facts.errors.items()
        }
        return {row: errors for row, errors in found.items() if errors}

    def _about_rows(self) -> Iterator[str]:
        if not self._facts.computed:
            yield (
                f"the sheet '{self.sheet}' has formulas that were not computed, which may show as blank or 0:"
                " open the workbook in Excel, save it, and import that"
            )
        hidden = [row for row in self._facts.hidden if row > self.header_row]
        if hidden:
            yield (
                f"the sheet '{self.sheet}' has {count(len(hidden), 'hidden row')} ({ranges(hidden)}),"
                f" which {agree(len(hidden), 'is')} read like the others"
            )
        for column, shown in self._facts.zeros.items():
            if column - self._left in self._used:
                name = self.columns[self._used.index(column - self._left)]
                yield (
                    f"Excel shows `{name}` with leading zeros ({shown}), which the file does not have:"
                    f" `{{column: {name}, then: [{{pad: {{width: {len(shown)}}}}}]}}` adds them"
                )
        merged = [(rows, area) for rows, area in self._facts.merged if rows > self.header_row]
        if merged:
            areas = ", ".join([area for _, area in merged[:5]] + ["…"] * (len(merged) > 5))
            yield (
                f"the sheet '{self.sheet}' has merged cells ({areas}): the value is that of the first cell,"
                " the others are blank; unmerge them, or see `carry_key` and `layout: first_row`"
            )

    def _chunks(self, row: int, size: int) -> Iterator[list[list[Any]]]:
        """The cells from a row of the sheet on, so many rows at a time."""
        # The library begins with the sheet's first row, and with the first column that has cells.
        rows = islice(self._sheet.iter_rows() if self._sheet else (), row - 1, None)
        while chunk := list(islice(rows, size)):
            yield cast("list[list[Any]]", chunk)

    def cells(self, raw: str) -> list[str]:
        """The cells of a row with formula errors."""
        return next(csv.reader(io.StringIO(raw), delimiter=self._delimiter, quotechar=self._quote), [])

    @property
    def fingerprint(self) -> None:
        """See `Reader`: not all of its bytes are read."""

    def close(self) -> None:
        """Give back the memory that the sheet takes."""
        self._sheet = None

    def batches(self) -> Iterator[Batch]:
        """Yield the rows in order; call it once."""
        first = self.header_row + 1
        for chunk in self._chunks(first, BATCH_ROWS):
            columns = list(zip(*chunk, strict=True))
            texts = [
                self._texts(n, columns[n]).alias(name)
                for n, name in zip(self._used, self.columns, strict=True)
            ]
            rows = pl.DataFrame(texts).with_columns(
                pl.int_range(first, first + len(chunk), dtype=pl.Int64).alias(LINE)
            )
            yield self._batch(rows)
            first += len(chunk)
        self.close()

    def _texts(self, column: int, cells: Sequence[Any]) -> pl.Series:
        """Cells as text. Midnight has its time, too, once another cell of the column has one."""
        if datetime in map(type, cells):
            self._with_time.add(column)
        if column in self._with_time:
            cells = [datetime.combine(cell, time()) if type(cell) is date else cell for cell in cells]
        return _texts(cells)

    def _batch(self, rows: pl.DataFrame) -> Batch:
        is_blank = pl.all_horizontal(pl.col(self.columns).is_null())
        with_nul = lines_with_nul(rows)
        if not self._errors and with_nul.is_empty():
            return Batch(rows.remove(is_blank))
        bad = pl.col(LINE).is_in([*self._errors, *with_nul])
        malformed = [
            (row, self._as_csv(cells, self._errors.get(row, {})), self._why_malformed(row))
            for *cells, row in rows.filter(bad).rows()
        ]
        return Batch(rows.remove(is_blank | bad), pl.DataFrame(malformed, MALFORMED_SCHEMA, orient="row"))

    def _why_malformed(self, row: int) -> str:
        if row not in self._errors:
            return NUL_MESSAGE
        cells = ", ".join(f"{column_name(n)}{row} ({error})" for n, error in self._errors[row].items())
        return (
            f"formula error in {cells}: correct the formula, or read such cells as empty with"
            " `source: {excel: {errors: blank}}`"
        )

    def _as_csv(self, cells: Sequence[str | None], errors: Mapping[int, str]) -> str:
        """A row as CSV, in which a formula error stands as Excel shows it."""
        shown = [errors.get(self._used[n] + self._left, cell) for n, cell in enumerate(cells)]
        text = io.StringIO()
        csv.writer(text, delimiter=self._delimiter, quotechar=self._quote, lineterminator="").writerow(shown)
        return text.getvalue()


def _are_names(row: Sequence[Any]) -> bool:
    """Whether all cells of a row that are filled could name columns: texts that begin with no digit."""
    return all(cell == "" or (isinstance(cell, str) and not cell.strip()[:1].isdigit()) for cell in row)


def _texts(cells: Sequence[Any]) -> pl.Series:
    """A column's cells as text; a blank cell is null."""
    columns, texts = [], []
    # Cells of a column may have several types: each type is written on its own, then all are joined.
    for kind in {*map(type, cells)}:
        dtype, form = _FORMS[kind]
        of_kind = [cell if type(cell) is kind else None for cell in cells]
        columns.append(pl.Series(kind.__name__, of_kind, dtype))
        texts.append(form(pl.col(kind.__name__), dtype))
    return pl.DataFrame(columns).select(pl.coalesce(texts)).to_series()


def _number(value: pl.Expr, _kind: pl.DataType) -> pl.Expr:
    exact = pl.when(value == value.floor()).then(value).otherwise(value.round_sig_figs(_EXCEL_DIGITS))
    return as_text(exact, pl.Float64()).str.replace(r"^(-?\d+)\.0$", "$1").replace("-0", "0")


def _text(value: pl.Expr, _kind: pl.DataType) -> pl.Expr:
    return pl.when(value != "").then(value)


def _truth(value: pl.Expr, _kind: pl.DataType) -> pl.Expr:
    return value.cast(pl.String).str.to_uppercase()


def _duration(value: pl.Expr, _kind: pl.DataType) -> pl.Expr:
    """Hours, minutes and seconds, as Excel's `[h]:mm:ss` shows them."""
    seconds = value.abs().dt.total_seconds()
    parts = [(seconds // 3600), (seconds // 60) % 60, seconds % 60]
    sign = pl.when(value < 0).then(pl.lit("-")).otherwise(pl.lit(""))
    return pl.format("{}{}:{}:{}", sign, *(part.cast(pl.String).str.zfill(2) for part in parts))


_FORMS: Final[dict[type, tuple[pl.DataType, Callable[[pl.Expr, pl.DataType], pl.Expr]]]] = {
    str: (pl.String(), _text),
    float: (pl.Float64(), _number),
    int: (pl.Float64(), _number),
    bool: (pl.Boolean(), _truth),
    date: (pl.Date(), as_text),
    datetime: (pl.Datetime("us"), as_text),
    time: (pl.Time(), as_text),
    timedelta: (pl.Duration("us"), _duration),
}
"""Of each type that the library gives: the type of a column, and how its values are written."""
