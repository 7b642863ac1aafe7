"""JSON lines: one object a line, every member as text, members that are objects or lists as JSON text."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import polars as pl

from pipeline.core.long_numbers import quote_long_numbers
from pipeline.core.model import LINE
from pipeline.core.text.header_names import usable_names
from pipeline.extract.decoding import Utf8Blocks
from pipeline.extract.framing import LF, Positions
from pipeline.extract.rows import MALFORMED_SCHEMA, NUL_MESSAGE, Batch, lines_with_nul
from pipeline.extract.source_files import SourceFile, SourceStream, open_text
from pipeline.extract.text_ranges import FILE_START, RecordStart

BLOCK_BYTES: Final = 4 << 20


class JsonLinesReader:
    """Reads one file of JSON objects, one a line.

    The columns are the members of any object in the file, in the order they first appear; unless they are
    given, the file is read once more to know them. A number is written as short as possible without losing
    value (`1.50` becomes `1.5`); one with a fraction is rounded to 17 digits, and one from 2**53 on that is
    no plain integer has an exponent, as in `1.5E+18`. A line that is not an object is malformed, and so is
    one with a NUL character or half of a character; blank lines are no rows. Of a member that an object has
    twice the last counts. A file without a member on any line has no columns, but its lines count as rows
    like those of any other.

    Attributes:
        columns: See `Reader`.
        header: See `Reader`.
        notices: See `Reader`.
        starts: Where blocks of lines begin in the file, if it was read for its members and is plain UTF-8.
    """

    def __init__(
        self,
        file: SourceFile,
        block_bytes: int = BLOCK_BYTES,
        *,
        members: Sequence[str] | None = None,
        stream: SourceStream | None = None,
        start: RecordStart = FILE_START,
    ) -> None:
        """Open the file and find its columns.

        Args:
            file: The file.
            block_bytes: How much is read at a time.
            members: Those of its objects, as `header` had them; None to look for them.
            stream: The file where it is open already; it is closed once it was read.
            start: Where in the file that stream begins.

        Raises:
            SourceError: It cannot be read or is not text.
        """
        self._file = file
        self._opened = self._stream = stream
        self._from = start
        self._block_bytes = block_bytes
        self.starts: list[RecordStart] = []
        self._is_as_stored = False
        self._members = self._all_members() if members is None else list(members)
        self.header = self._members
        self.columns, self.notices = usable_names(self._members)

    def _all_members(self) -> list[str]:
        members: dict[str, None] = {}
        for start, text in self._blocks():
            self.starts.append(start)
            members |= dict.fromkeys(_member_names(text))
        if not self._is_as_stored:
            self.starts.clear()
        return list(members)

    @property
    def fingerprint(self) -> str | None:
        """See `Reader`."""
        return self._stream.fingerprint if self._stream else None

    def cells(self, raw: str) -> list[str]:
        """The members' texts of a malformed object; an empty list for a line that is not an object."""
        try:
            found = json.loads(raw, strict=False)
        except ValueError:
            return []
        return [_cell(found.get(name)) for name in self._members] if isinstance(found, dict) else []

    def close(self) -> None:
        """Close the file; needed only where `batches` is not read to its end."""
        if self._stream:
            self._stream.close()

    def batches(self) -> Iterator[Batch]:
        """Yield the rows in order; call it once.

        Raises:
            SourceError: The file cannot be read further, or is not UTF-8.
        """
        for lines, text in self._lines():
            if not self._members:
                yield self._without_members(lines)
                continue
            parts = list(self._read(lines, text))
            yield Batch(
                pl.concat([rows for rows, _ in parts]), pl.concat([malformed for _, malformed in parts])
            )

    def _lines(self) -> Iterator[tuple[pl.DataFrame, bytes]]:
        """Lines that are not blank, LINE and `raw`, and their text."""
        for start, text in self._blocks():
            lines = pl.read_lines(io.BytesIO(text), name="raw")
            numbers = pl.int_range(start.line, start.line + pl.len(), dtype=pl.Int64).alias(LINE)
            filled = lines.select(numbers, "raw").filter(pl.col("raw").str.contains(r"\S"))
            yield filled, text if filled.height == lines.height else _joined(filled["raw"])

    def _blocks(self) -> Iterator[tuple[RecordStart, bytes]]:
        """Whole lines, and where in the text the first begins; a byte order mark is no text."""
        start, carry = self._from, b""
        self._stream, self._opened = self._opened or open_text(self._file), None
        with self._stream:
            blocks = Utf8Blocks(
                self._stream,
                self._file.name,
                block_bytes=self._block_bytes,
                start=self._from,
                lone_cr=False,
            )
            for block in blocks:
                whole, newline, carry = (carry + block).rpartition(b"\n")
                if newline:
                    yield start, whole
                    start = RecordStart(start.byte + len(whole) + 1, start.line + whole.count(b"\n") + 1)
        if carry:
            yield start, carry
        # Text of another size is packed or has a byte order mark.
        self._is_as_stored = blocks.encoding == "utf-8" and start.byte + len(carry) == self._file.size

    def _read(self, lines: pl.DataFrame, text: bytes) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
        """Rows and malformed rows of some lines; lines that fail are halved until the bad ones are alone."""
        schema = dict.fromkeys(self._members, pl.String)
        try:
            rows = pl.read_ndjson(text, schema=schema)
        except pl.exceptions.PolarsError:
            if lines.height > 1:
                middle = lines.height // 2
                for half in (lines[:middle], lines[middle:]):
                    yield from self._read(half, _joined(half["raw"]))
                return
            # In a line that is cut off, whole characters may be written as two halves.
            is_object = pl.Series([bool(self.cells(raw)) for raw in lines["raw"]], dtype=pl.Boolean)
            no_text = pl.when(pl.col("raw").str.contains(_HALF_CHARACTER) & is_object)
            message = no_text.then(pl.lit(_HALF_MESSAGE)).otherwise(pl.lit(_NOT_OBJECT))
            malformed = lines.with_columns(message=message)
            yield self._named(pl.DataFrame(schema=schema), lines.clear()), malformed
        else:
            raw = quote_long_numbers(lines["raw"])
            if not raw.equals(lines["raw"]):
                rows = pl.read_ndjson(_joined(raw), schema=schema)
            rows = _with_escapes(self._with_last_members(rows, raw), raw)
            named = self._named(rows, lines)
            odd = _not_texts(named, lines)
            yield named.remove(pl.col(LINE).is_in(odd[LINE].implode())), odd

    def _without_members(self, lines: pl.DataFrame) -> Batch:
        # Without a member to look for, polars would make a row of any line.
        empty = pl.col("raw").str.contains(r"^\s*\{\s*\}\s*$")
        malformed = lines.remove(empty).with_columns(message=pl.lit(_NOT_OBJECT))
        return Batch(lines.clear().select(LINE), malformed, blank=lines.height - malformed.height)

    def _with_last_members(self, rows: pl.DataFrame, raw: pl.Series) -> pl.DataFrame:
        """Read again, with its last value, what has a member twice: polars takes the first."""
        doubled = _doubled(raw, rows)
        if doubled.is_empty():
            return rows
        once = raw.gather(doubled).str.json_path_match("$")
        again = pl.read_ndjson(_joined(once), schema=dict.fromkeys(self._members, pl.String))
        # By position and not by a helper column, since a member may have any name.
        last = pl.int_range(rows.height, rows.height + again.height, dtype=pl.UInt32, eager=True)
        places = pl.int_range(rows.height, dtype=pl.UInt32, eager=True).scatter(doubled, last)
        return pl.concat([rows, again])[places]

    def _named(self, rows: pl.DataFrame, lines: pl.DataFrame) -> pl.DataFrame:
        rows.columns = self.columns
        return rows.with_columns(pl.when(pl.all() != "").then(pl.all())).with_columns(lines[LINE])


