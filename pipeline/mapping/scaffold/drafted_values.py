"""The names and values that lines of a draft have in common."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

from pipeline.mapping.language.yaml_text import in_single_quotes, quoted
from pipeline.mapping.scaffold.amounts.arithmetic import Term
from pipeline.mapping.scaffold.reading import Reading
from pipeline.mapping.scaffold.shape import MIXED
from pipeline.mapping.scaffold.vocabulary.cells import sql_name


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


def mark(*doubts: str) -> str:
    """The end of a line of which a person has to look; empty where there is no doubt."""
    given = "; ".join(doubt for doubt in doubts if doubt)
    return f"  # unsure: {given}" if given else ""


def because(why: str) -> str:
    """The end of a line that says what speaks for it."""
    return f"  # {why}" if why else ""


def open_value(missing: str) -> str:
    """A field that Omneo needs and no column surely holds: the draft does not run until it is filled in."""
    return f"{{open: {quoted(missing)}}}"


def counts_one(reading: Reading) -> bool:
    """Whether some lines count as one piece: weighed ones, and those that are worth something without one."""
    money = reading.money
    return reading.has_items and (not money.whole or (bool(money.line) and money.quantity in money.gaps))


def line_worth(reading: Reading) -> str:
    """What a line is worth, where lines are added up."""
    money = reading.money
    if money.line:
        if money.plus:
            return formula_value(reading, cell_value(reading, money.line), money.plus)
        return column_value(reading, money.line)
    if money.price and money.quantity:
        base = f"{cell_value(reading, money.quantity)} * {cell_value(reading, money.price)}"
        return formula_value(reading, base, money.plus)
    return quoted(money.price) if money.price else ""


def cell_value(reading: Reading, column: str) -> str:
    """A number in a formula: a column that is declared, or what a look-up table holds."""
    if column in reading.shape.found_in:
        return f"CAST({sql_name(looked_up_name(column))} AS DECIMAL)"
    return sql_name(column)


def formula_value(reading: Reading, base: str, terms: Sequence[Term]) -> str:
    """A line's amount with what is added to it or taken from it."""
    formula = base
    for term in terms:
        cell = f"COALESCE({cell_value(reading, term.column)}, 0)"
        sign = "+" if term.sign > 0 else "-"
        if term.factor == "share":
            formula = f"({formula}) * (1 {sign} {cell})"
        elif term.factor == "percent":
            formula = f"({formula}) * (1 {sign} {cell} / 100)"
        elif term.factor == "each":
            formula = f"{formula} {sign} {cell} * {cell_value(reading, reading.money.quantity)}"
        else:
            formula = f"{formula} {sign} {cell}"
    return f"{{sql: {in_single_quotes(formula)}}}"


def pieces(reading: Reading) -> str:
    """The quantity of a line in whole pieces."""
    if counts_one(reading):
        return quoted(pieces_column(reading))
    return column_value(reading, reading.money.quantity)
