"""Decodes text of any encoding to blocks of UTF-8, and says where the bytes that are not text are."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator
from typing import IO, Final, Literal

import numpy as np

from pipeline.core.errors import SourceError
from pipeline.extract.encodings import bom_of, cut_character, is_utf8, refuse_other_files, sniff_encoding
from pipeline.extract.framing import CR, LF
from pipeline.extract.text_ranges import FILE_START, RecordStart

REPLACEMENT: Final = "�".encode()

# Encodings that cannot be decoded from the middle of a file, or that text files never have.
_NOT_OF_TEXT_FILES: Final = frozenset(
    {"utf-7", "hz", "idna", "punycode", "unicode_escape", "raw_unicode_escape", "iso2022_kr"}
    | {f"iso2022_jp{variant}" for variant in ("", "_1", "_2", "_2004", "_3", "_ext")}
)


class Utf8Blocks:
    """Reads a text of any encoding in blocks of UTF-8.

    Characters are never cut. A byte order mark wins over the encoding given, and is left out.

    Attributes:
        encoding: The encoding in use.
        replaced: How many places became U+FFFD so far; where a block had one, those that the source
            held already are counted with it.
        holds_nul: Whether there was a NUL character so far.
    """

    def __init__(
        self,
        stream: IO[bytes],
        name: str,
        *,
        block_bytes: int,
        encoding: str = "utf-8",
        on_error: Literal["error", "replace"] = "error",
        start: RecordStart = FILE_START,
        lone_cr: bool = True,
    ) -> None:
        """Read nothing yet.

        Args:
            stream: The bytes.
            name: The file's name.
            block_bytes: How much is read at a time.
            encoding: Its encoding.
            on_error: What is done with bytes that are invalid in it.
            start: Where in the file the stream begins; a byte order mark is only at the file's own start.
            lone_cr: Whether a carriage return alone ends a line.
        """
        self._stream = stream
        self._name = name
        self._on_error = on_error
        self._block_bytes = block_bytes
        self._is_inside = start != FILE_START
        self._offset = start.byte  # of the next byte to decode, in the decompressed file
        self._lines = start.line - 1  # line breaks before it
        self._is_after_cr = False
        self._lone_cr = lone_cr
        self.encoding = encoding
        self.replaced = 0
        self.holds_nul = False

    def __iter__(self) -> Iterator[bytes]:
        """Yield blocks, none empty.

        Raises:
            SourceError: The file is binary, is cut short, or has bytes that are invalid in its encoding.
        """
        carry = self._open()
        while True:
            chunk = self._read()
            data = carry + chunk
            if not data:
                return
            text, used = self._decode(data, final=not chunk)
            carry = data[used:]
            self._offset += used
            if text:
                self._lines += self._line_breaks(text)
                self._is_after_cr = self._lone_cr and text.endswith(b"\r")
                self.holds_nul = self.holds_nul or b"\0" in text
                yield text
            if not chunk:
                return

    def _open(self) -> bytes:
        head = self._read()
        self.encoding = _python_name(self.encoding, self._name)
        if self._is_inside:
            return head
        if bom := bom_of(head):
            self._offset, self.encoding = bom
            head = head[self._offset :]
        refuse_other_files(self._name, head[: 1 << 16], self.encoding)
        return head

    def _read(self) -> bytes:
        try:
            return self._stream.read(self._block_bytes)
        except (OSError, EOFError, ValueError) as error:
            raise SourceError(
                f"{self._name} cannot be read on from byte {self._offset:,}: {error}",
                hint="It is cut short or damaged: is it still being copied?",
            ) from error

    def _decode(self, data: bytes, *, final: bool) -> tuple[bytes, int]:
        if self.encoding == "utf-8":
            end = len(data) if final else len(data) - cut_character(data)
            whole = data[:end]
            if is_utf8(whole):
                return whole, end
        decoder = codecs.getincrementaldecoder(self.encoding)("strict")
        try:
            text = decoder.decode(data, final)
        except UnicodeDecodeError as error:
            if self._on_error == "error":
                raise self._undecodable(data, error) from error
            decoder = codecs.getincrementaldecoder(self.encoding)("replace")
            text = decoder.decode(data, final)
            self.replaced += text.count("�")
        # What the decoder holds back begins a character that goes on in the next block.
        return text.encode(), len(data) - len(decoder.getstate()[0])

    def _line_breaks(self, text: bytes) -> int:
        """How many line breaks end in a text, behind the one before it: the half of a CRLF is none."""
        bytes_ = np.frombuffer(text, np.uint8)
        is_lf = bytes_ == LF
        breaks = int(np.count_nonzero(is_lf))
        if self._lone_cr and b"\r" in text:
            is_cr = bytes_ == CR
            breaks += int(np.count_nonzero(is_cr[:-1] & ~is_lf[1:])) + int(is_cr[-1])
        return breaks - (self._is_after_cr and text.startswith(b"\n"))

    def _undecodable(self, data: bytes, error: UnicodeDecodeError) -> SourceError:
        before = data[: error.start].decode(self.encoding, "replace")
        line = self._lines + self._line_breaks(before.encode()) + 1
        likely = sniff_encoding(data, whole=False)[0]
        is_new = likely not in ("utf-8", self.encoding)
        wanted = f"`source: {{csv: {{encoding: {likely}}}}}`" if is_new else "the right `encoding`"
        return SourceError(
            f"{self._name}: byte {self._offset + error.start:,} (0x{data[error.start]:02x}, line {line:,})"
            f" is not {self.encoding}: {error.reason}",
            hint=f"Write {wanted} in the mapping{', as its letters suggest,' if is_new else ''}"
            " or `on_encoding_error: replace` to go on with U+FFFD in its place.",
        )


def _python_name(encoding: str, name: str) -> str:
    try:
        known = codecs.lookup(encoding).name
        # It refuses codecs such as base64, which are no encodings of text.
        io.TextIOWrapper(io.BytesIO(), encoding=known)
        usable = known not in _NOT_OF_TEXT_FILES
    except LookupError:
        usable = False
    if not usable:
        raise SourceError(
            f"{name}: '{encoding}' is not an encoding that can be read",
            hint="Use utf-8, utf-16, cp1252, latin-1 or another name of a Python codec.",
        )
    # Without a mark, UTF-16 is little-endian: that is what Windows writes.
    return {"utf-16": "utf-16-le", "utf-32": "utf-32-le", "utf-8-sig": "utf-8"}.get(known, known)
