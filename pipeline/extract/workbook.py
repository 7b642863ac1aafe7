"""What an .xlsx file says about its sheets besides the values of cells, read from its XML as a stream.

The library that reads the values gives nothing for a formula error, does not say which rows are hidden, and
takes memory for the whole rectangle that the cells span, so that one stray cell could take all there is.
"""

from __future__ import annotations

import posixpath
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Final
from xml.etree import ElementTree as Xml

_BLOCK_BYTES: Final = 1 << 20
BOOK: Final = "xl/workbook.xml"
_STYLES: Final = "xl/styles.xml"
_RELATIONS: Final = "xl/_rels/workbook.xml.rels"

# A tag is found by a text that few others have, which is fast, and then looked at.
_ERRORS: Final = ((b't="e"', b"t='e'"), re.compile(rb"<(?:\w+:)?c\s"))
_HIDDEN: Final = ((b"hidden=",), re.compile(rb"""<(?:\w+:)?row\s[^>]*\bhidden=["'](?:1|true)["']"""))
_MERGED: Final = ((b"mergeCell ",), re.compile(rb"<(?:\w+:)?mergeCell\s"))

_FORMULAS: Final = (b"<f>", b"<f ", b":f>", b":f ")
_TO_COMPUTE: Final = b'fullCalcOnLoad="1"'
"""In a workbook with formulas that a program wrote without results; Excel computes them at opening."""
_ROW: Final = re.compile(rb"""row\s[^>]*?\br=["'](\d+)["']""")
_CELL: Final = re.compile(rb"""\sr=["']([A-Z]+)(\d+)["']""")
# A cell that ends with `/>` is empty.
_FILLED: Final = re.compile(rb"""\sr=["']([A-Z]{1,3})(\d+)["'](?:[^>]*[^/>])?>""")
_LETTERS: Final = {n: re.compile(rb"""r=["'][A-Z]{%d}\d""" % n) for n in (3, 2)}
_RANGE: Final = re.compile(rb"""\sref=["']([A-Z]+(\d+):\w+)["']""")
_VALUE: Final = re.compile(rb"<(?:\w+:)?v>([^<]*)<")
_HAS_VALUE: Final = re.compile(rb"<(?:\w+:)?(?:v|is)>")


@dataclass(frozen=True)
class SheetPart:
    """A sheet of a workbook.

    Attributes:
        name: Its name.
        part: The file in the archive.
        visible: Whether Excel shows its tab.
    """

    name: str
    part: str
    visible: bool


@dataclass(frozen=True)
class SheetFacts:
    """What a sheet's XML says.

    Attributes:
        errors: By row and column, both from 1: the formula error that the cell shows.
        hidden: The rows that are hidden.
        merged: The ranges of merged cells, each with its first row and as in `A2:A5`.
        rows: The last row that is written.
        columns: No cell stands to the right of so many columns.
        zeros: By column, from 1: a number format of nothing but zeros, as in `00000`, of the first cells.
        computed: Whether Excel has computed the formulas; other programs may leave them without a result.
    """

    errors: dict[int, dict[int, str]]
    hidden: list[int]
    merged: list[tuple[int, str]]
    rows: int
    columns: int
    zeros: dict[int, str]
    computed: bool


def sheet_parts(archive: zipfile.ZipFile) -> list[SheetPart]:
    """The sheets of a workbook in the order of their tabs.

    Raises:
        KeyError, ValueError: It is no workbook, or a damaged one.
    """
    targets = {each.get("Id"): each.get("Target", "") for each in _parsed(archive, _RELATIONS)}
    found = []
    for sheet in _parsed(archive, BOOK).iterfind("{*}sheets/{*}sheet"):
        relation = next((value for name, value in sheet.items() if name.endswith("}id")), "")
        part = posixpath.normpath(posixpath.join("/xl", targets.get(relation, ""))).lstrip("/")
        found.append(SheetPart(sheet.get("name", ""), part, sheet.get("state", "visible") == "visible"))
    return found


def _parsed(archive: zipfile.ZipFile, part: str) -> Xml.Element:
    try:
        return Xml.fromstring(archive.read(part))  # noqa: S314 (expat itself limits what entities may take)
    except Xml.ParseError as error:
        raise ValueError(f"{part} is no XML: {error}") from error


def has_values(archive: zipfile.ZipFile, part: str) -> bool:
    """Whether any cell of a sheet has a value; mostly the first block shows it."""
    with archive.open(part) as stream:
        return any(_HAS_VALUE.search(block) for block in _blocks(stream))