_KEY: Final = r'"\s*:'
_NULL: Final = r":\s*null"
_NOT_OBJECT: Final = "not a JSON object"
_HALF_MESSAGE: Final = "half of a character (a lone surrogate) is no text"
_HALF_CHARACTER: Final = r"(?i)\\ud[89a-f]"


def _doubled(raw: pl.Series, rows: pl.DataFrame) -> pl.Series:
    """The positions of objects that have one of their members twice.

    Their text has more keys than the row has values. Nulls and nested objects explain that in most lines; the
    few that are left are compared with the same text without repeats, which costs more.
    """
    keys = _keys(raw)
    found = rows.select(pl.sum_horizontal(pl.all().is_not_null().cast(pl.UInt32))).to_series()
    if not (keys > found).any():
        return pl.Series([], dtype=pl.UInt32)
    nested = [
        name
        for name, is_nested in rows.select(_is_nested(pl.all()).any()).row(0, named=True).items()
        if is_nested
    ]
    inner = [rows[name].str.count_matches('": ', literal=True).fill_null(0) for name in nested]
    nulls = [rows[name].str.count_matches(": null", literal=True).fill_null(0) for name in nested]
    explained = sum(inner, found + raw.str.count_matches(_NULL)) - sum(nulls, found * 0)
    suspects = (keys > explained).arg_true()
    texts = raw.gather(suspects)
    once = _keys(texts.str.json_path_match("$"))
    return suspects.filter((_keys(texts) > once).fill_null(value=False))


