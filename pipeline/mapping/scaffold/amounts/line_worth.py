"""What a line of a sale is worth: by its total, or by quantity and price, with discounts and taxes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final

import numpy as np

from pipeline.mapping.scaffold.amounts.arithmetic import (
    CENT,
    HOLDS,
    TOTALS_TRIED,
    Figures,
    Term,
    beside,
    best_terms,
    chain,
    counted,
    discount_terms,
    extra_terms,
    has_cents,
    is_with_tax,
    matters,
    member,
    same,
    share_equal,
    unnamed_amounts,
    value_of,
    zero_for_blank,
)
from pipeline.mapping.scaffold.amounts.same_product import discount_kind, price_kind
from pipeline.mapping.scaffold.vocabulary.cells import Floats, plain
from pipeline.mapping.scaffold.vocabulary.role_fit import fit, is_perhaps_money

NO_ACCIDENT: Final = 0.3
"""The share of rows in which a total is quantity × price that is no accident, though others differ."""


_SOME_OFF: Final = 20
"""In fewer lines with a discount it may be an accident that their prices are those of a list."""
_SEVERAL: Final = 0.2
"""The share of lines with several pieces from which on a price for one differs from that for the line."""


@dataclass(frozen=True)
class LineWorth:
    """One reading of what lines are worth.

    Attributes:
        worth: One amount a line.
        quantity: The column with the quantity; like the others empty where none is used.
        price: The column with the price for one.
        line: The column with the line's total.
        plus: What a line is worth beside `line`, or beside quantity × price.
        terms: The discounts, taxes and the like that explain the line's total.
        why: What speaks for it.
        exact: Whether quantity × price is the line's total.
        sure: Whether the rows prove it.
        doubt: Why the total has to be left open.
    """

    worth: Floats
    quantity: str = ""
    price: str = ""
    line: str = ""
    plus: tuple[Term, ...] = ()
    terms: tuple[Term, ...] = ()
    why: str = ""
    exact: bool = False
    sure: bool = False
    doubt: str = ""


def line_readings(figures: Figures) -> Iterator[LineWorth]:
    """What a line may be worth, the likeliest first."""
    among = figures.lines
    quantities = figures.of("quantity", among)[:3]
    prices = figures.of("price", among)[:4] or figures.of("list_price", among)[:1]
    several = figures.shape.has_several
    of_sale = set(figures.sales) if several and figures.shape.layout in ("lines", "first_row") else set()
    totals = [n for n in figures.of("total", among) if n not in of_sale][:TOTALS_TRIED]
    unnamed = [n for n in among if n not in figures.role and n not in of_sale and has_cents(figures, n)][:4]
    found = sorted(
        _related(figures, quantities, prices, [*totals, *unnamed, *prices]), key=lambda line: -len(line.terms)
    )
    found = found or [*_line_chain(figures, quantities, totals)]
    amounts = [name for name in (*totals, *unnamed) if is_perhaps_money(member(name))]
    yield from _with_tax(figures, found, amounts)
    yield from found
    if not found:
        yield from _unrelated(figures, quantities, prices, totals)
    if several and quantities:
        # Some exports write what a line comes to as its price, which only totals can show.
        yield from (
            LineWorth(
                among[name], quantities[0], "", name, why=f"`{name}` is for the line", doubt=_FOR_THE_LINE
            )
            for name in prices
        )


def _with_tax(figures: Figures, found: Sequence[LineWorth], names: Sequence[str]) -> Iterator[LineWorth]:
    """Line totals that are another one with tax, though no column holds the tax."""
    for line, name in product(found[:2], names):
        if name not in (line.line, line.price) and is_with_tax(line.worth, figures.lines[name]):
            why = f"`{name}` is `{line.line}` with tax; {line.why}"
            yield LineWorth(figures.lines[name], line.quantity, "", name, why=why, sure=True)


_RATE_ROUNDED: Final = 0.001
_FOR_THE_LINE: Final = "whether the price is for the line"


def _paid_price(figures: Figures, prices: Sequence[str]) -> tuple[str, str]:
    """The price that follows from another one by a discount, and what speaks for it; else empty."""
    among = figures.lines
    terms = [term for term in discount_terms(figures, among) if term.factor != "each"]
    for before, after, term in product(prices, prices, terms):
        worth = value_of(among[before], [term], among, None)
        # Rates are rounded to three places or so.
        near = np.abs(worth - among[after]) <= CENT + _RATE_ROUNDED * np.abs(among[before])
        if before != after and not same(among, before, after) and near.mean() > HOLDS:
            equal = float(near.mean())
            return after, f"in {counted(equal, among[after])} rows `{after}` is `{before}`{beside([term])}"
    return "", ""


def _line_chain(figures: Figures, quantities: Sequence[str], totals: Sequence[str]) -> Iterator[LineWorth]:
    """Line totals at the end of a chain of discounts and taxes, where there is no price for one."""
    among = figures.lines
    parts = dict.fromkeys([*discount_terms(figures, among), *extra_terms(figures, among)])
    chained = [*chain(among, totals, [*parts][:7])]
    ends = {end for _, end, _, _ in chained} - {start for start, _, _, _ in chained}
    quantity = quantities[0] if quantities else ""
    for start, end, terms, equal in sorted(chained, key=lambda each: -len(each[2])):
        if end in ends:
            why = f"in {counted(equal, among[end])} rows `{end}` is `{start}`{beside(terms)}"
            yield LineWorth(among[end], quantity, "", end, terms=terms, why=why, sure=True)


def _related(
    figures: Figures, quantities: Sequence[str], prices: Sequence[str], totals: Sequence[str]
) -> Iterator[LineWorth]:
    """Line totals that follow from quantity and price, with discounts and taxes."""
    among = figures.lines
    discounts = [*discount_terms(figures, among)]
    taxes = [Term(name, 1) for name in figures.of("tax", among)[:2] if matters(among[name])]
    extra = [
        Term(name, 1)
        for role in ("shipping", "tip")
        for name in figures.of(role, among)[:1]
        if matters(among[name])
    ]
    if not figures.shape.has_several:
        extra = []  # They are the sale's, and no part of what its one line costs.
    for quantity, price in product(quantities, prices):
        pieces = among[quantity]
        base = pieces * among[price]
        for line in totals:
            if line == price or not matters(among[line]):
                continue
            if line in prices and (np.abs(zero_for_blank(pieces)) > 1).mean() < _SEVERAL:
                continue  # Of one piece, the price of another column would be that of the line too.
            found = best_terms(base, among[line], [*discounts, *taxes, *extra], among, pieces)
            if found:
                terms, equal = found
                yield LineWorth(
                    among[line],
                    quantity,
                    price,
                    line,
                    terms=terms,
                    why=f"in {counted(equal, base)} rows `{line}` is {_written(quantity, price, terms)}",
                    exact=not terms,
                    sure=True,
                )


def _written(quantity: str, price: str, terms: Sequence[Term]) -> str:
    return f"`{quantity}` × `{price}`" + "".join(
        f" {'+' if term.sign > 0 else '-'} `{term.column}`" for term in terms
    )


def _unrelated(
    figures: Figures, quantities: Sequence[str], prices: Sequence[str], totals: Sequence[str]
) -> Iterator[LineWorth]:
    """What a line may be worth where no line total follows from quantity and price."""
    among = figures.lines
    quantity = quantities[0] if quantities else ""
    if quantities and prices:
        paid, why = _paid_price(figures, [*prices, *figures.of("list_price", among)[:2]])
        if paid:
            worth = among[quantity] * among[paid]
            why = f"it is `{quantity}` × `{paid}`; {why}"
            yield LineWorth(worth, quantity, paid, why=why, exact=True, sure=True)
        else:
            yield from _from_price(figures, quantity, prices[0], totals)
        return
    likely = [name for name in totals if fit(member(name), "total") > 1]
    for name in likely or prices:
        rivals = [n for n in likely if fit(member(n), "total") > 2 and not same(among, n, name)]
        rivals += [n for n in unnamed_amounts(figures, among) if not same(among, n, name)]
        doubt = f"whether a line's total is `{name}` or `{rivals[0]}`" if rivals else ""
        kind = price_kind(figures, name, quantity, figures.product)
        if quantity and not kind.endswith("line") and ("price" in plain(name) or kind == "each"):
            doubt = doubt or f"whether `{name}` is for the line or for one piece"
        yield LineWorth(
            among[name],
            quantity,
            "",
            name,
            why=f"`{name}` is the only amount of a line",
            sure=not doubt,
            doubt=doubt,
        )


def _from_price(figures: Figures, quantity: str, price: str, totals: Sequence[str]) -> Iterator[LineWorth]:
    """What a line may be worth by quantity and price, from which no line total follows."""
    among = figures.lines
    base = among[quantity] * among[price]
    named = [name for name in totals if fit(member(name), "total") > 2 and matters(among[name])]
    if sure := _sure_from_price(figures, quantity, price, named):
        yield sure
        return
    doubt = _price_doubt(figures, quantity, price, named)
    why = f"it is `{quantity}` × `{price}`"
    yield LineWorth(base, quantity, price, why=why, exact=True, sure=not doubt, doubt=doubt)
    if not doubt:
        return
    for term in discount_terms(figures, among):
        worth = value_of(base, [term], among, among[quantity])
        why = f"it is {_written(quantity, price, [term])}"
        yield LineWorth(worth, quantity, price, plus=(term,), terms=(term,), why=why, doubt=doubt)
    for name in named:
        yield LineWorth(among[name], quantity, "", name, why=f"`{name}` is named so", doubt=doubt)


def _sure_from_price(figures: Figures, quantity: str, price: str, named: Sequence[str]) -> LineWorth | None:
    """A reading for which the rows speak, though no line total is quantity × price throughout."""
    among = figures.lines
    base = among[quantity] * among[price]
    off = [n for n in figures.of("discount", among) if matters(among[n])]
    for name in named:
        if (equal := share_equal(base, among[name])) > NO_ACCIDENT:
            some = f"`{name}` is `{quantity}` × `{price}` in {counted(equal, base)} rows"
            return LineWorth(
                among[name], quantity, "", name, why=f"{some}, and what is named so in the others", sure=True
            )
        if found := best_terms(among[price], among[name], [*discount_terms(figures, among)], among):
            terms, equal = found
            why = (
                f"in {counted(equal, base)} rows `{name}` is `{price}`{beside(terms)}, which is for the line"
            )
            return LineWorth(among[name], quantity, "", name, why=why, sure=True)
    if not named and not off and price_kind(figures, price, quantity, figures.product) == "exactly line":
        why = f"`{price}` is for the line: divided by `{quantity}` it is the same for a product"
        return LineWorth(among[price], quantity, "", price, why=why, sure=True)
    if off and not named:
        when, term = discount_kind(figures, price, off[0])
        why = f"`{price}` of a product is the same with any `{off[0]}`, so that comes off"
        if not when and (listed := _listed_price(figures, price, off[0])):
            when, why = "before", f"`{price}` is `{listed}` with any `{off[0]}`, so that comes off"
        if when == "before" and term:
            worth = value_of(base, [term], among, among[quantity])
            return LineWorth(worth, quantity, price, plus=(term,), terms=(term,), why=why, sure=True)
    return None


def _listed_price(figures: Figures, price: str, discount: str) -> str:
    """The price in a table of products that a price is where there is a discount as well; else empty."""
    among = figures.lines
    if price in figures.shape.found_in:
        return price
    off = zero_for_blank(among[discount]) != 0
    listed = [n for role in ("price", "list_price") for n in figures.of(role, among)]
    listed = [n for n in listed if n != price and n in figures.shape.found_in]
    enough = int(off.sum()) >= _SOME_OFF and np.unique(among[discount][off]).size > 1
    return next((n for n in listed if enough and share_equal(among[n][off], among[price][off]) > HOLDS), "")


def _price_doubt(figures: Figures, quantity: str, price: str, named: Sequence[str]) -> str:
    off = [n for n in figures.of("discount", figures.lines) if matters(figures.lines[n])]
    if named:
        return f"`{named[0]}` is not `{quantity}` × `{price}`"
    if price_kind(figures, price, quantity, figures.product).endswith("line"):
        return f"whether `{price}` is for one piece: a product costs more where more pieces are sold"
    if off and discount_kind(figures, price, off[0])[0] != "after":
        return f"whether `{off[0]}` is taken off `{price}` already"
    return ""
