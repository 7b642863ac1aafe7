"""What was not imported, why, and the rows to fix.

A run's directory gets

- `quarantine/*.parquet` and `quarantine.csv`: one row a reason, for people and scripts; empty
  where there is no reason;
- `quarantine_rows.csv`: every source row of every rejected transaction, cell by cell as it was, in the
  source's own layout, so that it can be fixed and run with the same mapping. A mapping that reads several
  tables gets a directory `quarantine_rows` with one file a table, under names that its inputs match.

Each partition is written on its own and may be written again; `finish` joins the files for people. All files
are readable by their owner only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Final

import polars as pl
import pyarrow.parquet as pq

from pipeline.core.codes import Outcome
from pipeline.core.frames import QUARANTINE, without_marks
from pipeline.core.model import KEY, LINE, LINES, SOURCE, TX, WHITE_SPACE, Dialect, column_place
from pipeline.core.storage.directories import Directory, directory_at, read
from pipeline.core.storage.file_formats import COMPRESSED, FileFormat, matches
from pipeline.core.storage.files import open_private, private_dir
from pipeline.core.storage.partition_frames import RawTransactions
from pipeline.core.storage.partition_names import partition_name
from pipeline.core.text.safe_text import neutral
from pipeline.validation.outcomes import TransactionOutcomes

_REASONS: Final = "quarantine"
_ROWS_PARTS: Final = "quarantine_rows.parts"
"""The directory of the rows to fix, by partition; gone once they are put together."""
_SORTED_UP_TO: Final = 200_000
"""`quarantine.csv` is sorted by source and line up to this many reasons: all must fit in memory."""


@dataclass(frozen=True)
class RowsForm:
    """How the rows to fix are written, so that the same mapping reads them.

    Attributes:
        dialect: The mapping's CSV dialect. The encoding is always UTF-8 with a byte order mark, which
            overrules the mapping's.
        format: The only format that the mapping accepts; CSV where it accepts any.
        columns: The source's columns by table, in order; without them, those of the rows.
        names: For a mapping of several tables: the file name for each, which its inputs must match.
    """

    dialect: Dialect = field(default_factory=Dialect)
    format: FileFormat = "csv"
    columns: Mapping[str, Sequence[str]] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)

    def path(self, run: Path, table: str) -> Path:
        """The file for the rows of `table`."""
        if table == LINES:
            return run / f"quarantine_rows.{self.format}"
        return run / "quarantine_rows" / self.names.get(table, f"{table}.{self.format}")


def file_names(first: Mapping[str, str], inputs: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """File names for the rows to fix of several tables, such that the inputs of the mapping match them.

    Args:
        first: By table: the name or path of one of its files.
        inputs: By table: the globs of its files.

    Returns:
        By table: the name of that file, without the suffix of a compression where the globs allow that.
    """
    names = {}
    for table, path in first.items():
        name = PurePosixPath(path).name
        plain = name.removesuffix(PurePosixPath(name).suffix) if name.lower().endswith(COMPRESSED) else name
        names[table] = plain if any(matches(plain, glob) for glob in inputs[table]) else name
    return names


# ── One partition ────────────────────────────────────────────────────────────────────────────────────


def write_part(
    run: Directory, number: int, decided: TransactionOutcomes, shaped: RawTransactions, sources: Sequence[str]
) -> None:
    """Write one partition's part of the quarantine, in place of an earlier one.

    Args:
        run: The run's directory.
        number: The number of the partition.
        decided: Its outcomes and reasons; warnings are left out.
        shaped: Its source rows.
        sources: Names of the files; SOURCE is the position in it.
    """
    reasons = decided.reasons.filter(pl.col("outcome") != Outcome.WARNING.value)
    name = partition_name(number)
    _write_reasons(run, name, placed(reasons, decided.headers, shaped, sources), sources)
    rejected = decided.outcomes.filter(pl.col("outcome") == Outcome.REJECTED.value)
    for table, rows in _rows_of(rejected, shaped).items():
        _write_parquet(run / _ROWS_PARTS, f"{table}-{name}.parquet", rows)


def placed(
    reasons: pl.DataFrame, headers: pl.DataFrame, shaped: RawTransactions, sources: Sequence[str]
) -> pl.DataFrame:
    """Reasons with the transaction's `external_id`, and with the place and `raw` of its first row.

    Where another row of the transaction has the problem, the message names its line, and its file where that
    is another one.
    """
    first = headers.select(
        TX, "external_id", pl.col(SOURCE).alias("first source"), pl.col(LINE).alias("first line")
    )
    found = reasons.join(first, on=TX, how="left", maintain_order="left")
    elsewhere = pl.col("first source") != pl.col(SOURCE)
    message = (
        pl.when(elsewhere)
        .then(pl.format("{} ({} line {})", "message", _named(sources), LINE))
        .when(pl.col("first line") != pl.col(LINE))
        .then(pl.format("{} (line {})", "message", LINE))
        .otherwise("message")
    )
    found = found.with_columns_seq(
        without_marks(message).alias("message"),
        pl.coalesce("first source", SOURCE).alias(SOURCE),
        pl.coalesce("first line", LINE).alias(LINE),
    )
    return shaped.with_raw(found.drop("first source", "first line"))


def discard_part(run: Directory, number: int) -> None:
    """Remove one partition's part of the quarantine."""
    (run / _REASONS).remove(f"part-{partition_name(number)}.parquet")
    rows = run / _ROWS_PARTS
    for name in rows.names(f"*-{partition_name(number)}.parquet"):
        rows.remove(name)


