"""Ranges of a large text file: where its records begin, so that each range can be read alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import IO, Final, Literal

from pipeline.core.model import Dialect
from pipeline.extract.encodings import bom_of
from pipeline.extract.framing import Frame, Positions, frames, line_ends


@dataclass(frozen=True)
class RecordStart:
    """Where a record begins in its file.

    Attributes:
        byte: Its first byte, from 0.
        line: Its first physical line, from 1.
    """

    byte: int
    line: int


FILE_START: Final = RecordStart(0, 1)


@dataclass(frozen=True)
class TextRange:
    """Whole records of a text file, which are read without what stands before them.

    Attributes:
        start: Where the first begins; the range at the start of the file has its head as well.
        end: The byte behind the last.
        format: What the file is.
        dialect: How the range is written: behind the head, all is stated that only the head shows.
    """

    start: RecordStart
    end: int
    format: Literal["csv", "jsonl"]
    dialect: Dialect


@dataclass(frozen=True)
class RangeForm:
    """How the ranges of a file are written.

    Attributes:
        format: What the file is.
        dialect: How it is written behind its head.
        line_ends: Finds the last byte of each physical line in bytes of the file.
    """

    format: Literal["csv", "jsonl"]
    dialect: Dialect
    line_ends: Callable[[bytes], Positions]


def record_starts(stored: IO[bytes], frame: Frame, line: int, block_bytes: int) -> Iterator[RecordStart]:
    """Read a CSV file to its end, and give the first record of all and of about every `block_bytes`.

    Args:
        stored: The file, in an encoding that keeps ASCII.
        frame: Finds the records in a block.
        line: The physical line behind the head, on which the first may begin.
        block_bytes: How much is searched at a time.
    """
    head, start = b"", None
    while start is None:
        if not (block := stored.read(block_bytes)):
            return
        head += block
        start = _behind_head(head, line - 1)
    at = RecordStart(start, line)
    blocks = iter(partial(stored.read, block_bytes), b"")
    for framed in frames(chain([head[start:]], blocks), frame):
        if framed.used:
            yield at
            at = RecordStart(at.byte + framed.used, at.line + framed.used_lines)


def _behind_head(head: bytes, lines: int) -> int | None:
    """Where the text behind so many lines, or a byte order mark, begins; None if that is further."""
    bom = bom_of(head)
    start = bom[0] if bom else 0
    if lines:
        ends = line_ends(head)
        start = int(ends[lines - 1]) + 1 if len(ends) >= lines else len(head)
    # A carriage return at the end may be half of a line break.
    return start if start < len(head) else None
