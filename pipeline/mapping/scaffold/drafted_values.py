"""The names and values that lines of a draft have in common."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

from pipeline.mapping.language.yaml_text import in_single_quotes, quoted
from pipeline.mapping.scaffold.cells import sql_name
from pipeline.mapping.scaffold.reading import MIXED, Reading

__all__ = [
    "column_value",
    "joined",
    "line_column",
    "looked_up_name",
    "pieces_column",
    "sale_value",
    "sql_name",
]


def looked_up_name(name: str) -> str:
    """The name that `define` gives to what the look-up table `name` holds."""
    return f"{name}_found"


def _taken(reading: Reading) -> set[str]:
    return {name for names in reading.shape.columns.values() for name in names}


def _free(reading: Reading, wanted: str) -> str:
    return next(name for name in (f"{wanted}{'_' * n}" for n in count()) if name not in _taken(reading))


def line_column(reading: Reading) -> str:
    """The column with the line number, or a new name where no column holds it."""
    return reading.line.get("line_no") or _free(reading, "line")


def pieces_column(reading: Reading) -> str:
    """A new name for a quantity in whole pieces."""
    return _free(reading, "pieces")


def joined(names: Sequence[str], by: str = "-") -> str:
    """A value that joins columns with a sign between them."""
    if len(names) == 1:
        return quoted(names[0])
    if any("{" in name or "}" in name for name in names):
        formula = f"CONCAT_WS('{by}', {', '.join(map(sql_name, names))})"
        return f"{{sql: {in_single_quotes(formula)}}}"
    template = by.join(f"{{{name}}}" for name in names)
    return f"{{template: {quoted(template)}}}"


def column_value(reading: Reading, column: str) -> str:
    """A column, or the value that gives it where a look-up table holds it."""
    return reading.shape.found_in.get(column, quoted(column))


def sale_value(reading: Reading, column: str) -> str:
    """A column of the sale; the first of its lines where they differ."""
    return f"{{first: {quoted(column)}}}" if reading.shape.differing(column) > MIXED else quoted(column)
