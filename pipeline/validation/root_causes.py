"""Group reasons by root cause: ten thousand rejections from one wrong date format are one problem.

A cause is a code, a field and the *shape* of the cell: every run of digits becomes `9`, every run of letters
`a`, so that `31.12.2024` and `1.1.2025` are alike. For statuses, currencies, zones and look-ups it is the
value itself. Groups are made for each partition and added up afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import polars as pl

from pipeline.core.codes import CODES, Outcome
from pipeline.core.findings import Occurrence, RootCause
from pipeline.core.model import LINE, SOURCE, TX
from pipeline.validation.likely_fixes import likely_fix

SAMPLES: Final = 20
"""Distinct cells kept of each cause, enough to guess a fix that works for all of them."""
EXAMPLES: Final = 3
"""Examples reported of each cause."""
EXAMPLE_CHARACTERS: Final = 300
"""A longer cell or message is cut here and ends in an ellipsis."""
MOST_SHAPES: Final = 8
"""Shapes reported of one code and field; the rest are reported together."""
_SHAPES_KEPT: Final = 100
"""Shapes of one code and field kept until all are added up: a limit, so that memory stays bounded."""

_GROUP: Final = ["outcome", "code", "field", "shape"]
_BY_VALUE: Final = ("currency_invalid", "timezone_unknown", "lookup_missing")
_EXAMPLE: Final = pl.Schema(
    {"value": pl.String(), "message": pl.String(), SOURCE: pl.UInt32(), LINE: pl.Int64()}
)
_SCHEMA: Final = pl.Schema(
    {
        "outcome": pl.String(),
        "code": pl.String(),
        "field": pl.String(),
        "shape": pl.String(),
        "transactions": pl.Int64(),
        "examples": pl.List(pl.Struct(_EXAMPLE)),
    }
)


def group_reasons(reasons: pl.DataFrame) -> pl.DataFrame:
    """Group the reasons of one partition: one row a cause, for `merge_groups` and `root_causes`.

    Args:
        reasons: One row a reason, with `outcome`. One without a transaction counts for itself.
    """
    if reasons.is_empty():
        return _SCHEMA.to_frame()
    shaped = reasons.lazy().select(*_GROUP[:-1], _shape().alias("shape"), TX, *_EXAMPLE.names())
    loose = pl.col(TX).is_null().sum()
    counted = shaped.group_by(_GROUP).agg(
        (pl.col(TX).drop_nulls().n_unique() + loose).cast(pl.Int64).alias("transactions")
    )
    return _few_shapes(_with_examples(counted, shaped), _SHAPES_KEPT)


def merge_groups(groups: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Add up groups; without any, the result is empty.

    Args:
        groups: As `group_reasons` or `merge_groups` returns them.
    """
    some = [group for group in groups if not group.is_empty()]
    if len(some) < 2:
        return some[0] if some else _SCHEMA.to_frame()
    return _few_shapes(_added(pl.concat(some)), _SHAPES_KEPT)


def root_causes(groups: pl.DataFrame, sources: Sequence[str]) -> list[RootCause]:
    """Name the causes: rejections before drops before warnings, the most frequent first.

    Args:
        groups: Of all partitions, merged.
        sources: The names of the files; SOURCE is the position in this list.
    """
    order = pl.col("outcome").replace_strict(_ORDER, return_dtype=pl.Int8)
    ordered = _few_shapes(groups, MOST_SHAPES).sort(
        order, -pl.col("transactions"), "code", "field", "shape", nulls_last=True
    )
    return [_cause(row, sources) for row in ordered.iter_rows(named=True)]


_ORDER: Final = {Outcome.REJECTED.value: 0, Outcome.DROPPED.value: 1, Outcome.WARNING.value: 2}


def _shape() -> pl.Expr:
    value = pl.col("value")
    runs = value.str.slice(0, 80).str.replace_all(r"\p{L}+", "a").str.replace_all(r"\d+", "9")
    by_value = pl.col("code").is_in(_BY_VALUE) | (pl.col("field") == "status").fill_null(value=False)
    of_value = pl.when(by_value).then(_cut(value))
    return of_value.when(pl.col("code").str.ends_with("_invalid")).then(runs)


def _added(groups: pl.DataFrame) -> pl.DataFrame:
    counted = groups.lazy().group_by(_GROUP).agg(pl.col("transactions").sum())
    rows = (
        groups.lazy().select(*_GROUP, "examples").explode("examples", empty_as_null=False).unnest("examples")
    )
    return _with_examples(counted, rows)


def _with_examples(counted: pl.LazyFrame, rows: pl.LazyFrame) -> pl.DataFrame:
    """Add the first rows of each group as examples: one for each distinct cell, and a few without a cell."""
    ordered = rows.sort(SOURCE, LINE, "value", maintain_order=True)
    differing = ordered.drop_nulls("value").unique([*_GROUP, "value"], keep="first", maintain_order=True)
    blank = ordered.filter(pl.col("value").is_null())
    first = pl.concat(
        [
            part.group_by(_GROUP, maintain_order=True).head(most).select(*_GROUP, *_EXAMPLE.names())
            for part, most in ((differing, SAMPLES), (blank, EXAMPLES))
        ]
    ).with_columns(_cut(pl.col("value", "message")))
    examples = first.group_by(_GROUP, maintain_order=True).agg(pl.struct(_EXAMPLE.names()).alias("examples"))
    joined = counted.join(examples, on=_GROUP, how="left", nulls_equal=True)
    return joined.select(_SCHEMA.names()).cast(_SCHEMA).collect()


def _cut(text: pl.Expr) -> pl.Expr:
    long = text.str.len_chars() > EXAMPLE_CHARACTERS
    return pl.when(long).then(text.str.slice(0, EXAMPLE_CHARACTERS) + "…").otherwise(text)


def _few_shapes(groups: pl.DataFrame, most: int) -> pl.DataFrame:
    """Keep the most frequent shapes of a code and field, and merge the others."""
    ordered = groups.sort("transactions", "shape", descending=[True, False], nulls_last=True)
    rank = pl.int_range(pl.len()).over("outcome", "code", "field")
    # The last place is for the shapes that are merged.
    rare = pl.col("shape").is_not_null() & (rank >= most - 1)
    if not ordered.select(rare.any()).item():
        return groups
    return _added(ordered.with_columns(pl.when(~rare).then("shape").alias("shape")))


def _cause(row: dict[str, Any], sources: Sequence[str]) -> RootCause:
    code, field, found = row["code"], row["field"], row["examples"]
    examples = (
        Occurrence(each["value"], each["message"], sources[each[SOURCE]], each[LINE])
        for each in found[:EXAMPLES]
    )
    return RootCause(
        outcome=row["outcome"],
        code=code,
        title=CODES[code].title if code in CODES else found[0]["message"],
        field=field,
        shape=row["shape"],
        transactions=row["transactions"],
        fix=likely_fix(code, field, [each["value"] for each in found if each["value"] is not None]),
        examples=tuple(examples),
    )
