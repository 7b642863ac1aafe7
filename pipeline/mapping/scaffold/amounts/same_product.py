"""What the prices of one product in several rows say: whether they are for one piece, before a discount."""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl

from pipeline.mapping.scaffold.amounts.arithmetic import CENT, Figures, Term, zero_for_blank
from pipeline.mapping.scaffold.vocabulary.cells import MOSTLY, words_of

_FEW: Final = 4
"""In fewer rows or products it may be an accident."""


def price_kind(figures: Figures, name: str, quantity: str, product: str) -> str:
    """Whether an amount is `each`, for one piece, or for the `line`, by what the same product costs.

    `exactly line` where the amount of one piece is always the same. Empty where no product was sold in
    several quantities, or where it is not clear.
    """
    if not quantity or not product:
        return ""
    pieces, amounts = np.abs(figures.lines[quantity]), np.abs(figures.lines[name])
    with np.errstate(divide="ignore", invalid="ignore"):
        rows = pl.DataFrame(
            {
                "product": figures.shape.lines[product].cast(pl.String),
                "one": amounts,
                "two": amounts / pieces,
                "pieces": pieces,
            }
        ).filter((pl.col("one") > 0) & (pl.col("pieces") > 0))
    whole, single = _as_others(rows.filter(pl.col("pieces") > 1), rows.filter(pl.col("pieces") == 1))
    if max(whole, single) > MOSTLY:
        return "exactly line" if single > whole else "each"
    spread = [(pl.col(of).std() / pl.col(of).mean()).alias(of) for of in ("one", "two")]
    each = rows.group_by("product").agg(*spread, pl.col("pieces").n_unique()).filter(pl.col("pieces") > 1)
    if each.is_empty():
        return ""
    whole, single = each.select(pl.col("one", "two").mean().fill_null(0.0)).row(0)
    if single < _SAME_PRICE and whole > 10 * _SAME_PRICE and each.height > 1:
        return "exactly line"
    if single < whole / 2:
        return "line"
    return "each" if whole < single / 2 else ""


def _as_others(rows: pl.DataFrame, others: pl.DataFrame) -> tuple[float, float]:
    """In which shares of rows the amounts `one` and `two` are `one` of the same product in other rows."""
    known = others.select("product", pl.col("one").round(2).alias("known")).unique()
    joined = rows.head(_LOOKED_AT).with_row_index("row").join(known, on="product")
    equal = [((pl.col(of) - pl.col("known")).abs() <= 2 * CENT).any().alias(of) for of in ("one", "two")]
    each = joined.group_by("row").agg(equal)
    return each.select(pl.col("one", "two").mean()).row(0) if each.height >= _FEW else (0.0, 0.0)


def _alike_in_each(rows: pl.DataFrame) -> tuple[float, float]:
    """In which shares of the products with several discounts `one` and `two` are the same throughout."""
    same_ = [(pl.col(of).max() - pl.col(of).min() <= 2 * CENT).alias(of) for of in ("one", "two")]
    each = rows.group_by("product").agg(*same_, pl.col("off").n_unique()).filter(pl.col("off") > 1)
    return each.select(pl.col("one", "two").mean()).row(0) if each.height >= _FEW else (0.0, 0.0)


def discount_kind(figures: Figures, price: str, name: str) -> tuple[str, Term | None]:
    """Whether a price is `before` a discount or `after` it, by what the same product costs without one.

    Returns:
        Empty where few products were sold with and without one, or where it is not clear; and how it comes
        off, where only one way is likely.
    """
    term = _likely_discount(figures, price, name)
    if term is None or not figures.product:
        return "", term
    off = zero_for_blank(figures.lines[name])
    prices = figures.lines[price]
    if term.factor in ("share", "percent"):
        rate = np.clip(off / (1 if term.factor == "share" else 100), 0, 0.99)
        undone = prices / (1 - rate)
    else:
        undone = prices + off
    product = figures.shape.lines[figures.product].cast(pl.String)
    rows = pl.DataFrame({"product": product, "one": prices, "two": undone, "off": off})
    rows = rows.filter(pl.col("one") > 0)
    here, there = _as_others(rows.filter(pl.col("off") > 0), rows.filter(pl.col("off") == 0))
    if not max(here, there):
        here, there = _alike_in_each(rows)
    if max(here, there) <= MOSTLY or here == there:
        return "", term
    return ("before" if here > there else "after"), term


_LOOKED_AT: Final = 5000
"""Lines whose prices are compared with those of other lines."""
_SAME_PRICE: Final = 0.02
_UNLIKELY_SHARE: Final = 500
"""A discount is in percent where a typical price is more than so many times as much."""


def _likely_discount(figures: Figures, price: str, name: str) -> Term | None:
    """How a discount comes off by its size; None where it could be an amount or in percent."""
    some = figures.lines[name][np.abs(zero_for_blank(figures.lines[name])) > 0]
    typical = float(np.nanmedian(figures.lines[price]))
    if not some.size or np.nanmin(some) < 0:
        return None
    if name in figures.percents:
        return Term(name, -1, "percent")
    if np.nanmax(some) <= 1 and typical > 5:
        return Term(name, -1, "share")
    is_named = bool({"percent", "percentage", "pct", "prozent"} & {*words_of(name)}) or "%" in name
    if np.nanmax(some) <= 100 and (is_named or typical > _UNLIKELY_SHARE * float(np.nanmedian(some))):
        return Term(name, -1, "percent")
    return None
