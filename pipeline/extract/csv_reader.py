"""CSV files: any delimiter and quoting, any encoding, streamed block by block."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import chain, pairwise
from typing import IO, TYPE_CHECKING, Final, Literal, cast

import numpy as np
import polars as pl

from pipeline.core.errors import SourceError
from pipeline.core.model import LINE, Dialect
from pipeline.core.text.header_names import usable_names
from pipeline.core.text.wording import count
from pipeline.extract.delimiters import STAND_IN, LongDelimiter
from pipeline.extract.encodings import keeps_ascii
from pipeline.extract.framing import MAX_RECORD_BYTES, Framed, Grammar, frames, line_ends
from pipeline.extract.rows import MALFORMED_SCHEMA, NUL_MESSAGE, Batch, lines_with_nul
from pipeline.extract.text_ranges import FILE_START, RangeForm, RecordStart, record_starts
from pipeline.extract.text_reader import TextReader

if TYPE_CHECKING:
    from pyarrow.csv import InvalidRow

_STATED_DELIMITER: Final = re.compile(rb"""(?i)"?sep=.?"?\r?\n""")
"""A first line that tells Excel the delimiter; it is no row."""
DELIMITERS: Final = (",", ";", "\t", "|")

# Python's own limit of a cell, 131,072 characters, would make a longer one an error.
csv.field_size_limit(MAX_RECORD_BYTES)

# When a cell of several lines is taken for rows that a stray quote swallowed; see `_swallowed`.
# Of fewer than three columns, ordinary text may have one comma in most of its lines.
_NARROWEST: Final = 3
# A record of a wrong width is suspect already, so two lines of the right width are enough.
_PROOF_IN_REJECTED: Final = 2
# A record of the right width is most likely correct, so more lines must be found in its cell.
_PROOF_IN_ROWS: Final = 10

_Malformed = tuple[int, str, str]  # LINE, raw, message


class CsvReader(TextReader):
    """Reads one CSV file.

    Empty lines are no rows. A row with too many or too few cells, or with broken quoting, is malformed,
    unless all its cells are blank: then it is only counted.

    Attributes:
        columns: See `Reader`.
        header: See `Reader`.
        notices: See `Reader`.
        delimiter: The delimiter in use.
    """

    def _start(self, dialect: Dialect) -> None:
        self._long = _long_delimiter(dialect)
        self._blocks = iter(self._text) if self._long is None else self._long.blocks(self._text)
        self._dialect = dialect
        if self._from != FILE_START:
            self._start_inside(dialect)
            return
        head = b""
        for block in self._blocks:
            head += block
            # Where only the header is wanted, a block may be shorter than it.
            if len(line_ends(head)) > dialect.skip_lines or len(head) > MAX_RECORD_BYTES:
                break
        begin = _after_lines(head, dialect.skip_lines, self._name)
        if stated := _STATED_DELIMITER.match(head, begin):
            begin = stated.end()
        self.delimiter = dialect.delimiter or sniff_delimiter(head[begin:], dialect)
        self._grammar = grammar_of(dialect, STAND_IN if self._long else self.delimiter)
        cells, end = self._first_row(head, begin)
        if isinstance(dialect.header, tuple):
            cells = self._given_header(dialect.header, cells)
        elif not dialect.header:
            cells = [f"column_{n}" for n in range(1, len(cells) + 1)]
        self._head = head[end if dialect.header is True else begin :]
        self._line = len(line_ends(head)) - len(line_ends(self._head))
        self.header = cells
        self.columns, self.notices = usable_names(cells)

    def _start_inside(self, dialect: Dialect) -> None:
        """Begin behind the head, as the dialect of a range describes it."""
        assert dialect.delimiter
        assert isinstance(dialect.header, tuple)
        self.delimiter = dialect.delimiter
        self._grammar = grammar_of(dialect, dialect.delimiter)
        self._head, self._line = b"", self._from.line - 1
        self.header = list(dialect.header)
        self.columns, self.notices = usable_names(self.header)

    @property
    def range_form(self) -> RangeForm | None:
        """How its ranges are written; None where only the decoded text shows the records."""
        if self._long is not None or not keeps_ascii(self._text.encoding):
            return None
        if self._text.encoding == "utf-8" and self._dialect.on_encoding_error == "replace":
            # A U+FFFD in the file itself counts only near bytes that are no text.
            return None
        behind_head = replace(
            self._dialect,
            delimiter=self.delimiter,
            encoding=self._text.encoding,
            header=tuple(self.header),
            skip_lines=0,
        )
        return RangeForm("csv", behind_head, line_ends)

    def record_starts(self, stored: IO[bytes], block_bytes: int) -> Iterator[RecordStart]:
        """Where records begin in the bytes of the file; see `text_ranges.record_starts`."""
        return record_starts(stored, self._grammar.frame, self._line + 1, block_bytes)

    def _first_row(self, head: bytes, begin: int) -> tuple[list[str], int]:
        text = head[begin:] + b"\n"
        span = self._grammar.first_record(text)
        if span is None:
            raise SourceError(
                f"{self._name} has no row with column names"
                + (f" after its first {begin} bytes" if begin else ""),
                hint="Check `quote`, `comment` and `skip_lines` in the mapping.",
            )
        record = text[slice(*span)].decode()
        return split_cells(record, self._grammar), min(begin + span[1], len(head))

    def _given_header(self, header: tuple[str, ...], cells: list[str]) -> list[str]:
        if len(header) != len(cells):
            raise SourceError(
                f"{self._name} has {count(len(cells), 'column')}, and the mapping's `header` names "
                f"{len(header)}",
                hint="Name every column, in order, or check the delimiter.",
            )
        return list(header)

    def cells(self, raw: str) -> list[str]:
        """The cells of a malformed row as far as they can be separated; an empty list where they cannot."""
        try:
            text = raw if self._long is None else self._long.stood_in_for(raw)
            cells = split_cells(text, self._grammar)
            # Spreadsheets that saved a row of one cell put quotes around all of it.
            within = [*_rows_in(cells[0], self._grammar)] if len(cells) == 1 else []
            return within[0] if len(within) == 1 else cells
        except (csv.Error, StopIteration):
            return []

    def batches(self) -> Iterator[Batch]:
        """Yield the rows in order; call it once.

        Raises:
            SourceError: The file cannot be read further, or has bytes that are invalid in its encoding.
        """
        with self._stream:
            for framed in frames(chain([self._head], self._blocks), self._grammar.frame):
                self._head = b""
                for batch in self._batch(framed):
                    yield batch if framed.is_ended else self._perhaps_cut_off(batch)

    @property
    def head_bytes(self) -> int:
        """How much of the file's text is read before its rows are."""
        return len(self._head)

    def together(self, others: Sequence[CsvReader]) -> tuple[pl.DataFrame, list[int]] | None:
        """The rows of small files, parsed at once: one file takes a millisecond, however small it is.

        Args:
            others: Readers of files with the same columns and delimiter.

        Returns:
            The rows of this file and then of the others, each with its LINE, and how many each file has. The
            files are closed. None where rows need a closer look; then `batches` gives them.
        """
        framed = [each.at_once() for each in (self, *others)]
        whole = [each for each in framed if each]
        if len(whole) < len(framed) or any(each.delimiter != self.delimiter for each in others):
            return None
        lines = np.concatenate([each.lines for each in whole])
        text = b"".join(each.text for each in whole)
        # `starts` is only read for records with a NUL, and `at_once` refuses files that hold one.
        rows, rejected = self._rows(Framed(text, lines, lines, len(text), len(lines)), first=0)
        if rejected:
            return None
        for each in (self, *others):
            each.close()
        return rows, [len(each.lines) for each in whole]

    def at_once(self) -> Framed | None:
        """All records of the file, with their lines in it; None where they need a closer look.

        They do where the file is longer than a block, where a record is broken or has many lines, and where
        characters are no text.
        """
        if self._long is not None:
            return None
        if (more := next(self._blocks, None)) is not None:
            self._blocks = chain([more], self._blocks)
            return None
        text = self._head if self._head.endswith((b"\r", b"\n")) else self._head + b"\n"
        framed = self._grammar.frame(text, final=True)
        heights = np.diff(framed.lines, append=framed.used_lines)
        odd = framed.broken or (heights > _PROOF_IN_ROWS).any()
        if odd or self._text.replaced or self._text.holds_nul:
            return None
        return replace(framed, lines=framed.lines + self._line + 1)

    def _perhaps_cut_off(self, batch: Batch) -> Batch:
        """The last batch of a file that ends without a line break: its last row may lack its end."""
        lines = batch.malformed[LINE]
        if lines.is_empty() or (batch.rows.height and lines[-1] < batch.rows[LINE][-1]):
            return batch
        if len(self.cells(batch.malformed["raw"][-1])) > len(self.columns):
            return batch
        asked = pl.col("message") + "; the file ends in this row: is it still being copied?"
        message = pl.when(pl.col(LINE) == lines[-1]).then(asked).otherwise("message")
        return replace(batch, malformed=batch.malformed.with_columns(message.alias("message")))

    def _batch(self, framed: Framed) -> Iterator[Batch]:
        todo = [(framed, self._line + 1)]
        self._line += framed.used_lines
        frames: list[pl.DataFrame] = []
        malformed: list[_Malformed] = []
        blank = 0
        while todo:
            framed, first = todo.pop()
            malformed += [(first + b.line, b.raw.decode(), b.message) for b in framed.broken]
            rows, rejected = self._rows(framed, first)
            swallowed = list(self._swallowed(framed, first, rejected))
            read_again = {line for line, _, _ in swallowed}
            frames.append(rows.remove(pl.col(LINE).is_in(read_again)) if read_again else rows)
            uneven = [row for row in rejected if row[0] not in read_again]
            malformed += [row for row in uneven if not self._is_blank(row[1])]
            blank += sum(self._is_blank(text) for _, text, _ in uneven)
            for line, head, rest in swallowed:
                malformed.append((line, head, "a quote opens a cell that swallows the rows below it"))
                todo.append((self._grammar.frame(rest, final=True), line + 1))
        rows = pl.concat(frames).sort(LINE) if len(frames) > 1 else frames[0]
        if self._long is not None:
            rows = rows.with_columns(
                pl.col(self.columns).str.replace_all(STAND_IN, self._long.shown, literal=True)
            )
            malformed = [(line, self._long.restored(raw), message) for line, raw, message in malformed]
        if rows.height or malformed or blank:
            frame = pl.DataFrame(sorted(malformed), MALFORMED_SCHEMA, orient="row")
            yield Batch(rows, frame, self._replaced(rows), blank)

    def _is_blank(self, text: str) -> bool:
        return not any(cell.strip() for cell in self.cells(text))

    def _rows(self, framed: Framed, first: int) -> tuple[pl.DataFrame, list[_Malformed]]:
        """Parse whole records, the first of which starts on line `first`; those of a wrong width apart."""
        rejected: list[InvalidRow] = []
        if len(framed.lines):
            rows = self._parse(framed.text, rejected)
        else:
            rows = pl.DataFrame(schema=dict.fromkeys(self.columns, pl.String))
        lines = framed.lines + first
        if rows.height + len(rejected) != len(lines):
            raise AssertionError(
                f"{self._name}: {len(lines)} records from line {first}, but {rows.height} parsed"
                f" and {len(rejected)} rejected"
            )
        # pyarrow counts rows from 1.
        bad = [(row.number or 0) - 1 for row in rejected]
        good_lines = np.delete(lines, bad) if bad else lines
        malformed = [
            (
                int(lines[n]),
                row.text,
                f"{count(row.actual_columns or 0, 'cell')}, expected {row.expected_columns}",
            )
            for n, row in zip(bad, rejected, strict=True)
        ]
        rows = rows.with_columns(pl.Series(LINE, good_lines, pl.Int64))
        if not self._text.holds_nul:
            return rows, malformed
        with_nul = lines_with_nul(rows)
        malformed += [(line, self._record(framed, line - first), NUL_MESSAGE) for line in with_nul]
        return rows.remove(pl.col(LINE).is_in(with_nul.implode())), malformed

    def _record(self, framed: Framed, line: int) -> str:
        """The text of the record that starts on a line, counted from 0, without its line break."""
        n = int(np.searchsorted(framed.lines, line))
        end = framed.starts[n + 1] if n + 1 < len(framed.starts) else None
        text = bytes(framed.text[framed.starts[n] : end])
        span = self._grammar.first_record(text)
        record = text[slice(*span)] if span else text
        return record.removesuffix(b"\n").removesuffix(b"\r").decode()

    def _swallowed(
        self, framed: Framed, first: int, rejected: list[_Malformed]
    ) -> Iterator[tuple[int, str, bytes]]:
        """Find records that swallowed whole rows between two quotes that were meant as text.

        Most lines inside such a record have the right width for a row. If the record itself has a wrong
        width, two such lines are proof enough; if it happens to have the right one, ten. Then only its first
        line is malformed, and the others are to be read again.

        Yields:
            Its line, its first line's text, and its other lines with their line breaks.
        """
        for line, text, _ in rejected:
            several = "\n" in text or "\r" in text
            if several and (found := self._unswallow(text.encode() + b"\n", _PROOF_IN_REJECTED)):
                yield line, *found
        known = {line for line, _, _ in rejected}
        heights = np.diff(framed.lines, append=framed.used_lines)
        for n in np.flatnonzero(heights > _PROOF_IN_ROWS):
            end = framed.starts[n + 1] if n + 1 < len(framed.starts) else None
            record = bytes(framed.text[framed.starts[n] : end])
            line = int(framed.lines[n]) + first
            if line not in known and (found := self._unswallow(record, _PROOF_IN_ROWS)):
                yield line, *found

    def _unswallow(self, record: bytes, proof: int) -> tuple[str, bytes] | None:
        ends = line_ends(record)
        width = len(self.columns)
        if width < _NARROWEST or len(ends) - 2 < proof:
            return None
        inner = [record[start + 1 : end + 1] for start, end in pairwise(ends[:-1])]
        whole = sum(self._width_of(line) == width for line in inner)
        if whole < proof or 2 * whole < len(inner):
            return None
        return record[: ends[0]].decode().rstrip("\r"), record[ends[0] + 1 :]

    def _width_of(self, line: bytes) -> int:
        span = self._grammar.first_record(line)
        return len(split_cells(line[slice(*span)].decode(), self._grammar)) if span else 0

    def _parse(self, text: bytes | memoryview, rejected: list[InvalidRow]) -> pl.DataFrame:
        import pyarrow as pa
        from pyarrow import csv as arrow_csv

        # pyarrow replaces signal handlers while it parses, and can lose a signal that arrives as it ends.
        pa.enable_signal_handlers(False)

        def reject(row: InvalidRow) -> Literal["skip"]:
            rejected.append(row)
            return "skip"

        if text[:3] == codecs.BOM_UTF8:
            # Where files were joined, a block may begin with a mark, which the parser would drop.
            text = b"\n" + text
        grammar = self._grammar
        table = arrow_csv.read_csv(
            cast("IO[bytes]", pa.BufferReader(pa.py_buffer(text))),
            # One block on one thread: only then does the parser number the rows that it rejects.
            arrow_csv.ReadOptions(use_threads=False, block_size=len(text) + 1, column_names=self.columns),
            arrow_csv.ParseOptions(
                delimiter=grammar.delimiter,
                quote_char=grammar.quote or False,
                escape_char=grammar.escape or False,
                newlines_in_values=True,
                invalid_row_handler=reject,
            ),
            arrow_csv.ConvertOptions(
                # The blocks were decoded before, so they are valid UTF-8.
                check_utf8=False,
                column_types=dict.fromkeys(self.columns, pa.string()),
                null_values=[""],
                strings_can_be_null=True,
            ),
        )
        # Its strings stay where they are. To cast them to views before would be a little faster for each
        # partition, but takes an import of 30 ms.
        frame = pl.from_arrow(table)
        assert isinstance(frame, pl.DataFrame)
        return frame


