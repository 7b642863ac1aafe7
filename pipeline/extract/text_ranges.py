"""Ranges of a large text file: where its records begin, so that each range can be read alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import IO, Final, Literal

from pipeline.core.model import Dialect
from pipeline.extract.encodings import bom_of
from pipeline.extract.framing import Frame, Positions, frames


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
class RecordFraming:
    """How the records of a text file are found in its bytes as they are, without decoding them.

    Attributes:
        frame: Finds them in a block.
        line_ends: Finds the last byte of each physical line in a block.
        line: The physical line behind the head, on which the first may begin.
        format: What the file is.
        dialect: How it is written behind its head.
    """

    frame: Frame
    line_ends: Callable[[bytes], Positions]
    line: int
    format: Literal["csv", "jsonl"]
    dialect: Dialect


def record_starts(stored: IO[bytes], framing: RecordFraming, block_bytes: int) -> Iterator[RecordStart]:
    """Read a file to its end, and give the first record of all and of about every `block_bytes`."""
    head, start = b"", None
    while start is None:
        if not (block := stored.read(block_bytes)):
            return
        head += block
        start = _behind_head(head, framing)
    at = RecordStart(start, framing.line)
    blocks = iter(partial(stored.read, block_bytes), b"")
    for framed in frames(chain([head[start:]], blocks), framing.frame):
        if framed.used:
            yield at
            at = RecordStart(at.byte + framed.used, at.line + framed.used_lines)


def _behind_head(head: bytes, framing: RecordFraming) -> int | None:
    """Where the first record may begin: behind the head or a byte order mark; None if that is further."""
    bom, lines = bom_of(head), framing.line - 1
    start = bom[0] if bom else 0
    if lines:
        ends = framing.line_ends(head)
        start = int(ends[lines - 1]) + 1 if len(ends) >= lines else len(head)
    # A carriage return at the end may be half of a line break.
    return start if start < len(head) else None
