"""Lists inside a row become rows: a nested Parquet column, or JSON in a cell."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import polars as pl

from pipeline.core.model import KEY, LINE, SOURCE

_PLACE = (SOURCE, LINE, KEY)
_NUL = r"(?:^|[^\\])(?:\\\\)*\\u0000"
"""The escape of the character NUL, which is no text; after an even number of backslashes it is one."""


@dataclass
class _Member:
    """A member that a mapping names, or the way to one: `a.b` is `b` inside `a`."""

    inside: dict[str, _Member] = field(default_factory=dict)

    def dtype(self) -> pl.DataType:
        if not self.inside:
            return pl.String()
        return pl.Struct({name: member.dtype() for name, member in self.inside.items()})


def explode(
    rows: pl.DataFrame, column: str, prefix: str, names: Iterable[str]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Make one row of each object in a column of lists.

    Args:
        rows: Rows with SOURCE, LINE and KEY.
        column: A column of JSON texts, or of lists of structs; `a.b` is the list `b` in the objects of `a`,
            where one object counts as a list of one, as it comes out of XML.
        prefix: What the new columns' names begin with, such as `items.`.
        names: The columns that are wanted, with their prefix; a dot goes into an object.

    Returns:
        The objects in order, with their row's SOURCE, LINE and KEY and all members as text; and the rows
        whose cell is not a list of objects. JSON numbers keep 15 digits.
    """
    wanted = sorted({name.removeprefix(prefix) for name in names if name.startswith(prefix)})
    empty = pl.DataFrame(
        schema={
            **{name: rows.schema[name] for name in _PLACE},
            **{prefix + name: pl.String() for name in wanted},
        }
    )
    rows = _with_inner_list(rows, column)
    if column not in rows.columns:
        return empty, rows.clear()
    members = _tree(wanted)
    lists, bad = _lists(rows, column, members)
    objects = lists.filter(pl.col("list").list.len() > 0).explode("list")
    objects = objects.filter(pl.col("list").is_not_null())
    if objects.is_empty():
        return empty, bad
    return objects.select(*_PLACE, *(_member(name, members).alias(prefix + name) for name in wanted)), bad


def outer_column(column: str, columns: Iterable[str]) -> str:
    """The source's column in which the list `column` is: itself, or what stands before a dot."""
    return column if column in columns else column.partition(".")[0]


def _with_inner_list(rows: pl.DataFrame, column: str) -> pl.DataFrame:
    outer = outer_column(column, rows.columns)
    if outer == column or outer not in rows.columns:
        return rows
    path = "".join(f"[{json.dumps(part, ensure_ascii=False)}]" for part in column.split(".")[1:])
    found = pl.col(outer).str.json_path_match(f"${path}")
    alone = found.str.starts_with("{")
    return rows.with_columns(pl.when(alone).then("[" + found + "]").otherwise(found).alias(column))


def _tree(names: Iterable[str]) -> _Member:
    root = _Member()
    for name in names:
        at = root
        for part in name.split("."):
            at = at.inside.setdefault(part, _Member())
    return root


def _member(name: str, root: _Member) -> pl.Expr:
    at = pl.col("list")
    for part in name.split("."):
        at = _field(at, [*root.inside], part)
        root = root.inside[part]
    return at


def _field(struct: pl.Expr, names: Sequence[str], name: str) -> pl.Expr:
    """A field by its position: polars would take `*` and names from `^` to `$` for patterns."""
    numbers = [str(at) for at in range(len(names))]
    return struct.struct.rename_fields(numbers).struct.field(numbers[names.index(name)])


def _lists(rows: pl.DataFrame, column: str, members: _Member) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The place of each row and its `list` of structs of texts; and the rows that have none."""
    # A struct without fields cannot be decoded, but a mapping may only count the objects.
    dtype = pl.List(members.dtype() if members.inside else pl.Struct({"": pl.String()}))
    if rows.schema[column] != pl.String:
        nested = rows.select(*_PLACE, _conformed(pl.col(column), rows.schema[column], dtype).alias("list"))
        return nested, rows.clear()
    text = pl.col(column).str.strip_chars()
    # Without repeats: of a member that an object has twice, the last counts, and the decoder takes the first.
    once = text.str.json_path_match("$").alias("__once")
    rows = rows.with_columns(once)
    is_list = (pl.col("__once").str.starts_with("[") & ~pl.col("__once").str.contains(_NUL)).fill_null(
        value=False
    )
    blank = text.is_null() | (text == "")
    bad = rows.filter(~blank & ~is_list).drop("__once")
    good = rows.filter(is_list).with_columns(pl.col("__once").alias(column)).drop("__once")
    lists, undecoded = _decoded(good, column, dtype)
    return lists, pl.concat([bad, undecoded])


def _decoded(rows: pl.DataFrame, column: str, dtype: pl.DataType) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Decode JSON lists; what does not fit is found by halving, since one such cell fails them all."""
    try:
        lists = rows.select(*_PLACE, pl.col(column).str.json_decode(dtype).alias("list"))
    except pl.exceptions.ComputeError:
        if rows.height == 1:
            return rows.clear().select(*_PLACE, pl.lit(None, dtype=dtype).alias("list")), rows
        half = rows.height // 2
        parts = [_decoded(part, column, dtype) for part in (rows[:half], rows[half:])]
        return pl.concat([lists for lists, _ in parts]), pl.concat([bad for _, bad in parts])
    return lists, rows.clear()


def _conformed(column: pl.Expr, have: pl.DataType, want: pl.DataType) -> pl.Expr:
    """A nested column with just the wanted members, all of them texts."""
    if isinstance(want, pl.List):
        inner = have.inner if isinstance(have, pl.List) else pl.String()
        return column.list.eval(_conformed(pl.element(), inner, want.inner))  # type: ignore[arg-type]
    if isinstance(want, pl.Struct):
        there = {member.name: member.dtype for member in have.fields} if isinstance(have, pl.Struct) else {}
        return pl.struct(
            (
                _conformed(_field(column, [*there], member.name), there[member.name], member.dtype)  # type: ignore[arg-type]
                if member.name in there
                else pl.lit(None, dtype=member.dtype)
            ).alias(member.name)
            for member in want.fields
        )
    return column.cast(pl.String, strict=False)