def _long_delimiter(dialect: Dialect) -> LongDelimiter | None:
    """The delimiter, where it is not one ASCII character.

    Raises:
        SourceError: It holds a line break or the quote.
    """
    delimiter = dialect.delimiter or ""
    if len(delimiter) < 2 and delimiter.isascii():
        return None
    if any(mark in delimiter for mark in ("\r", "\n", "\0", dialect.quote or "\n", dialect.escape or "\n")):
        raise SourceError(f"the dialect's `delimiter` is {delimiter!r}, which holds a quote or a line break")
    return LongDelimiter(delimiter, dialect.quote)


# A grammar compiles its pattern once, and all files of a run share a few grammars.
_grammar = lru_cache(Grammar)


def grammar_of(dialect: Dialect, delimiter: str) -> Grammar:
    """The grammar of a dialect.

    Raises:
        SourceError: Delimiter, quote or escape is not one ASCII character, or two of them are the same.
    """
    marks = {"delimiter": delimiter, "quote": dialect.quote, "escape": dialect.escape}
    given = {name: mark for name, mark in marks.items() if mark}
    for name, mark in given.items():
        if len(mark) != 1 or not mark.isascii() or mark in "\r\n\0":
            raise SourceError(f"the dialect's `{name}` is {mark!r}, expected one ASCII character")
    if len(set(given.values())) != len(given):
        raise SourceError(f"the dialect's {', '.join(given)} must differ from each other")
    return _grammar(delimiter, dialect.quote or None, dialect.escape or None, dialect.comment or None)


