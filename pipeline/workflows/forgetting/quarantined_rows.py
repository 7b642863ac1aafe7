"""One person's transactions in the quarantine of a run: the reasons, and the rows kept to be fixed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Final

import polars as pl

from pipeline.core.errors import ImportToolError
from pipeline.core.model import KEY, LINE, LINES, SOURCE
from pipeline.core.storage import parquet
from pipeline.core.storage.file_formats import matches
from pipeline.core.storage.files import replacing, write_private
from pipeline.extract.framing import Positions, line_ends
from pipeline.extract.jsonl_reader import newlines
from pipeline.extract.readers import format_of
from pipeline.extract.rows import Batch
from pipeline.extract.source_files import SourceFile
from pipeline.mapping.language.mapping_file import read_mapping
from pipeline.mapping.language.spec import MappingSpec
from pipeline.mapping.layout.raw_transactions import without_lost
from pipeline.mapping.usage.visitor import LocatedValue, plain_names, roots, walk
from pipeline.staging.manifest import Manifest
from pipeline.staging.workdir import RunDir
from pipeline.validation import quarantine
from pipeline.workflows.forgetting.person_name import NOT_OF_PEOPLE, PersonName, without_values_of
from pipeline.workflows.preparation.sources import RunSource, raw_rows

_HEAD_BYTES: Final = 64
_OF_PERSON: Final = "of_person"
_PLACES: Final = {SOURCE: pl.UInt32, LINE: pl.Int64, KEY: pl.UInt64, _OF_PERSON: pl.Boolean}


@dataclass(frozen=True)
class QuarantinedRows:
    """What the quarantine of a run holds of one person.

    Attributes:
        run: The run.
        manifest: Its manifest, with the mapping by which its rows are read.
        person: The person.
    """

    run: RunDir
    manifest: Manifest
    person: PersonName

    def count_reasons(self) -> int:
        """How many reasons are about their transactions."""
        return sum(reasons.filter(self._is_about(reasons)).height for _, reasons in self._reasons())

    def count_rows(self) -> int:
        """How many rows to fix are of their transactions."""
        return sum(int(rows[_OF_PERSON].sum()) for _, rows in self._rows())

    def remove(self) -> None:
        """Remove both."""
        for path, rows in self._rows():
            _remove_rows(path, rows)
        for path, reasons in self._reasons():
            about = self._is_about(reasons)
            if reasons.select(about.any()).item():
                _rewrite(path, reasons.filter(~about))
        if self.run.quarantine.exists():
            quarantine.finish(self.run.path, quarantine.RowsForm())

    def _reasons(self) -> Iterator[tuple[Path, pl.DataFrame]]:
        return ((path, parquet.read(path)) for path in sorted(self.run.quarantine.glob("*.parquet")))

    def _is_about(self, reasons: pl.DataFrame) -> pl.Expr:
        """Whether this reason, or another one of the same transaction, names the person."""
        person = self.person
        of_id = pl.col("field").str.extract(r"([^.]+)$").is_in(sorted(NOT_OF_PEOPLE)).fill_null(value=False)
        in_field = (person.within("value") | person.within("message")) & ~of_id
        raw = without_values_of(pl.col("raw"), self._id_columns)
        names = in_field | raw.str.contains(person.pattern).fill_null(value=False)
        named = reasons.filter(names)["external_id"].drop_nulls()
        return names | pl.col("external_id").is_in(named.implode()).fill_null(value=False)

    @cached_property
    def _spec(self) -> MappingSpec | None:
        """The mapping; None where this version cannot read it any more."""
        try:
            path, text = Path(self.manifest.mapping["path"]), self.manifest.mapping_text.encode()
            return read_mapping(path, text).spec
        except ImportToolError:
            return None

    @cached_property
    def _id_columns(self) -> frozenset[str]:
        """Columns of the source that only name a sale, an item, a place or a product, as far as is known."""
        if self._spec is None:
            return frozenset()
        sites: dict[bool, list[LocatedValue]] = {True: [], False: []}
        for site in roots(self._spec):
            of_id = site.location[0] in ("transaction", "items") and site.location[1] in NOT_OF_PEOPLE
            sites[of_id].append(site)
        ids = {*self._spec.source.key, *_columns_in(sites[True], self._spec)}
        return frozenset(ids - set(_columns_in(sites[False], self._spec)))

    def _rows(self) -> list[tuple[Path, pl.DataFrame]]:
        """For each file of rows to fix: LINE of each row, and whether it is `of_person`.

        Such a row names the person, or belongs to the same transaction as one that does. A file that cannot
        be read any more is theirs as a whole.
        """
        run = self.run.path
        globs = (run.glob("quarantine_rows*/*"), run.glob("quarantine_rows.*"))
        paths = [path for found in globs for path in sorted(found) if path.is_file()]
        if not paths:
            return []
        try:
            rows = None if self._spec is None else self._read(paths, self._spec)
        except ImportToolError:
            rows = None
        if rows is None:
            whole = pl.DataFrame({LINE: [1], _OF_PERSON: [True]})
            return [(path, whole) for path in paths]
        return [(path, rows.filter(pl.col(SOURCE) == n)) for n, path in enumerate(paths)]

    def _read(self, paths: Sequence[Path], spec: MappingSpec) -> pl.DataFrame:
        found = [pl.DataFrame(schema=_PLACES)]

        def add_malformed(each: RunSource, batch: Batch, _skipped: int) -> None:
            malformed = batch.malformed.select(
                pl.lit(each.position, pl.UInt32).alias(SOURCE),
                LINE,
                pl.lit(None, pl.UInt64).alias(KEY),
                self.person.within("raw").alias(_OF_PERSON),
            )
            found.append(malformed)

        files = [SourceFile(str(path), path.name, path.stat().st_size) for path in paths]
        inputs = [RunSource(file, _table_of(file.name, spec), n) for n, file in enumerate(files)]
        for table, rows in raw_rows(inputs, spec, add_malformed):
            good, _ = without_lost({table: rows})
            texts = [name for name in rows.select(pl.col(pl.String)).columns if name not in self._id_columns]
            of_person = self.person.within(*texts) if texts else pl.lit(value=False)
            found.append(good[table].select(SOURCE, LINE, KEY, of_person.alias(_OF_PERSON)))
        places = pl.concat(found)
        keys = places.filter(_OF_PERSON)[KEY].drop_nulls()
        of_same_sale = pl.col(KEY).is_in(keys.implode()).fill_null(value=False)
        return places.with_columns(pl.col(_OF_PERSON) | of_same_sale).sort(SOURCE, LINE)


def _columns_in(sites: Iterable[LocatedValue], spec: MappingSpec) -> Iterator[str]:
    """Columns that values name, directly or by what the mapping defines; not those within SQL."""
    for site in sites:
        for inner in walk(site):
            for name in plain_names(inner.value):
                if name in spec.define:
                    yield from _columns_in(
                        [LocatedValue(("define", name), spec.define[name], inner.scope)], spec
                    )
                else:
                    yield name


def _table_of(name: str, spec: MappingSpec) -> str:
    for table, entry in spec.source.tables.items():
        if any(matches(name, glob) for glob in entry.inputs):
            return str(table)
    return LINES


def _remove_rows(path: Path, rows: pl.DataFrame) -> None:
    """Remove a person's rows from a file; the file too, where no others are left."""
    if not rows[_OF_PERSON].any():
        return
    if rows[_OF_PERSON].all():
        path.unlink()
        return
    content = path.read_bytes()
    # The name may say something else: a mapping of several tables gives it.
    form = format_of(SourceFile(str(path), path.name, len(content)), content[:_HEAD_BYTES])
    if form == "parquet":
        numbers = rows.filter(_OF_PERSON)[LINE]
        table = parquet.read(path).with_row_index("row", offset=1)
        _rewrite(path, table.filter(~pl.col("row").is_in(numbers.implode())).drop("row"))
    else:
        ends = newlines(content) if form == "jsonl" else line_ends(content)
        write_private(path, _without_lines(content, ends, rows))


def _rewrite(path: Path, rows: pl.DataFrame) -> None:
    """Put rows in place of a file, or remove it where none are left."""
    if rows.is_empty():
        path.unlink()
        return
    with replacing(path) as file:
        rows.write_parquet(file)


def _without_lines(content: bytes, ends: Positions, rows: pl.DataFrame) -> bytes:
    """The text without a person's rows. A row may have several lines: it ends where the next one starts."""
    line_starts = [0, *(ends + 1)]
    starts = [*(line_starts[line - 1] for line in rows[LINE]), len(content)]
    kept = [content[: starts[0]]]  # the header
    for (start, end), remove in zip(pairwise(starts), rows[_OF_PERSON], strict=True):
        kept += [] if remove else [content[start:end]]
    return b"".join(kept)
