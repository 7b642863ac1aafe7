"""Helpers for tests of layouts and values: a mapping as YAML, rows as CSV text, and what comes out."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from textwrap import dedent

import polars as pl

from pipeline.core.model import KEY, LINE, SOURCE
from pipeline.core.storage.partition_frames import MappedTransactions, RawTransactions
from pipeline.mapping.compile.compiled_mapping import CompiledMapping
from pipeline.mapping.compile.compiler import examine
from pipeline.mapping.language.mapping_file import read_mapping
from pipeline.mapping.language.source_map import Issue
from pipeline.mapping.language.spec import MappingSpec
from pipeline.mapping.layout.raw_transactions import build_transactions
from pipeline.mapping.layout.row_keys import carry_down, key_hash


def spec_of(text: str) -> MappingSpec:
    """A mapping from YAML; its name may be left out."""
    return read_mapping(Path("case.yaml"), f"mapping: case\n{dedent(text)}".encode()).spec


def raw_rows(text: str, source: int = 0) -> pl.DataFrame:
    """Rows as extract gives them: every cell a text, blank cells null; LINE is the row's place in `text`."""
    rows = pl.read_csv(io.StringIO(dedent(text).strip() + "\n"), infer_schema=False)
    rows = rows.with_columns(pl.when(pl.all() != "").then(pl.all()).name.keep())
    return rows.with_columns(
        pl.lit(source, dtype=pl.UInt32).alias(SOURCE), pl.int_range(2, rows.height + 2).alias(LINE)
    )


def keyed(rows: pl.DataFrame, spec: MappingSpec, table: str = "lines") -> pl.DataFrame:
    """Rows as pass one leaves them: keys carried down, and KEY."""
    rows, _ = carry_down(rows, spec)
    return rows.with_columns(key_hash(rows, spec.source.file_key_of(table), spec.source.nulls))


class CompileError(Exception):
    """A mapping that cannot be compiled over these columns; all that is wrong with it."""

    def __init__(self, issues: Sequence[Issue]) -> None:
        self.issues = tuple(issues)
        super().__init__("\n".join(f"{'.'.join(map(str, i.location))}: {i.message}" for i in issues))


def tables_of(spec: MappingSpec, texts: str | dict[str, str]) -> dict[str, pl.DataFrame]:
    """Tables from CSV texts, each a file of its own."""
    if isinstance(texts, str):
        texts = {"lines": texts}
    return {name: keyed(raw_rows(text, at), spec, name) for at, (name, text) in enumerate(texts.items())}


def shaped_of(spec: MappingSpec | str, texts: str | dict[str, str]) -> RawTransactions:
    spec = spec_of(spec) if isinstance(spec, str) else spec
    return build_transactions(tables_of(spec, texts), spec)


def compiled_of(
    spec: MappingSpec,
    tables: dict[str, pl.DataFrame],
    directory: Path = Path(),
    sources: tuple[str, ...] = (),
) -> CompiledMapping:
    columns = {
        name: [column for column in rows.columns if not column.startswith("__")]
        for name, rows in tables.items()
    }
    compiled, issues = examine(spec, columns, directory=directory, sources=sources)
    # A case is about one field, so that others that Omneo needs are not there.
    if wrong := [issue for issue in issues if "Omneo needs it on every" not in issue.message]:
        raise CompileError(wrong)
    return compiled


def mapped_of(
    spec: MappingSpec | str, texts: str | dict[str, str], directory: Path = Path()
) -> MappedTransactions:
    spec = spec_of(spec) if isinstance(spec, str) else spec
    tables = tables_of(spec, texts)
    return compiled_of(spec, tables, directory).apply(build_transactions(tables, spec))


def problem_rows(problems: pl.DataFrame, *columns: str) -> list[tuple[object, ...]]:
    """Rows of a problems frame; by default the code and the line."""
    return problems.select(columns or ("code", LINE)).rows()


def value_of(then: str, *cells: str | None, kind: str = "receipt_ref", extra: str = "") -> list[object]:
    """What a value of a transaction becomes for each of some cells in column `x`."""
    spec = spec_of(
        f"""
source: {{layout: headers, key: [id]}}
{extra}
transaction:
  {kind}: {then}
"""
    )
    rows = pl.DataFrame(
        {"id": [str(i) for i in range(len(cells))], "x": cells}, schema_overrides={"x": pl.String}
    )
    rows = rows.with_columns(
        pl.lit(0, dtype=pl.UInt32).alias(SOURCE), pl.int_range(2, rows.height + 2).alias(LINE)
    )
    tables = {"lines": rows.with_columns(key_hash(rows, ["id"]).alias(KEY))}
    return compiled_of(spec, tables).apply(build_transactions(tables, spec)).headers[kind].to_list()
