"""What is booked as a sale and is none: movements of money, corrections of stock and of debts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import polars as pl

from pipeline.core.text.wording import count
from pipeline.mapping.language.yaml_text import in_single_quotes
from pipeline.mapping.scaffold.amounts.money import Money
from pipeline.mapping.scaffold.shape import MIXED, Shape
from pipeline.mapping.scaffold.vocabulary.cells import MOSTLY, floats, plain, share, sql_name, values
from pipeline.mapping.scaffold.vocabulary.role_fit import fit
from pipeline.mapping.scaffold.vocabulary.row_types import (
    is_named_type,
    kinds_of_rows,
    names_movements,
    row_kind,
    uncertain_kinds,
)
from pipeline.mapping.scaffold.vocabulary.statuses import ENDED, answers_out, is_perhaps_sold

_FEW_SALES: Final = 20
_MOVED: Final = 0.05
"""The share of texts that name movements of money from which on they are those of a bank account."""


@dataclass(frozen=True)
class NoSales:
    """Rows that are booked as sales and are none.

    Attributes:
        sql: The condition.
        why: What speaks for it.
        sales: How many there are.
        name: A name that has to be defined for it; otherwise empty.
        value: What that is.
        asked: Which other rows may be none, which a person has to say before the draft runs.
    """

    sql: str
    why: str
    sales: int
    name: str = ""
    value: str = ""
    asked: str = ""


def no_sales(shape: Shape, money: Money, sale: Mapping[str, str]) -> Iterator[NoSales]:
    """What is booked as a sale and is none.

    Args:
        shape: The export.
        money: Its amounts.
        sale: Its columns of the sale by role.
    """
    yield from _flagged(shape, sale)
    yield from _movements(shape, money, sale)
    yield from _corrections(shape, money, sale)


def moved_money(shape: Shape, money: Money) -> str:
    """Why rows may be no sales, by their types, or by many kinds of texts that name transfers; else empty."""
    for name, dtype in shape.headers.schema.items():
        filled = values(shape.headers[name]) if dtype == pl.String else pl.Series(dtype=pl.String)
        if not fit(name, "tender") and (words := uncertain_kinds(name, filled)):
            rows = count(int(filled.is_in(words).sum()), "sale", "counts")
            return f"whether {rows} of which `{name}` is {' or '.join(words)}"
    if money.quantity or money.price:
        return ""
    for name, dtype in shape.lines.schema.items():
        filled = values(shape.lines[name]) if dtype == pl.String else pl.Series(dtype=pl.String)
        different = filled.unique()
        if filled.len() < shape.lines.height * MOSTLY or different.len() < _FEW_SALES:
            continue
        if share(different, r"\p{L}{3}") < MOSTLY:
            continue
        moved = sum(row_kind(text) == "movement" for text in different.to_list())
        if moved > different.len() * _MOVED:
            return (
                f"whether these rows are sales: {moved:,} texts of `{name}` name transfers, deposits and such"
            )
    return ""


def _flagged(shape: Shape, sale: Mapping[str, str]) -> Iterator[NoSales]:
    """Sales that a column with yes or no says to be void, not complete or the like."""
    for name, dtype in shape.own_headers.schema.items():
        if name in sale.values() or dtype.is_nested() or shape.differing(name) > MIXED:
            continue
        filled = values(shape.headers[name].cast(pl.String))
        if plain(name) in ENDED.split() and 0 < filled.len() < shape.headers.height:
            yield NoSales(f"{sql_name(name)} IS NOT NULL", f"`{name}` is filled", filled.len())
        out = answers_out(name, filled)
        if sales := int(filled.is_in(out).sum()):
            words, said = ", ".join(map(in_single_quotes, out)), f"`{name}` is {' or '.join(out)}"
            asked = (
                f"do {count(sales, 'sale')} count of which {said}? If so, take that out of `excluded` below"
            )
            yield NoSales(
                f"{sql_name(name)} IN ({words})", said, sales, asked=asked if is_perhaps_sold(name) else ""
            )


def _movements(shape: Shape, money: Money, sale: Mapping[str, str]) -> Iterator[NoSales]:
    """Withdrawals, fees and the like, where an account of payments holds them beside sales."""
    texts = [name for name, dtype in shape.own_headers.schema.items() if dtype == pl.String]
    free = [
        name
        for name in texts
        if name not in (*shape.key.columns, *money.columns, sale.get("status"), sale.get("tender"))
        and not fit(name, "tender")
        and not max(fit(name, role) for role in ("name", "sku", "department", "store", "customer")) > 1
    ]
    for name in sorted(free, key=lambda name: not is_named_type(name)):
        filled = values(shape.headers[name])
        if shape.differing(name) > MIXED or not names_movements(filled, is_named=is_named_type(name)):
            continue
        counts = {str(word): int(n) for word, n in filled.value_counts(sort=True).iter_rows()}
        kinds = kinds_of_rows(counts)
        spent = [word for word in kinds.get("sale", []) if _is_spent(shape, name, word, money)]
        moved = [*kinds.get("movement", []), *kinds.get("visit", []), *spent]
        listed = ", ".join(in_single_quotes(word) for word in moved)
        said = ", ".join(f"{word} ({counts[word]:,})" for word in moved)
        unknown = ", ".join(f"{word} ({counts[word]:,})" for word in kinds.get("", []))
        do = "only look" if "visit" in kinds and "movement" not in kinds else "move money and sell nothing"
        why = f"by `{name}` they {do}: {said}"
        asked = unknown and f"are {unknown} of `{name}` sales? If not, add them to `excluded` below"
        yield NoSales(
            f"{sql_name(name)} IN ({listed})", why, sum(map(counts.__getitem__, moved)), asked=asked
        )
        return


def _is_spent(shape: Shape, column: str, word: str, money: Money) -> bool:
    """Whether all amounts of a type are below 0, though it is no return: money that was paid to others."""
    if money.total not in shape.headers.columns:
        return False
    totals = floats(shape.headers[money.total].cast(pl.String), money.number)
    of_word = (shape.headers[column].str.strip_chars() == word).fill_null(value=False).to_numpy()
    return bool((totals[of_word] < 0).all())


def _corrections(shape: Shape, money: Money, sale: Mapping[str, str]) -> Iterator[NoSales]:
    """Corrections of stock and of debts, where lines are added up."""
    if (
        money.total
        or not (money.price and money.quantity)
        or shape.layout != "lines"
        or not shape.has_several
    ):
        return
    if money.price not in shape.lines.columns or len(shape.key.columns) > 1:
        return
    number = shape.key.columns[0]
    prices = pl.Series("price", floats(shape.lines[money.price], money.number), nan_to_null=True)
    lines = shape.lines.select(number).with_columns(prices, pl.Series("at", shape.at))
    mark = pl.col(number).str.extract(r"^([A-Za-z]+)\d").alias("mark")
    marked = lines.with_columns(mark).drop_nulls("mark")
    if marked["at"].n_unique() <= shape.headers.height * (1 - MOSTLY) or shape.headers.height < _FEW_SALES:
        for word in marked.filter(pl.col("price") < 0)["mark"].unique().sort():
            sales = marked.filter(pl.col("mark") == word)["at"].n_unique()
            yield NoSales(f"{sql_name(number)} LIKE '{word}%'", "prices below 0 are no returns", sales)
    customer = sale.get("customer") or sale.get("email")
    if not customer:
        return
    free = lines.group_by("at").agg((pl.col("price") == 0).all()).filter("price")["at"]
    without = shape.headers.with_row_index("at").filter(pl.col(customer).is_null())["at"].cast(pl.Int64)
    if sales := int(free.is_in(without.implode()).sum()):
        yield NoSales(
            f"{sql_name(customer)} IS NULL AND priced_lines = 0",
            "no customer and no price: corrections of stock",
            sales,
            "priced_lines",
            f"{{count: {in_single_quotes(f'{sql_name(money.price)} <> 0')}}}",
        )
