"""The items of a draft, and how their sum is checked."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from pipeline.core.text.wording import count, part
from pipeline.mapping.language.yaml_text import quoted
from pipeline.mapping.scaffold.amounts.arithmetic import Term, member
from pipeline.mapping.scaffold.drafted_values import (
    column_value,
    joined,
    line_column,
    line_worth,
    mark,
    open_value,
    pieces,
    sale_value,
)
from pipeline.mapping.scaffold.reading import Reading
from pipeline.mapping.scaffold.vocabulary.cells import share, values
from pipeline.mapping.scaffold.vocabulary.role_fit import is_perhaps_money


def items(reading: Reading) -> Iterator[str]:
    """The section `items`."""
    if not reading.has_items:
        return
    yield "items:"
    prefix = [_items_key(reading)] if reading.shape.layout == "tables" else [*reading.shape.key.columns]
    yield f"  external_id: {joined((*prefix, line_column(reading)))}"
    yield f"  name: {_name(reading)}"
    yield f"  quantity: {_quantity(reading)}"
    sell, current = _prices(reading)
    yield f"  price_current: {current}"
    yield f"  price_sell: {sell}"
    roles = {role: name for name, role in reading.money.roles.items() if name in reading.shape.lines.columns}
    if (name := roles.get("list_price")) and name not in reading.money.columns:
        yield f"  price_original: {column_value(reading, name)}"
    if reading.money.tax and reading.money.tax not in reading.money.columns:
        yield f"  price_tax: {column_value(reading, reading.money.tax)}"
    for role, field_name in (("sku", "sku"), ("department", "department")):
        if (column := reading.line.get(role)) and column != reading.line.get("name"):
            yield f"  {field_name}: {column_value(reading, column)}"


def _items_key(reading: Reading) -> str:
    """The column that joins the items to their sale."""
    return reading.shape.own_key


def _name(reading: Reading) -> str:
    roles = ("name", "sku") if reading.line.keys() & {"name", "sku"} else ("department",)
    columns = [reading.line[role] for role in (*roles, "department") if role in reading.line]
    columns = list(dict.fromkeys(columns))
    if not columns:
        return open_value("no column holds what was sold")
    lines = reading.shape.lines
    nameless = lines.select(pl.all_horizontal(pl.col(columns).is_null()).sum()).item()
    found = [column_value(reading, name) for name in columns[: len(columns) if nameless else 2]]
    doubt = ""
    if nameless:
        found.append("{constant: Item}")
        doubt = f"{part(nameless, lines.height, 'line', 'does')} not say what was sold"
    elif "name" not in reading.line and "sku" not in reading.line:
        doubt = "the file only says which kind of thing was sold"
    return (f"{{first_of: [{', '.join(found)}]}}" if len(found) > 1 else found[0]) + mark(doubt)


def _quantity(reading: Reading) -> str:
    if doubt := reading.opened.get("quantity"):
        return open_value(doubt)
    if not reading.money.quantity and reading.money.proven:
        return "{constant: 1}" + mark("no column says how many; the amounts of lines add up to the totals")
    if not reading.money.quantity and (reading.money.total or not line_worth(reading)):
        return open_value("no column holds a quantity")
    if not reading.money.quantity and (perhaps := _perhaps_pieces(reading)):
        return open_value(f"no column is named as a quantity; `{perhaps}` may hold it")
    if not reading.money.quantity:
        return "{constant: 1}" + mark("no column says how many, so each line is one piece")
    return pieces(reading)


def _perhaps_pieces(reading: Reading) -> str:
    """A column of small whole numbers that has no role; empty where there is none."""
    used = {*reading.money.roles, *reading.line.values(), *reading.sale.values(), *reading.shape.key.columns}
    for name in reading.shape.lines.columns:
        filled = values(reading.shape.lines[name].cast(pl.String))
        is_free = name not in used and is_perhaps_money(member(name))
        if is_free and filled.len() and share(filled, r"^\d{1,3}(?:[.,]0+)?$") == 1:
            return name
    return ""


def _prices(reading: Reading) -> tuple[str, str]:
    """The price paid for one, and the list price for one."""
    money = reading.money
    if doubt := reading.opened.get("price_sell"):
        return open_value(doubt), open_value(doubt)
    price = column_value(reading, money.price) if money.price else ""
    is_exact = bool(money.price) and money.price_exact and not money.plus and money.whole
    if is_exact and not (money.line and money.gaps):
        return price, price
    worth = line_worth(reading)
    if not worth:
        missing = open_value("no column holds a price")
        return missing, missing
    if not money.quantity:
        return worth, worth
    by = pieces(reading)
    steps = f"then: [{{divide_by: {by}}}, {{round: 4}}]"
    unit = f"{{{worth[1:-1]}, {steps}}}" if worth.startswith("{") else f"{{column: {worth}, {steps}}}"
    return unit, (price if price and money.whole and money.discounted and not money.gaps else unit)


def _is_charge(reading: Reading, term: Term) -> bool:
    """Whether an amount of the sale is paid for something that no line holds."""
    return term.sign > 0 and term.factor == "amount" and reading.money.roles.get(term.column) == "shipping"


def checks(reading: Reading) -> Iterator[str]:
    """The sections `charges` and `checks`: what a total holds beside its lines, and sales paid otherwise."""
    money = reading.money
    in_lines = bool(money.line) and money.line == money.total
    charged = not in_lines and all(_is_charge(reading, term) for term in money.extras)
    charges = [*money.extras] if charged else []
    if reading.has_items and charges:
        yield "charges:  # what the total also holds"
        for term in charges:
            yield f"  - {{name: {quoted(term.column)}, amount: {sale_value(reading, term.column)}}}"
    checked = [*_total_check(reading)] if reading.has_items and not charges else []
    if "total_mismatch" in reading.warned:
        checked = []
    checked += [f"  {code}: warn{mark(said)}" for code, said in reading.warned.items()]
    unpaid = money.unpaid or money.tenders.sales - money.tenders.equal
    if unpaid:
        checked.append(f"  payments_mismatch: warn  # what was paid differs for {count(unpaid, 'sale')}")
    if checked:
        yield "checks:"
        yield from checked


def _total_check(reading: Reading) -> Iterator[str]:
    money = reading.money
    if money.extras and money.line != money.total:
        names = ", ".join(dict.fromkeys(term.column for term in money.extras))
        yield f"  total_mismatch: off  # the total also holds {names}"
    elif money.unequal:
        yield f"  total_mismatch: warn{mark(money.unequal)}"
    elif money.fee:
        yield f"  total_mismatch: off{mark(money.fee)}"
    elif money.tolerance:
        yield "  # Unit prices are line totals divided by quantities, to four places."
        yield f"  total_mismatch: {{tolerance: {money.tolerance:.2f}}}"
