"""Guesses what a file is by its bytes: its encoding, or a kind of file that is no table."""

from __future__ import annotations

import codecs
import re
from typing import Final

from pipeline.core.errors import SourceError
from pipeline.core.storage.file_formats import PARQUET_BEGINS

_BOMS: Final[tuple[tuple[bytes, str], ...]] = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_NULS_OF_BINARY: Final = 10
"""A file is binary if more than one byte in so many is NUL."""
_LOOKED_AT: Final = 1 << 12
"""Bytes whose NULs show how wide the characters are."""
_ALL: Final = ".[]"
"""How jq names the objects of a list."""
_OTHER_FILES: Final[tuple[tuple[bytes, str, str], ...]] = (
    (PARQUET_BEGINS, "a Parquet file", "Leave `format: csv` out of the mapping."),
    (rb"\xd0\xcf\x11\xe0", "an old Excel or Word file", ""),
    (rb"%PDF", "a PDF", ""),
    (rb"SQLite format 3\0", "an SQLite database", ""),
    (rb"\x89PNG|\xff\xd8\xff", "a picture", ""),
    (rb"ARROW1", "an Arrow file", ""),
    (rb"\{\\rtf", "a text document (RTF)", ""),
    (
        rb"(?i)<!doctype html|<html|<head|<body|<table|<meta",
        "a web page (HTML)",
        "Open it in a browser: a login page or an error means that the download failed. A table that a shop"
        " exports so opens in Excel: save it as .xlsx or CSV.",
    ),
    (rb"(?i)<\?xml|<workbook", "an XML file", "Where it opens in Excel, save it as .xlsx or CSV."),
    (
        rb"\[\s*(?:[{\[\]\"]|\Z)|\{\s*\r?\n\s*[\"}]",
        "one JSON document over all of its lines",
        f"JSON is read with one object a line: `jq -c '{_ALL}' FILE > FILE.jsonl` writes it so.",
    ),
)
"""How a file that is no table begins, after blanks; what it is, and what to do about it."""


def bom_of(head: bytes) -> tuple[int, str] | None:
    """The byte order mark at the start of a file: its length, and the encoding it stands for."""
    return next(((len(bom), encoding) for bom, encoding in _BOMS if head.startswith(bom)), None)


def keeps_ascii(encoding: str) -> bool:
    """Whether in this encoding the bytes of ASCII characters, and only these, stand for them.

    It is UTF-8, or has one byte a character; the second byte of others may look like a letter or `|`.
    """
    every = bytes(range(256)).decode(encoding, "replace")
    return encoding == "utf-8" or (len(every) == 256 and every[:128].encode() == bytes(range(128)))


def refuse_other_files(name: str, head: bytes, encoding: str) -> None:
    """Refuse a file that is no text with rows.

    Args:
        name: The file's name.
        head: Its first bytes, without a byte order mark.
        encoding: The encoding in which it would be read.

    Raises:
        SourceError: It is no text, not in this encoding, or a text of another kind.
    """
    start = head[:_LOOKED_AT].lstrip()
    for pattern, kind, hint in _OTHER_FILES:
        if re.match(pattern, start):
            raise SourceError(
                f"{name} is {kind}, expected CSV, Excel (.xlsx), Parquet or JSON lines",
                hint=hint.replace(_ALL, _list_in(head)) or "Export the sales as one of them.",
            )
    if encoding.startswith(("utf-16", "utf-32")) or b"\0" not in head:
        return
    if wide := _wide_encoding(head):
        raise SourceError(
            f"{name} is a text in {wide} without a byte order mark",
            hint=f"Write in the mapping: `source: {{csv: {{encoding: {wide}}}}}`.",
        )
    # A few NULs in a text are errors of single cells, whose rows are rejected.
    if head.count(b"\0") * _NULS_OF_BINARY > len(head) or not is_utf8(_whole_characters(head)):
        raise SourceError(
            f"{name} is a binary file (it holds NUL bytes), expected text", hint="Export the sales as CSV."
        )


