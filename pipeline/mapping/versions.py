"""Versions of one sale: an export that overlaps an earlier one may hold a sale corrected."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import polars as pl

from pipeline.mapping.columns import columns_of, columns_used
from pipeline.mapping.problems import problems_at
from pipeline.mapping.shapes import Shaped, Tables, shape
from pipeline.mapping.spec import MappingSpec
from pipeline.mapping.walk import Scope
from pipeline.model import KEY, LINE, SOURCE, TX


def shape_latest(tables: Tables, spec: MappingSpec, written: Mapping[int, int]) -> Shaped:
    """As `shape`, but of a sale that several files hold differently, the version written last counts.

    That is so where the files agree on when the sale was, and have a line of it in common. Where they do not,
    they are more likely two sales with one number, or one that was cut in two; these stay a
    `header_conflict`, as rows within one file do that disagree.

    Args:
        tables: See `shape`.
        spec: The mapping.
        written: The place of each file, by SOURCE, in the order in which they were written.

    Returns:
        See `shape`; the problem `older_version` at each sale of which rows were left out.
    """
    shaped = shape(tables, spec)
    if len(written) < 2:
        return shaped
    keys = _corrected(shaped, spec)
    if keys.is_empty():
        return shaped
    latest = {name: _latest(rows, keys, written) for name, rows in tables.items()}
    shaped = shape(latest, spec)
    places = pl.concat(rows.select(SOURCE, LINE, KEY) for rows in latest.values())
    places = places.filter(pl.col(KEY).is_in(keys.implode()))
    told = problems_at(
        shaped.headers.join(places, on=[SOURCE, LINE], how="semi", maintain_order="left"),
        "older_version",
        "Another file, written earlier, holds this sale with other contents; this version counts.",
    )
    return replace(shaped, problems=pl.concat([shaped.problems, told]))


def _corrected(shaped: Shaped, spec: MappingSpec) -> pl.Series:
    """Keys of the sales of which several files hold versions that differ, but not in their time."""
    conflicts = shaped.problems.filter(pl.col("code") == "header_conflict").select(SOURCE, LINE, "field")
    places = pl.concat([conflicts, _lines_that_differ(shaped, spec)])
    time = columns_of(spec, spec.transaction["transacted_at"], Scope.TRANSACTION)
    if places.is_empty() or time is None:
        return pl.Series(KEY, [], pl.UInt64)
    tables = [rows.select(SOURCE, LINE, KEY).drop_nulls(KEY) for rows in shaped.rows.values()]
    found = places.join(pl.concat(tables), on=[SOURCE, LINE])
    elsewhen = found.filter(pl.col("field").is_in(list(time)))[KEY]
    keys = found.filter(~pl.col(KEY).is_in(elsewhen.implode()))[KEY].unique()
    # By table: that a sale and its items are in two files says nothing about versions.
    ours = [rows.filter(pl.col(KEY).is_in(keys.implode())) for rows in shaped.rows.values()]
    apart = [rows.filter(pl.col(SOURCE).n_unique().over(KEY) > 1)[KEY] for rows in ours]
    cut = [_cut_in_two(rows, spec) for rows in ours]
    versions = pl.concat(apart).unique()
    return versions.filter(~versions.is_in(pl.concat(cut).implode()))


def _cut_in_two(rows: pl.DataFrame, spec: MappingSpec) -> pl.Series:
    """Keys of which several files have lines, and none of them the same one: parts of one sale.

    Where a sale has a row of its own, that row being in several files is proof enough.
    """
    used = columns_used(spec)
    names = _line_id(spec) or used.line - used.transaction
    if spec.source.layout not in ("lines", "first_row") or not names or not names <= {*rows.columns}:
        return rows[KEY].clear()
    sources = pl.col(SOURCE).n_unique()
    lines = rows.select(
        KEY, sources.over(KEY).alias("files"), sources.over(KEY, *sorted(names)).alias("alike")
    )
    return lines.group_by(KEY).agg(pl.all().max()).filter(pl.col("files") > 1, alike=1)[KEY]


def _line_id(spec: MappingSpec) -> frozenset[str] | None:
    """The columns that name a line; None where only its place does."""
    own = spec.items.get("external_id") if spec.items else None
    return columns_of(spec, own, Scope.LINE) if own is not None else None


def _lines_that_differ(shaped: Shaped, spec: MappingSpec) -> pl.DataFrame:
    """Places of lines that another file has under the same id with other contents: SOURCE, LINE, no `field`.

    A line that is the same in both files is not among them: it was left out as a repeat.
    """
    none = pl.DataFrame(schema={SOURCE: pl.UInt32, LINE: pl.Int64, "field": pl.String})
    names, lines = _line_id(spec), shaped.lines
    if not names or not names <= {*lines.columns}:
        return none
    # Lines of a sale lie together and in the order of their files, so this is quick where none is apart.
    goes_on = (pl.col(TX) == pl.col(TX).shift(1)) & (pl.col(SOURCE) != pl.col(SOURCE).shift(1))
    sales = lines.filter(goes_on)[TX]
    if sales.is_empty():
        return none
    apart = lines.filter(pl.col(TX).is_in(sales.implode()))
    differing = apart.filter(pl.col(SOURCE).n_unique().over(TX, *sorted(names)) > 1)
    return pl.concat([none, differing.select(SOURCE, LINE, pl.lit(None, pl.String).alias("field"))])


def _latest(rows: pl.DataFrame, keys: pl.Series, written: Mapping[int, int]) -> pl.DataFrame:
    """The rows without those of the given sales that are not in the last of their files."""
    place = pl.col(SOURCE).replace_strict(written, return_dtype=pl.Int64)
    corrected = pl.col(KEY).is_in(keys.implode()).fill_null(value=False)
    return rows.filter(~corrected | (place == place.max().over(KEY)))
