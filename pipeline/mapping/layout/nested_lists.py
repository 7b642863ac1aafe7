"""Turns lists inside a row into rows: a nested Parquet column, or JSON in a cell."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

import polars as pl

from pipeline.core.long_numbers import quote_long_numbers
from pipeline.core.model import KEY, LINE, SOURCE
from pipeline.mapping.usage.column_names import outer_column

_ROW = (SOURCE, LINE, KEY)
_NUL = r"(?:^|[^\\])(?:\\\\)*\\u0000"
"""The escape of the character NUL, which is not text. After another backslash it is not an escape."""


def explode(
    rows: pl.DataFrame, column: str, prefix: str, names: Iterable[str]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Make one row of each object in a column of lists.

    Args:
        rows: Rows with SOURCE, LINE and KEY.
        column: A column of JSON texts, or of lists of structs. `a.b` is the list `b` in the objects of `a`; a
            single object counts as a list of one, since converters from XML write it so.
        prefix: The prefix of the new columns, such as `items.`.
        names: The columns that are wanted, with their prefix; a dot goes into an object.

    Returns:
        The objects in order, with their row's SOURCE, LINE and KEY and all members as text; and the rows
        whose cell is not a list of objects. JSON numbers with a fraction keep 15 digits.
    """
    wanted = sorted({name.removeprefix(prefix) for name in names if name.startswith(prefix)})
    schema = {name: rows.schema[name] for name in _ROW} | {prefix + name: pl.String() for name in wanted}
    none = pl.DataFrame(schema=schema)
    outer = outer_column(column, rows.columns)
    if outer != column and outer in rows.columns:
        rows = rows.with_columns(_list_inside(outer, column).alias(column))
    if column not in rows.columns:
        return none, rows.clear()
    members = _struct_of([name.split(".") for name in wanted])
    lists, bad = _lists(rows, column, members)
    objects = lists.filter(pl.col("list").list.len() > 0).explode("list")
    objects = objects.filter(pl.col("list").is_not_null())
    if objects.is_empty():
        return none, bad
    cells = (_member(name.split("."), members).alias(prefix + name) for name in wanted)
    return objects.select(*_ROW, *cells), bad


def _list_inside(outer: str, column: str) -> pl.Expr:
    """The list `column` as JSON text, from the JSON object in the column before its dot."""
    path = "".join(f"[{json.dumps(part, ensure_ascii=False)}]" for part in column.split(".")[1:])
    found = pl.col(outer).str.json_path_match(f"${path}")
    return pl.when(found.str.starts_with("{")).then("[" + found + "]").otherwise(found)


def _struct_of(paths: Sequence[Sequence[str]]) -> pl.Struct:
    """The type of an object with these members, all texts; a path of several names goes into objects."""
    inside: dict[str, list[Sequence[str]]] = {}
    for first, *rest in paths:
        inside.setdefault(first, []).extend([rest] if rest else [])
    return pl.Struct({name: _struct_of(rest) if rest else pl.String() for name, rest in inside.items()})


def _member(path: Sequence[str], members: pl.Struct) -> pl.Expr:
    value, dtype = pl.col("list"), members
    for name in path:
        fields = {field.name: field.dtype for field in dtype.fields}
        value, dtype = _field(value, [*fields], name), fields[name]  # type: ignore[assignment]
    return value


def _field(struct: pl.Expr, names: Sequence[str], name: str) -> pl.Expr:
    """A field by its position: polars would take `*` and names from `^` to `$` for patterns."""
    numbers = [str(at) for at in range(len(names))]
    return struct.struct.rename_fields(numbers).struct.field(numbers[names.index(name)])


def _lists(rows: pl.DataFrame, column: str, members: pl.Struct) -> tuple[pl.DataFrame, pl.DataFrame]:
    """SOURCE, LINE and KEY of each row and its `list` of structs of texts; and the rows without a list."""
    # A struct without fields cannot be decoded, but a mapping may only count the objects.
    dtype = pl.List(members if members.fields else pl.Struct({"": pl.String()}))
    if rows.schema[column] != pl.String:
        lists = rows.select(*_ROW, _conformed(pl.col(column), rows.schema[column], dtype).alias("list"))
        return lists, rows.clear()
    rows = rows.with_columns(quote_long_numbers(rows[column]))
    text = pl.col(column).str.strip_chars()
    # If an object has a member twice, the last one counts, but the decoder takes the first. Writing the JSON
    # again removes the repeated members.
    once = pl.col("__once")
    rows = rows.with_columns(text.str.json_path_match("$").alias("__once"))
    # Searching for a fixed text is ten times as fast as the regular expression.
    may_have_nul = rows["__once"].str.contains("\\u0000", literal=True).any()
    has_nul = once.str.contains(_NUL) if may_have_nul else pl.lit(value=False)
    is_list = (once.str.starts_with("[") & ~has_nul).fill_null(value=False)
    bad = rows.filter(~(text.is_null() | (text == "")) & ~is_list).drop("__once")
    good = rows.filter(is_list).with_columns(once.alias(column)).drop("__once")
    lists, undecoded = _decoded(good, column, dtype)
    return lists, pl.concat([bad, undecoded])


def _decoded(rows: pl.DataFrame, column: str, dtype: pl.DataType) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Decode JSON lists. One bad cell fails the whole column, so bad cells are found by halving."""
    try:
        lists = rows.select(*_ROW, pl.col(column).str.json_decode(dtype).alias("list"))
    except pl.exceptions.ComputeError:
        if rows.height == 1:
            return rows.clear().select(*_ROW, pl.lit(None, dtype=dtype).alias("list")), rows
        half = rows.height // 2
        parts = [_decoded(part, column, dtype) for part in (rows[:half], rows[half:])]
        return pl.concat([lists for lists, _ in parts]), pl.concat([bad for _, bad in parts])
    return lists, rows.clear()


def _conformed(column: pl.Expr, have: pl.DataType, want: pl.DataType) -> pl.Expr:
    """A nested column with only the wanted members, all of them texts."""
    if isinstance(want, pl.List):
        inner = have.inner if isinstance(have, pl.List) else pl.String()
        return column.list.eval(_conformed(pl.element(), inner, want.inner))  # type: ignore[arg-type]
    if isinstance(want, pl.Struct):
        known = {member.name: member.dtype for member in have.fields} if isinstance(have, pl.Struct) else {}
        return pl.struct(
            (
                _conformed(_field(column, [*known], member.name), known[member.name], member.dtype)  # type: ignore[arg-type]
                if member.name in known
                else pl.lit(None, dtype=member.dtype)
            ).alias(member.name)
            for member in want.fields
        )
    return column.cast(pl.String, strict=False)