def discard_rows(run: Directory) -> None:
    """Remove the rows to fix of all partitions."""
    (run / _ROWS_PARTS).discard()


def write_malformed(
    run: Directory, problems: pl.DataFrame, sources: Sequence[str], table: str = LINES
) -> None:
    """Write the rows of a table that could not be read; call it once for each table.

    Args:
        run: The run's directory.
        problems: One row each, as problems without a transaction; `raw` is the row's text.
        sources: Names of the files; SOURCE is the position in it.
        table: The table of the mapping that they belong to.
    """
    outcome = pl.lit(Outcome.REJECTED.value).alias("outcome")
    none = pl.lit(None, pl.String).alias("external_id")
    _write_reasons(run, f"malformed-{table}", problems.with_columns(outcome, none), sources)
    texts = problems.sort(SOURCE, LINE).select("raw")
    _write_parquet(run / _ROWS_PARTS, f"malformed-{table}.parquet", texts)


def quarantine_frame(reasons: pl.DataFrame, sources: Sequence[str]) -> pl.DataFrame:
    """Reasons with `outcome` and `external_id` as the contract's columns, in the order of the source."""
    ordered = reasons.sort(SOURCE, LINE, "code", maintain_order=True, nulls_last=True)
    return ordered.with_columns(_named(sources).alias("source"), pl.col(LINE).alias("line")).select(
        QUARANTINE
    )


def _named(sources: Sequence[str]) -> pl.Expr:
    return pl.col(SOURCE).replace_strict(dict(enumerate(sources)), default=None, return_dtype=pl.String)


def _write_reasons(run: Directory, name: str, reasons: pl.DataFrame, sources: Sequence[str]) -> None:
    _write_parquet(run / _REASONS, f"part-{name}.parquet", quarantine_frame(reasons, sources))


def _rows_of(rejected: pl.DataFrame, shaped: RawTransactions) -> dict[str, pl.DataFrame]:
    """All source rows of rejected transactions by table, in source order, repeats of a row included.

    Rows are found by the key of the rows that made the transaction, so that rows which the layout left out
    (a second header of one sale) are included; a row without a key is found by its file and line.
    """
    if rejected.is_empty():
        return {table: rows.clear() for table, rows in shaped.rows.items()}
    places = pl.concat(
        part.select(TX, SOURCE, LINE) for part in (shaped.headers, shaped.lines, shaped.payments)
    )
    places = places.filter(pl.col(TX).is_in(rejected[TX].implode())).select(SOURCE, LINE).unique()
    keys = pl.concat(
        rows.join(places, on=[SOURCE, LINE], how="semi").select(KEY) for rows in shaped.rows.values()
    ).drop_nulls()
    found = {}
    for table, rows in shaped.rows.items():
        keyless = rows.filter(pl.col(KEY).is_null()).join(places, on=[SOURCE, LINE], how="semi")
        keyed = rows.join(keys.unique(), on=KEY, how="semi")
        found[table] = pl.concat([keyed, keyless]).sort(SOURCE, LINE, maintain_order=True).drop(KEY)
    return found


# ── The whole run ────────────────────────────────────────────────────────────────────────────────────


def finish(run: Path, form: RowsForm, parts: Directory | None = None) -> list[Path]:
    """Write `quarantine.csv` and the rows to fix from the parts of all partitions, in bounded memory.

    Args:
        run: The run's directory, for what is written.
        form: How the rows to fix are written.
        parts: The run's directory, as partitions wrote to it; by default the same.

    Returns:
        The files with rows to fix; none where nothing was rejected.
    """
    parts = parts or directory_at(run)
    _write_csv(run, parts / _REASONS)
    rows = parts / _ROWS_PARTS
    tables = {name.rpartition("-")[0] for name in rows.names("*-[0-9]*.parquet")}
    broken = {name.removeprefix("malformed-"): name for name in rows.names("malformed-*.parquet")}
    broken = {name.removesuffix(".parquet"): file for name, file in broken.items()}
    written = []
    for table in sorted({*tables, *broken}):
        path = form.path(run, table)
        private_dir(path.parent)
        of_table = rows.names(f"{table}-[0-9]*.parquet")
        columns = form.columns.get(table) or _columns_seen(rows, of_table)
        unreadable = _parquet(read(rows, broken[table]))["raw"] if table in broken else None
        _write_rows(path, map(_parquet, rows.contents(of_table)), unreadable, columns, form)
        written.append(path)
    discard_rows(parts)
    return written


def _parquet(content: bytes) -> pl.DataFrame:
    return pl.read_parquet(content)