def sniff_delimiter(head: bytes, dialect: Dialect) -> str:
    """Find the delimiter: the one of `,` `;` tab `|` that splits the first row into most cells.

    A tie goes to the first of them; a row with none of them is one cell, and the delimiter `,`.
    """

    def width(delimiter: str) -> int:
        grammar = grammar_of(dialect, delimiter)
        span = grammar.first_record(head + b"\n")
        return len(split_cells(head[slice(*span)].decode(), grammar)) if span else 0

    return max((mark for mark in DELIMITERS if mark not in (dialect.quote, dialect.escape)), key=width)


def split_cells(record: str, grammar: Grammar) -> list[str]:
    """Split one record, line break and all, into cells."""
    return next(_rows_in(record, grammar))


def _rows_in(text: str, grammar: Grammar) -> Iterator[list[str]]:
    return csv.reader(
        io.StringIO(text, newline=""),
        delimiter=grammar.delimiter,
        quotechar=grammar.quote,
        escapechar=grammar.escape,
        quoting=csv.QUOTE_MINIMAL if grammar.quote else csv.QUOTE_NONE,
    )


def _after_lines(head: bytes, skipped: int, name: str) -> int:
    """Where the text begins after so many `skipped` physical lines."""
    if not skipped:
        return 0
    ends = line_ends(head)
    if len(ends) < skipped:
        raise SourceError(f"{name} has {count(len(ends), 'line')}, and `skip_lines` is {skipped}")
    return int(ends[skipped - 1]) + 1