def sheet_facts(archive: zipfile.ZipFile, part: str) -> SheetFacts:
    """Read what a sheet's XML says; `columns` may be more than there are, see `extent`."""
    errors: dict[int, dict[int, str]] = {}
    hidden: list[int] = []
    merged: list[tuple[int, str]] = []
    zeros: dict[int, str] = {}
    rows, letters, formulas = 0, 1, False
    with archive.open(part) as stream:
        for block in _blocks(stream):
            for start, _ in _tags(block, *_ERRORS):
                row, column, error = _formula_error(block, start)
                errors.setdefault(row, {})[column] = error
            hidden += [int(place[1]) for _, tag in _tags(block, *_HIDDEN) if (place := _ROW.search(tag))]
            merged += [
                (int(area[2]), area[1].decode())
                for _, tag in _tags(block, *_MERGED)
                if (area := _RANGE.search(tag))
            ]
            # Columns are formatted as a whole, so that the first block shows it.
            zeros = zeros if rows else _padded(block, _zero_styles(archive))
            rows = max([rows, *map(int, _ROW.findall(block))])
            formulas = formulas or any(mark in block for mark in _FORMULAS)
            letters = max(letters, next((n for n, seen in _LETTERS.items() if seen.search(block)), 1))
    computed = not (formulas and _TO_COMPUTE in archive.read(BOOK))
    return SheetFacts(
        errors=errors,
        hidden=hidden,
        merged=merged,
        rows=rows,
        columns=_column("Z" * letters),
        zeros=zeros,
        computed=computed,
    )


def _zero_styles(archive: zipfile.ZipFile) -> dict[str, str]:
    """By the number of a cell's style: a number format of nothing but zeros."""
    if _STYLES not in archive.namelist():
        return {}
    styles = _parsed(archive, _STYLES)
    formats = {
        each.get("numFmtId"): each.get("formatCode", "") for each in styles.iterfind("{*}numFmts/{*}numFmt")
    }
    used = (formats.get(each.get("numFmtId"), "") for each in styles.iterfind("{*}cellXfs/{*}xf"))
    return {str(n): code for n, code in enumerate(used) if re.fullmatch("0{2,}", code)}


def _padded(block: bytes, styles: Mapping[str, str]) -> dict[int, str]:
    found: dict[int, str] = {}
    for style, code in styles.items():
        for _, tag in _tags(block, (f's="{style}"'.encode(),), _ERRORS[1]):
            if (place := _CELL.search(tag)) and b"t=" not in tag:  # texts keep their zeros
                found.setdefault(_column(place[1].decode()), code)
    return found


def extent(archive: zipfile.ZipFile, part: str) -> tuple[int, int]:
    """The last row and the last column in which a cell of a sheet is filled: slower than `sheet_facts`."""
    rows, columns = 0, set()
    with archive.open(part) as stream:
        for block in _blocks(stream):
            for column, row in _FILLED.findall(block):
                columns.add(column)
                rows = max(rows, int(row))
    return rows, max((_column(name.decode()) for name in columns), default=0)


def column_name(number: int) -> str:
    """The letters by which Excel names a column, counted from 1."""
    letters = ""
    while number:
        number, rest = divmod(number - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters


def ranges(numbers: Iterable[int], shown: int = 5) -> str:
    """Ascending numbers in short, as in `4, 7–9, …`."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][1] == number - 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    texts = [str(first) if first == last else f"{first}–{last}" for first, last in runs[:shown]]
    return ", ".join([*texts, *(["…"] if len(runs) > shown else [])])


def _column(letters: str) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + ord(letter) - ord("A") + 1
    return number


def _blocks(stream: IO[bytes]) -> Iterator[bytes]:
    """Blocks that end with a cell or another tag, so that no cell is cut in two."""
    carry = b""
    while block := stream.read(_BLOCK_BYTES):
        data = carry + block
        end = max(data.rfind(b"c>") + 2, 0)
        if end < 2:
            end = data.rfind(b">") + 1
        yield data[:end]
        carry = data[end:]
    yield carry


def _tags(block: bytes, marks: Iterable[bytes], kind: re.Pattern[bytes]) -> Iterator[tuple[int, bytes]]:
    """The tags of a kind that hold one of the marks, each with its place."""
    for mark in marks:
        at = block.find(mark)
        while at >= 0:
            start = block.rfind(b"<", 0, at)
            tag = block[start : block.find(b">", start) + 1]
            if len(tag) > at - start and kind.match(tag):
                yield start, tag
            at = block.find(mark, at + 1)


def _formula_error(block: bytes, start: int) -> tuple[int, int, str]:
    """Row, column and value of the cell with a formula error that begins here."""
    place = _CELL.search(block, start, block.find(b">", start))
    if place is None:
        raise ValueError("a formula error stands in a cell without a reference")
    end = block.find(b"c>", start)
    value = _VALUE.search(block, start, end if end >= 0 else len(block))
    error = value[1].decode(errors="replace") if value else "an error"
    return int(place[2]), _column(place[1].decode()), error