def _columns_seen(rows: Directory, parts: Sequence[str]) -> list[str]:
    names = dict.fromkeys(name for part in rows.contents(parts) for name in pl.read_parquet_schema(part))
    return [name for name in names if name not in (SOURCE, LINE)]


def _write_csv(run: Path, parts: Directory) -> None:
    empty = pl.DataFrame(schema={name: pl.Int64 if name == "line" else pl.String for name in QUARANTINE})
    names = parts.names("*.parquet")
    # An empty part, so that readers of all parts find the columns.
    if not names:
        _write_parquet(parts, "part-00000.parquet", empty, keep_empty=True)
    with open_private(run / "quarantine.csv") as file:
        empty.write_csv(file, quote_style="non_numeric")
        for reasons in _sorted_if_few(map(_parquet, parts.contents(names))):
            safe = reasons.with_columns(neutral(pl.col(pl.String)))
            safe.write_csv(file, include_header=False, quote_style="non_numeric")


def _sorted_if_few(parts: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """All reasons, sorted by source and line if there are few enough to hold them."""
    held: list[pl.DataFrame] = []
    for part in parts:
        held.append(part)
        if sum(each.height for each in held) > _SORTED_UP_TO:
            yield from held
            yield from parts
            return
    if held:
        by = ("source", "line", "outcome", "code")
        yield pl.concat(held).sort(by, maintain_order=True, nulls_last=True)


def _write_rows(
    path: Path,
    parts: Iterator[pl.DataFrame],
    broken: pl.Series | None,
    columns: Sequence[str],
    form: RowsForm,
) -> None:
    empty = pl.DataFrame(schema=dict.fromkeys(columns, pl.String))
    rows = (pl.concat([empty, part], how="diagonal").select(columns) for part in parts)
    with open_private(path) as file:
        if form.format == "parquet":
            with pq.ParquetWriter(file, empty.to_arrow().schema) as writer:
                for each in rows:
                    writer.write_table(each.to_arrow())
            return
        if form.format == "csv":
            _write_head(file, columns, form.dialect)
        for each in rows:
            if form.format == "csv":
                _write_lines(file, each.select(_record(columns, form.dialect)).to_series())
            else:
                each.write_ndjson(file)
        # Last, since an open quote in such a row would swallow the rows after it.
        if broken is not None:
            _write_lines(file, broken)


def _write_head(file: IO[bytes], columns: Sequence[str], dialect: Dialect) -> None:
    # The mapping skips so many lines above the header, so the file needs them too.
    file.write(b"\xef\xbb\xbf" + b"\n" * dialect.skip_lines)
    if dialect.header is True and columns and not dialect.positions:
        names = pl.DataFrame([columns], schema=list(columns), orient="row")
        _write_lines(file, names.select(_record(columns, dialect)).to_series())


def _write_lines(file: IO[bytes], lines: pl.Series) -> None:
    file.write("".join(f"{text}\n" for text in lines.drop_nulls().str.join("\n")).encode())


def _record(names: Sequence[str], dialect: Dialect) -> pl.Expr:
    """A row as one line of the source's dialect: a cell with text is quoted, and a blank one is empty."""
    if dialect.positions:
        return _fixed_width(names, dialect.positions)
    is_blank = dialect.delimiter == WHITE_SPACE
    blank = (dialect.quote or "") * 2 if is_blank else ""
    return pl.concat_str(
        [_cell(pl.col(name), dialect).fill_null(blank) for name in names],
        separator=" " if is_blank else dialect.delimiter or ",",
    )


def _fixed_width(names: Sequence[str], positions: Mapping[str, str]) -> pl.Expr:
    """A row as a line in which each cell has its place; cells of several kinds of rows may have the same."""

    def lines(cells: pl.Series) -> pl.Series:
        rows = cells.struct.unnest().with_columns(pl.lit("").alias("line"))
        for name in names:
            first, last = column_place(positions[name]) or (1, None)
            cell, line = pl.col(name), pl.col("line")
            if last is not None:
                cell = pl.concat_str(cell.str.pad_end(last - first + 1), line.str.slice(last))
            placed = pl.concat_str(line.str.slice(0, first - 1).str.pad_end(first - 1), cell)
            rows = rows.with_columns(pl.coalesce(placed, line).alias("line"))
        return rows["line"]

    return pl.struct(names).map_batches(lines, return_dtype=pl.String)


def _cell(text: pl.Expr, dialect: Dialect) -> pl.Expr:
    quote, escape = dialect.quote, dialect.escape
    if not quote:
        return text
    if escape:
        text = text.str.replace_all(escape, escape * 2, literal=True)
    inside = text.str.replace_all(quote, (escape or quote) + quote, literal=True)
    return pl.lit(quote) + inside + pl.lit(quote)


# ── Files ────────────────────────────────────────────────────────────────────────────────────────────


def _write_parquet(to: Directory, name: str, frame: pl.DataFrame, *, keep_empty: bool = False) -> None:
    if frame.is_empty() and not keep_empty:
        to.remove(name)
        return
    with to.writing(name) as file:
        pq.write_table(frame.to_arrow(compat_level=pl.CompatLevel.oldest()), file, compression="zstd")
