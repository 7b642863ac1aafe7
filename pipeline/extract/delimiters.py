"""Delimiters that are not one ASCII character: they are replaced by one, since the parser takes no others."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from pipeline.core.model import WHITE_SPACE
from pipeline.extract.decoding import REPLACEMENT, Utf8Blocks
from pipeline.extract.framing import MAX_RECORD_BYTES

STAND_IN: Final = "\x1f"
"""ASCII's unit separator, which no text contains. Where one does, it becomes U+FFFD."""
_STAND_IN: Final = STAND_IN.encode()
_QUOTED_CELL: Final = rb"(?<![^ \t\r\n])Q(?:[^Q\r\n]|QQ)*Q(?![^ \t\r\n])"
"""A quoted cell on one line, with Q for the quote."""


def whole_lines(blocks: Utf8Blocks) -> Iterator[bytes]:
    """The blocks, cut again so that each ends with a line; only a line that is far too long is cut."""
    carry = b""
    for block in blocks:
        data = carry + block
        # A carriage return at the end may be half of a line break.
        end = max(data.rfind(b"\n"), data.rfind(b"\r", 0, -1)) + 1
        if not end and len(data) > MAX_RECORD_BYTES:
            end = len(data)
        carry = data[end:]
        if end:
            yield data[:end]
    if carry:
        yield carry


def _single_blanks(lines: bytes, quote: bytes) -> bytes:
    """The lines with the stand-in in place of each run of blanks and tabs, and none at the ends of lines."""
    lines = b"\n%s\n" % lines
    text = np.frombuffer(lines, np.uint8)
    is_blank, is_break = np.isin(text, [ord(" "), ord("\t")]), np.isin(text, [ord("\n"), ord("\r")])
    if quote and quote in lines:
        for cell in re.finditer(_QUOTED_CELL.replace(b"Q", re.escape(quote)), lines):
            is_blank[slice(*cell.span())] = False
    starts = np.flatnonzero(is_blank[1:] & ~is_blank[:-1]) + 1
    ends = np.flatnonzero(is_blank[:-1] & ~is_blank[1:]) + 1
    between = starts[~is_break[starts - 1] & ~is_break[ends]]
    text = text.copy()
    text[between] = ord(STAND_IN)
    is_blank[between] = False
    return text[~is_blank][1:-1].tobytes()


@dataclass(frozen=True)
class LongDelimiter:
    """A delimiter of several characters, one that is not ASCII, or white space.

    Within quotes it becomes the stand-in as well, and `restored` undoes that. White space stays as it is in a
    quoted cell; in one that goes on in the next line it becomes one blank.
    """

    delimiter: str
    quote: str | None = None

    @property
    def shown(self) -> str:
        """What stands for the stand-in in a cell."""
        return " " if self.delimiter == WHITE_SPACE else self.delimiter

    def blocks(self, blocks: Utf8Blocks) -> Iterator[bytes]:
        """The blocks with the stand-in as delimiter."""
        for lines in whole_lines(blocks):
            if found := lines.count(_STAND_IN):
                blocks.replaced += found
                lines = lines.replace(_STAND_IN, REPLACEMENT)
            yield self._replaced(lines)

    def _replaced(self, lines: bytes) -> bytes:
        if self.delimiter == WHITE_SPACE:
            return _single_blanks(lines, (self.quote or "").encode())
        return lines.replace(self.delimiter.encode(), _STAND_IN)

    def stood_in_for(self, record: str) -> str:
        """A record of the file with the stand-in as delimiter."""
        return self._replaced(record.encode()).decode()

    def restored(self, text: str) -> str:
        """A record with the stand-in as it is in the file."""
        return text.replace(STAND_IN, self.shown)