def _list_in(head: bytes) -> str:
    """How jq names the first list of objects in a JSON document, as `.data[]`."""
    text = head.decode("utf-8", "replace")
    within: list[str] = []
    last = ""
    for found in re.finditer(r'"((?:[^"\\]|\\.)*)"|([\[{])(?=\s*(.?))|[\]}]', text):
        name, opening, inside = found.groups()
        if name is not None:
            last = name
        elif opening:
            within.append(last)
            if opening == "[" and inside == "{":
                named = (each if re.fullmatch(r"[A-Za-z_]\w*", each) else f'"{each}"' for each in within[1:])
                return f".{'.'.join(named)}[]"
        elif within:
            within.pop()
    return _ALL


def sniff_encoding(head: bytes, *, whole: bool) -> tuple[str, float]:
    """Guess the encoding of a text from its start, with a confidence from 0 to 1.

    A byte order mark and valid UTF-8 are as good as proof. Bytes that are not UTF-8 are nearly always
    Windows-1252 in exports of Western tills; Shift-JIS and Windows-1250 show by their letters. If some are
    not valid in that either, Latin-1 accepts all.
    """
    if bom := bom_of(head):
        return bom[1], 1.0
    if wide := _wide_encoding(head):
        return wide, 0.9
    if is_utf8(head if whole else _whole_characters(head)):
        return "utf-8", 1.0 if whole or not head.isascii() else 0.9
    return _eight_bit_encoding(head)


def _wide_encoding(head: bytes) -> str:
    """UTF-16 or UTF-32 by where its NUL bytes are; an empty text where they are not so."""
    head = head[:_LOOKED_AT]
    # Of most texts in UTF-32 three of four bytes are NUL, in UTF-16 every second one.
    quarters = [head[n::4].count(0) * 4 > 0.9 * len(head) for n in range(4)] if len(head) >= 8 else []
    if quarters in ([True, True, True, False], [False, True, True, True]):
        return "utf-32-be" if quarters[0] else "utf-32-le"
    for start, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
        # NUL are more than half of the bytes at these places, and hardly any of those at the others.
        if head and head[start::2].count(0) > len(head) // 4 > 4 * head[1 - start :: 2].count(0):
            return encoding
    return ""


_KANA: Final = re.compile("[\u3000-\u30ff\uff01-\uff5e]")
_KANJI: Final = re.compile("[\u4e00-\u9fff]")
# Letters of Windows-1250 that 1252 shows as signs, which stand within no word of a Western language.
_POLISH: Final = re.compile(r"(?i)[a-zó][¹³¿¼¾Ÿ]|[¹³¿¼¾Ÿ£¥¯][a-zó]")


def _eight_bit_encoding(head: bytes) -> tuple[str, float]:
    # Accents of Western texts make kanji of the letters behind them, but hardly ever kana.
    japanese = re.findall(r"[^\0-\x7f]", head.decode("cp932", "replace"))
    kana = sum(_KANA.match(character) is not None for character in japanese)
    kanji = sum(_KANJI.match(character) is not None for character in japanese)
    if 5 * kana > len(japanese) and kana + kanji > 0.9 * len(japanese):
        return "cp932", 0.7
    try:
        western = head.decode("cp1252")
    except UnicodeDecodeError:
        # Windows-1252 leaves five bytes undefined; Latin-1 has a character for every byte.
        return "latin-1", 0.3
    return ("cp1250", 0.5) if _POLISH.search(western) else ("cp1252", 0.6)


def is_utf8(data: bytes) -> bool:
    """Whether all of `data` is valid UTF-8."""
    # pyarrow checks it with SIMD, two to three times as fast as `bytes.decode`, and makes no copy. To cast it
    # would do as well, but takes an import of 30 ms.
    import pyarrow as pa

    offsets = pa.array([0, len(data)], pa.int64()).buffers()[1]
    array = pa.Array.from_buffers(pa.large_string(), 1, [None, offsets, pa.py_buffer(data)])
    try:
        array.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def cut_character(data: bytes) -> int:
    """How many bytes at the end of UTF-8 `data` are the start of a character that is cut off (0 to 3)."""
    for back in range(1, min(3, len(data)) + 1):
        # Only the first byte of a character of several bytes is 0xC0 or above.
        if data[-back] >= 0xC0:
            try:
                _, used = codecs.utf_8_decode(data[-back:], "strict", False)
            except UnicodeDecodeError:
                # The bytes are not the start of a character, so nothing is cut off.
                return 0
            return back - used
    return 0


def _whole_characters(data: bytes) -> bytes:
    """UTF-8 without a character that is cut off at its end."""
    return data[: len(data) - cut_character(data)]