def _keys(texts: pl.Series) -> pl.Series:
    """How many keys JSON texts have, or more, since values may look like some."""
    # A fixed text takes a third of the time to find, and hardly any program writes a space before a colon.
    if any(texts.str.contains(f"{space}:", literal=True).any() for space in " \t\r"):
        return texts.str.count_matches(_KEY)
    return texts.str.count_matches('":', literal=True)


def _is_nested(cell: pl.Expr) -> pl.Expr:
    """Whether a cell is the text of a list or an object."""
    return cell.str.starts_with("[") | cell.str.starts_with("{")


def _with_escapes(rows: pl.DataFrame, raw: pl.Series) -> pl.DataFrame:
    """Take lists and objects from the line itself where it has escapes: polars writes most of them unescaped.

    A backslash before an n would become a line break, and one before an s would make invalid JSON.
    """
    escaped = raw.str.contains("\\", literal=True).arg_true()
    if escaped.is_empty():
        return rows
    lines, some = raw.gather(escaped), rows[escaped]
    nested_cells = some.select(_is_nested(pl.all()).fill_null(value=False))
    again = []
    for name in rows.columns:
        nested = nested_cells[name]
        # A JSON path cannot name a member with both quotes or a backslash; its lists stay as they are.
        quote = next((mark for mark in "\"'" if mark not in name and "\\" not in name), None)
        if quote and nested.any():
            own = lines.str.json_path_match(f"$[{quote}{name}{quote}]")
            whole = own.zip_with(own.is_not_null(), some[name]).filter(nested)
            again.append(rows[name].scatter(escaped.filter(nested), whole))
    return rows.with_columns(again)


def _not_texts(rows: pl.DataFrame, lines: pl.DataFrame) -> pl.DataFrame:
    """Lines of objects with a NUL or with half of a character, as malformed ones."""
    escaped = lines.filter(pl.col("raw").str.contains("\\u", literal=True))
    if escaped.is_empty():
        return pl.DataFrame(schema=MALFORMED_SCHEMA)
    half = pl.col("raw").str.contains(_HALF_CHARACTER) & pl.col("raw").str.json_path_match("$").is_null()
    nul = pl.col(LINE).is_in(lines_with_nul(rows).implode())
    message = pl.when(half).then(pl.lit(_HALF_MESSAGE))
    return escaped.filter(half | nul).select(
        LINE, "raw", message.otherwise(pl.lit(NUL_MESSAGE)).alias("message")
    )


def newlines(data: bytes) -> Positions:
    """Positions of line breaks, as JSON lines have them: a carriage return alone is none."""
    return np.flatnonzero(np.frombuffer(data, np.uint8) == LF)


def _cell(value: object) -> str:
    """A member as text; half of a character stays escaped, since UTF-8 cannot hold it."""
    text = value if isinstance(value, str) else "" if value is None else json.dumps(value)
    return text.encode(errors="backslashreplace").decode()


def _joined(lines: pl.Series) -> bytes:
    text: str = lines.str.join("\n").item()
    return text.encode()


def _member_names(text: bytes) -> list[str]:
    """The members of the objects on these lines; a line that is not an object has none."""
    try:
        return pl.scan_ndjson(io.BytesIO(text), infer_schema_length=None).collect_schema().names()
    except pl.exceptions.PolarsError:
        # Halved, so that of the lines that fail each is alone in the end.
        middle = text.find(b"\n", len(text) // 2)
        middle = text.rfind(b"\n") if middle < 0 else middle
        return [] if middle < 0 else _member_names(text[:middle]) + _member_names(text[middle + 1 :])
