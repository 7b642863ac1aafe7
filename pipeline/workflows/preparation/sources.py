"""The files of a run: which table each belongs to, which columns there are, and their raw rows."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Final

import numpy as np
import polars as pl

from pipeline.core.errors import SourceError
from pipeline.core.frames import QUARANTINE
from pipeline.core.model import LINE, LINES, LOST, SOURCE, Lost
from pipeline.core.storage.file_formats import DATA_GLOBS, matches
from pipeline.extract.csv_reader import CsvReader
from pipeline.extract.excel_reader import ExcelReader
from pipeline.extract.jsonl_reader import JsonLinesReader
from pipeline.extract.readers import open_reader
from pipeline.extract.rows import Batch, Reader, without_empty_rows
from pipeline.extract.source_files import SourceFile, find_sources, is_directory, refuse_empty
from pipeline.extract.text_ranges import RecordStart, TextRange
from pipeline.mapping.compile.own_cells import DefinedKeys, SkippedRows
from pipeline.mapping.language.spec import MappingSpec
from pipeline.mapping.layout.row_keys import CarriedKey, carries_keys, carry_down, with_key
from pipeline.mapping.usage.used_columns import key_cells


@dataclass(frozen=True)
class RunSource:
    """A file of the run.

    Attributes:
        file: The file.
        table: The mapping's table that it is part of.
        position: Its place in the run's list of files; rows name it in SOURCE.
        header: Its header as it stands in the file, once that was looked at.
        rows: Which of its rows are read: of Parquet counted from 0, of a text file as a range; None for all.
        starts: Where blocks of its lines begin, once that was looked at.
        fingerprint: That of the file, once all of it was read.
        held_bytes: What its rows take in memory all at once, where they cannot be read in parts.
    """

    file: SourceFile
    table: str
    position: int
    header: tuple[str, ...] | None = None
    rows: range | TextRange | None = None
    starts: tuple[RecordStart, ...] = ()
    fingerprint: str | None = None
    held_bytes: int = 0


_OPENED_AHEAD: Final = 4
"""Files of a store that are opened before it is their turn; each holds some megabytes."""

_TOGETHER: Final = 64
"""Small files that are read at a time; each is open until then."""

_SMALL_BYTES: Final = 1 << 20
"""Text of files that are parsed together; in larger files the fixed cost of each does not matter."""

_Opened = tuple[RunSource, Reader]

OnEnd = Callable[[RunSource, str | None], None]
"""Gets the fingerprint of every file whose rows were read, where reading them gave it."""

OnBatch = Callable[[RunSource, Batch, int], None]
"""Gets every batch as it was read, and how many of its rows are left out: blank, a header again, by rule."""

Choose = Callable[[Sequence[SourceFile], Sequence[SourceFile]], Sequence[SourceFile]]
"""Gets the files with transactions and the look-up tables; gives those of the former to be read."""


def take_all(files: Sequence[SourceFile], _lookups: Sequence[SourceFile]) -> Sequence[SourceFile]:
    """Choose every file."""
    return files


def find_run_sources(
    spec: MappingSpec, arguments: Sequence[str], choose: Choose = take_all
) -> tuple[list[RunSource], list[SourceFile], list[SourceFile]]:
    """The files that SOURCE names: those with transactions, each with its table, and the look-up tables.

    Third come files with data that lie right in the directory that it names, and that no glob matches.

    Args:
        spec: The mapping.
        arguments: Files, globs or one directory.
        choose: Which of the files with transactions are read.

    Raises:
        NothingNew: None of them was chosen.
        SourceError: A file cannot be read, or belongs to none of the mapping's tables; a table has no file.
    """
    tables = {str(name): table.inputs for name, table in spec.source.tables.items()}
    lookups = [table.file for table in spec.lookups.values() if table.from_ == "source"]
    globs = [glob for inputs in tables.values() for glob in inputs] or [*spec.source.inputs]
    found = find_sources(arguments, [*globs, *lookups])
    looked_up = [file for file in found if _matches(file, lookups)]
    mapped = choose([file for file in found if file not in looked_up], looked_up)
    refuse_empty([*mapped, *looked_up])
    sources = [RunSource(file, _table_of(file, tables), n) for n, file in enumerate(mapped)]
    with_files = {each.table for each in sources}
    for name, table in spec.source.tables.items():
        if name not in with_files and not table.optional:
            raise SourceError(
                f"No file for the table `{name}` was given; looked for {', '.join(table.inputs)}.",
                hint="Name its files too, or say `optional: true` for it in the mapping.",
            )
    if not sources:
        raise SourceError("Only look-up tables were given, and no file with transactions.")
    elsewhere = [table.file for table in spec.lookups.values() if table.from_ != "source"]
    beside = [file for file in _beside(arguments, found) if not _matches(file, elsewhere)]
    return sources, looked_up, beside


def _beside(arguments: Sequence[str], found: Sequence[SourceFile]) -> list[SourceFile]:
    """The files with data right in the directory that SOURCE names, other than those that were found."""
    if len(arguments) != 1 or not is_directory(arguments[0]):
        return []
    known = {file.uri for file in found}
    try:
        return [file for file in find_sources(arguments, DATA_GLOBS) if file.uri not in known]
    except SourceError:
        # These files only serve a notice, so one that cannot be read is left out.
        return []


def _matches(file: SourceFile, globs: Sequence[str]) -> bool:
    return any(matches(PurePosixPath(file.uri).name, glob) for glob in globs)


def _table_of(file: SourceFile, tables: Mapping[str, Sequence[str]]) -> str:
    if not tables:
        return LINES
    found = [name for name, globs in tables.items() if _matches(file, globs)]
    if len(found) == 1:
        return found[0]
    known = "; ".join(f"{name}: {', '.join(globs)}" for name, globs in tables.items())
    what = f"matches several tables ({', '.join(found)})" if found else "matches none of the mapping's tables"
    raise SourceError(f"{file.name} {what}.", hint=f"Rename it, or fix `inputs` in the mapping. {known}")


def columns_by_table(
    sources: Sequence[RunSource], spec: MappingSpec
) -> tuple[list[RunSource], dict[str, list[str]], list[str]]:
    """The files with their headers, the columns of each table, and what to know about their names.

    Raises:
        SourceError: A file cannot be read, or no file of a table has a column.
    """
    columns: dict[str, list[str]] = {}
    notices: list[str] = []
    looked_at: list[RunSource] = []

    def open_header(each: RunSource) -> Reader:
        form = spec.source
        reader = open_reader(each.file, form.csv, form.format, form.excel, only_header=True)
        reader.close()
        return reader

    for each, reader in _opened(sources, open_header):
        name = each.file.name
        looked_at.append(_with_look(each, reader))
        if not reader.columns:
            notices.append(_NO_MEMBER.format(name))
            continue
        # Compared as text: read with another delimiter, the header is one name. By its first columns: what
        # another version wrote may have fewer or more of them.
        if ",".join(reader.columns).startswith(",".join([*QUARANTINE[:5], ""])):
            raise SourceError(
                f"{name} lists what a run did not import, and why; it holds no transactions.",
                hint="Fix `quarantine_rows.csv` of the same run instead, and import that.",
            )
        known = columns.setdefault(each.table, list(reader.columns))
        if delimiter := _delimiter_in(reader.header):
            notices.append(f"{name} has one column. Write `source: {{csv: {{delimiter: {delimiter}}}}}`.")
        notices += [f"{name}: {notice}" for notice in reader.notices]
        if lacking := [column for column in known if column not in reader.columns]:
            notices.append(f"{name} has no {', '.join(lacking)}, which other files of the run have")
        if adding := [column for column in reader.columns if column not in known]:
            notices.append(f"{name} has {', '.join(adding)}, which files before it have not")
        known += adding
    for each in sources:
        if each.table not in columns:
            raise SourceError(_NO_MEMBER.format(each.file.name))
    return looked_at, columns, notices


def _with_look(source: RunSource, reader: Reader) -> RunSource:
    """The file with what looking at its header has shown; all of JSON lines was read for that."""
    found = replace(source, header=tuple(reader.header))
    if isinstance(reader, JsonLinesReader):
        found = replace(found, starts=tuple(reader.starts), fingerprint=reader.fingerprint)
    if isinstance(reader, ExcelReader):
        found = replace(found, held_bytes=reader.held_bytes)
    return found


_DELIMITERS: Final = {";": '";"', "\t": '"\\t"', "|": '"|"', ",": '","'}
"""What often separates cells, and how YAML writes it."""


def _delimiter_in(header: Sequence[str]) -> str:
    """The delimiter of a header that was read as a single name; empty where there is none."""
    found = max(_DELIMITERS, key=header[0].count)
    return _DELIMITERS[found] if len(header) == 1 and found in header[0] else ""


_NO_MEMBER: Final = "{} has no JSON object with a member on any line"


def _opened(
    sources: Sequence[RunSource], opened: Callable[[RunSource], Reader]
) -> Iterator[tuple[RunSource, Reader]]:
    """Open files, in order; those in a store several at a time, since each answer has to be waited for."""
    if not any(each.file.is_remote for each in sources):
        yield from ((each, opened(each)) for each in sources)
        return
    waiting: deque[tuple[RunSource, Future[Reader]]] = deque()
    with ThreadPoolExecutor(_OPENED_AHEAD, thread_name_prefix="source") as pool:
        try:
            for each in sources:
                waiting.append((each, pool.submit(opened, each)))
                if len(waiting) > _OPENED_AHEAD:
                    first, reader = waiting.popleft()
                    yield first, reader.result()
            while waiting:
                first, reader = waiting.popleft()
                yield first, reader.result()
        finally:
            for _, reader in waiting:
                # Files that were opened ahead are not needed any more.
                if not reader.cancel() and not reader.exception():
                    reader.result().close()


def raw_rows(
    sources: Sequence[RunSource],
    spec: MappingSpec,
    on_batch: OnBatch,
    on_end: OnEnd = lambda _source, _fingerprint: None,
) -> Iterator[tuple[str, pl.DataFrame]]:
    """The table and the rows of each batch with SOURCE and KEY, file by file.

    Rows that are no records, or that the mapping leaves out, are left out. Where rows were malformed, the
    frame has LOST: a row for each of them, with SOURCE, LINE, and KEY where its key is known, so that it
    meets the other rows of its sale.

    Raises:
        SourceError: A file cannot be read on.
    """

    def open_rows(each: RunSource) -> Reader:
        form = spec.source
        return open_reader(each.file, form.csv, form.format, form.excel, header=each.header, rows=each.rows)

    for some in _groups(_opened(sources, open_rows), spec):
        rows = _parsed_together(some)
        if rows is None:
            for each, reader in some:
                yield from _rows_of(each, reader, spec, on_batch)
        else:
            yield from _rows_of_several(some, rows, spec, on_batch)
        for each, reader in some:
            on_end(each, reader.fingerprint or each.fingerprint)


def _rows_of(
    each: RunSource, reader: Reader, spec: MappingSpec, on_batch: OnBatch
) -> Iterator[tuple[str, pl.DataFrame]]:
    keyed = KeyedRows(spec, each.table)
    for batch in reader.batches():
        records = without_empty_rows(batch.rows, reader, keyed.cells, spec.source.nulls)
        lost = _with_lost(records, batch.malformed, reader, keyed.cells, spec)
        rows, skipped = keyed.add(with_source(lost, each.position))
        on_batch(each, batch, batch.blank + batch.rows.height - records.height + skipped)
        if rows.height:
            yield each.table, rows


def _groups(opened: Iterator[_Opened], spec: MappingSpec) -> Iterator[list[_Opened]]:
    """The files one by one, but for small CSV files with the same header, which are parsed together."""
    waiting: list[_Opened] = []
    size = 0
    try:
        for each, reader in opened:
            own = reader.head_bytes if isinstance(reader, CsvReader) else _SMALL_BYTES
            fits = len(waiting) < _TOGETHER and max(own, size) < _SMALL_BYTES
            if waiting and not (fits and _are_alike(waiting[-1], (each, reader), spec)):
                yield waiting
                waiting, size = [], 0
            waiting.append((each, reader))
            size += own
        if waiting:
            yield waiting
    finally:
        for _, reader in waiting:
            reader.close()


def _are_alike(one: _Opened, other: _Opened, spec: MappingSpec) -> bool:
    """Whether the rows of two files can be read as if they were in one."""
    if one[0].table != other[0].table or carries_keys(spec):
        return False
    return (one[1].columns, one[1].header) == (other[1].columns, other[1].header)


def _parsed_together(some: Sequence[_Opened]) -> pl.DataFrame | None:
    """The rows of several files with SOURCE; None of a single one, or where they need a closer look."""
    readers = [reader for _, reader in some if isinstance(reader, CsvReader)]
    if len(readers) < 2 or (found := readers[0].together(readers[1:])) is None:
        return None
    rows, heights = found
    positions = np.repeat(np.array([each.position for each, _ in some], np.uint32), heights)
    return rows.with_columns(pl.Series(SOURCE, positions))


def _rows_of_several(
    some: Sequence[_Opened], rows: pl.DataFrame, spec: MappingSpec, on_batch: OnBatch
) -> Iterator[tuple[str, pl.DataFrame]]:
    table, reader = some[0][0].table, some[0][1]
    keyed = KeyedRows(spec, table)
    kept, _ = keyed.add(without_empty_rows(rows, reader, keyed.cells, spec.source.nulls))
    read, left = (dict(frame[SOURCE].value_counts().iter_rows()) for frame in (rows, kept))
    start = 0
    for each, _ in some:
        height = read.get(each.position, 0)
        on_batch(each, Batch(rows[start : start + height]), height - left.get(each.position, 0))
        start += height
    if kept.height:
        yield table, kept


def with_source(rows: pl.DataFrame, position: int) -> pl.DataFrame:
    """The rows of the file at this position with SOURCE."""
    return rows.with_columns(pl.lit(position, pl.UInt32).alias(SOURCE))


class KeyedRows:
    """Gives rows their KEY, batch by batch: those of one file, or of several where none takes it from above.

    Args:
        spec: The mapping.
        table: The mapping's table that they are part of.

    Attributes:
        cells: The columns that the key is made of.
    """

    def __init__(self, spec: MappingSpec, table: str) -> None:
        self._spec = spec
        self._key = spec.source.file_key_of(table)
        self._defined = DefinedKeys(spec, self._key)
        self._skipped = SkippedRows(spec)
        self._carried: CarriedKey | None = None
        self.cells = key_cells(spec, self._key)

    def add(self, rows: pl.DataFrame) -> tuple[pl.DataFrame, int]:
        """The next rows, which have SOURCE, with KEY, and with a blank key filled where it is carried down.

        The rows that the mapping leaves out are left out, and the number of these is given as well. They
        still give their key to the rows below: those would otherwise become part of the sale above.
        """
        rows, self._carried = carry_down(self._skipped.marked(rows), self._spec, self._carried)
        rows, skipped = self._skipped.left_out(rows)
        if rows.is_empty():
            return rows, skipped
        keyed = with_key(self._defined.added(rows), self._key, self._spec)
        return self._defined.without(keyed), skipped


def _with_lost(
    rows: pl.DataFrame, malformed: pl.DataFrame, reader: Reader, key: Sequence[str], spec: MappingSpec
) -> pl.DataFrame:
    """Add a row for each malformed one (see LOST), with no cells but those of its key."""
    if malformed.is_empty():
        return rows
    records = spec.source.records
    names = [*key, *([records.column] if records else [])]
    places = {name: reader.columns.index(name) for name in names if name in reader.columns}
    split = [reader.cells(raw) for raw in malformed["raw"]]
    wide = [all(places.get(name, len(cells)) < len(cells) for name in names) for cells in split]
    lost = malformed.select(LINE).with_columns(
        pl.Series(LOST, [Lost.KEYED if each else Lost.UNKEYED for each in wide], pl.UInt8),
        *(
            pl.Series(name, [c[at] if ok else None for c, ok in zip(split, wide, strict=True)], pl.String)
            for name, at in places.items()
        ),
    )
    return pl.concat([rows, lost], how="diagonal").sort(LINE, maintain_order=True)
