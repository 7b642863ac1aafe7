"""Why rows may be no sales, or may not count with their whole amounts: what only a person can say."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

import numpy as np
import polars as pl

from pipeline.core.text.wording import count
from pipeline.mapping.scaffold.amounts.money import Money
from pipeline.mapping.scaffold.amounts.no_sales import moved_money
from pipeline.mapping.scaffold.shape import MIXED, Shape
from pipeline.mapping.scaffold.vocabulary.cells import MOSTLY, floats, share, values
from pipeline.mapping.scaffold.vocabulary.role_fit import (
    fit,
    is_in_hundredths,
    is_paid_back,
    is_returned_quantity,
    names_supplier,
    numbers_purchase_orders,
)
from pipeline.mapping.scaffold.vocabulary.statuses import (
    answers_out,
    is_status,
    is_void,
    says_refunded,
    states,
)
from pipeline.mapping.scaffold.vocabulary.subjects import names_others, names_sales, numbers_orders

_NO_SALE: Final = ("cancelled", "void")
_ID_OF_API: Final = r"^(?:ch|pi|py|txn|cs|in)_[A-Za-z0-9_]{8,}$"
"""Ids as Stripe's API gives them."""


def doubt_of_rows(shape: Shape, money: Money, sale: Mapping[str, str], line: Mapping[str, str]) -> str:
    """Why the worth of sales has to be left open, whatever their amounts are; empty where nothing says so.

    Args:
        shape: The export.
        money: Its amounts.
        sale: Its columns of the sale by role.
        line: Its columns of lines by role.
    """
    return (
        _void_lines(shape)
        or _returned_pieces(shape)
        or _paid_back(shape, money, sale)
        or _in_hundredths(shape, money)
        or _purchases(shape, sale)
        or moved_money(shape, money)
        or _other_records(shape, money, sale, line)
    )


def _void_lines(shape: Shape) -> str:
    """Which lines may not count, by a status or a yes or no that differs within sales; else empty."""
    for name, dtype in shape.lines.schema.items():
        if dtype.is_nested() or (name in shape.headers.columns and shape.differing(name) <= MIXED):
            continue
        filled = values(shape.lines[name].cast(pl.String))
        out = answers_out(name, filled)
        if not out and fit(name, "status") > 1 and filled.len() and is_status(filled):
            known = states(filled.unique().sort().to_list())[0]
            out = [word for state, words in known.items() for word in words if state in _NO_SALE]
        if lines := int(filled.is_in(out).sum()):
            return f"whether {count(lines, 'line')} count of which `{name}` is {' or '.join(out)}"
    return ""


def _returned_pieces(shape: Shape) -> str:
    """Which lines have pieces that came back, which may be taken off their quantity already; else empty."""
    for name in filter(is_returned_quantity, shape.lines.columns):
        if lines := int(values(shape.lines[name].cast(pl.String)).str.contains("[1-9]").sum()):
            return f"whether `{name}` of {count(lines, 'line')} is taken off the quantity already"
    return ""


def _paid_back(shape: Shape, money: Money, sale: Mapping[str, str]) -> str:
    """How much was paid back for sales whose status does not say so, which the total may hold; else empty."""
    found = _refunds(shape, money, sale, settled=says_refunded)
    return next((f"whether `{name}` of {sales} comes off the total" for name, sales in found), "")


def refunds_left_in(shape: Shape, money: Money, sale: Mapping[str, str]) -> tuple[str, ...]:
    """What to know of amounts that were paid back, and that totals hold nevertheless."""
    found = _refunds(shape, money, sale, settled=is_void)
    return tuple(f"`{name}` of {sales} is not taken off the total" for name, sales in found)


def _refunds(
    shape: Shape, money: Money, sale: Mapping[str, str], settled: Callable[[str], bool]
) -> Iterator[tuple[str, str]]:
    """The columns with what was paid back for sales whose status does not settle it, and how much it is."""
    is_settled = np.zeros(shape.headers.height, dtype=np.bool_)
    if status := sale.get("status") or sale.get("state"):
        words = [word for word in values(shape.headers[status]).unique() if settled(word)]
        is_settled = shape.headers[status].is_in(words).fill_null(value=False).to_numpy()
    for name in filter(is_paid_back, shape.own_headers.columns):
        if name in money.columns or shape.headers.schema[name] != pl.String:
            continue
        amounts = np.abs(floats(shape.headers[name], money.number))
        back = amounts[(amounts > 0) & ~is_settled]
        if back.size:
            yield name, f"{count(back.size, 'sale')} ({back.sum():,.2f})"


def _in_hundredths(shape: Shape, money: Money) -> str:
    """Which amounts may be in cents, by their names or by the ids beside them; else empty."""
    name = next(filter(is_in_hundredths, money.columns), "") or _whole_total_of_api(shape, money)
    return f"whether `{name}` is in hundredths, and to be divided by 100" if name else ""


def _whole_total_of_api(shape: Shape, money: Money) -> str:
    """The total, if it is whole in all sales with ids of an API, which counts in cents; else empty.

    Its exports for people write a decimal point.
    """
    if money.total not in shape.headers.columns:
        return ""
    keys, totals = (
        values(shape.headers[name].cast(pl.String)) for name in (shape.key.columns[0], money.total)
    )
    return money.total if share(keys, _ID_OF_API) > MOSTLY and share(totals, r"\D") == 0 else ""


def _purchases(shape: Shape, sale: Mapping[str, str]) -> str:
    """Why rows may be purchases of the shop: they name suppliers, and nothing that sales have; else empty."""
    name = next(filter(names_supplier, shape.lines.columns), "")
    known = {*("customer", "email", "card", "phone", "store", "register", "staff", "status", "tender")}
    if name and not known & sale.keys():
        return f"whether these are sales, or purchases from `{name}`"
    number = next(filter(numbers_purchase_orders, shape.key.columns), "")
    if number and not {"customer", "email", "card", "phone", "tender"} & sale.keys():
        return f"whether these are sales, or purchases of the shop, since their number is `{number}`"
    return ""


def _other_records(shape: Shape, money: Money, sale: Mapping[str, str], line: Mapping[str, str]) -> str:
    """Why rows may be loans, expenses or other records with a number, a date and an amount; else empty."""
    if name := names_others(shape.key.columns):
        return f"whether these are sales, since their number is `{name}`"
    if money.quantity and line.keys() & {"name", "sku"}:
        return ""
    if numbers_orders(shape.key.columns):
        return ""
    names = [*shape.lines.columns, *shape.own_headers.columns]
    if name := names_others([*names, *shape.file_names]):
        return f"whether these are sales: `{name}` names something else"
    if sale.get("tender") or names_sales([*names, *shape.file_names]):
        return ""
    return "whether these are sales: no name says so, and nothing says what was sold"
