"""An amount off a whole sale, spread over its items in proportion to what they cost.

Shares are in the smallest amount of the currency (a cent, a yen, a fils), by largest remainder: everybody
gets the whole cents of the exact share, and the cents that are left go to those whose share was cut most.
50.00 over items of 65, 115, 25 and 45 is 13, 23, 5 and 9 (Omneo's guide to point-of-sale integration).
"""

from __future__ import annotations

import polars as pl

from pipeline.core.model import TX
from pipeline.mapping.functions import json_text as jsontext
from pipeline.mapping.functions.numbers import MONEY, amount_text, rounded

_SCALE = 10**MONEY.scale
_CENT = _SCALE // 100


def spread(items: pl.DataFrame, amounts: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Spread amounts over items.

    Args:
        items: TX, `quantity` and `price_sell`; one row an item. `is_void`, where it is there, says which
            lines are void.
        amounts: TX, `amount` (money, 0 or more), `reason` (may be null), `taken_off`: whether the prices
            do not hold it yet, and `smallest`: the smallest amount of its currency. Several rows a
            transaction are spread one by one.

    Returns:
        As many rows as `items`, in their order: `price_sell` after what is taken off, and `entries`, the
        shares as `amount` and `reason_desc` in JSON, joined by commas (null where there are none). Items
        that are void or without price or quantity get no share; where some items are returned and others
        sold, the sold ones bear it all. And those of `amounts` for which there was no item to bear them.
    """
    void = pl.col("is_void") if "is_void" in items.columns else pl.lit(value=False)
    sold = pl.when(~void.fill_null(value=False)).then("quantity").alias("quantity")
    at = items.select(TX, sold, "price_sell").with_row_index("at")
    rows = at.join(amounts.with_row_index("of"), on=TX, how="inner", maintain_order="left_right")
    shares = _shares(rows).filter(pl.col("share") != 0)
    left = amounts.with_row_index("of").filter(pl.col("amount") != 0)
    left = left.join(shares, on="of", how="anti", maintain_order="left").drop("of")
    share = pl.col("share").cast(pl.Decimal(38, 0)) / pl.lit(_SCALE, pl.Decimal(38, 4))
    entry = jsontext.members(
        {
            "amount": amount_text(pl.col("amount")),
            "reason_desc": jsontext.scalar(pl.col("reason"), pl.String()),
        }
    )
    shares = shares.with_columns(share.cast(MONEY).alias("amount")).with_columns(entry.alias("entry"))
    found = shares.group_by("at", maintain_order=True).agg(
        pl.col("entry"),
        (pl.when("taken_off").then("amount").otherwise(0)).sum().alias("off"),
    )
    one = pl.col("off").cast(pl.Decimal(38, 12)) / pl.col("quantity").cast(pl.Decimal(38, 12))
    price = pl.col("price_sell") - rounded(pl.when(pl.col("off") != 0).then(one).otherwise(0)).cast(MONEY)
    done = at.join(found, on="at", how="left", maintain_order="left").select(
        pl.when(pl.col("off").is_not_null())
        .then(price)
        .otherwise("price_sell")
        .cast(MONEY)
        .alias("price_sell"),
        pl.col("entry").list.join(",").alias("entries"),
    )
    return done, left


def _shares(rows: pl.DataFrame) -> pl.DataFrame:
    """Add `share` in units of money's smallest place; `rows` is each item beside each amount (`of`)."""
    worth = pl.col("price_sell").to_physical().cast(pl.Int128) * pl.col("quantity").cast(pl.Int128)
    total, whole = pl.col("amount").to_physical().cast(pl.Int128), pl.col("worth").sum().over("of")
    smallest = pl.col("smallest").to_physical().cast(pl.Int128)
    # An amount that has itself a fraction of its currency's smallest one is spread to the cent, or finer.
    unit = pl.when(total % smallest == 0).then(smallest).when(total % _CENT == 0).then(_CENT).otherwise(1)
    unit = unit.cast(pl.Int128)
    rows = rows.with_columns(worth.fill_null(0).alias("worth"))
    sold = pl.col("worth") > 0
    side = pl.when(sold.any().over("of")).then(sold).otherwise(pl.col("worth") < 0)
    rows = rows.filter(side).with_columns(
        pl.col("worth").abs(), pl.col("worth").sign().alias("sign"), unit.alias("unit")
    )
    exact = total // pl.col("unit") * pl.col("worth")
    rows = rows.with_columns((exact // whole).alias("floor"), (exact % whole).alias("cut"))
    left = total // pl.col("unit") - pl.col("floor").sum().over("of")
    rows = rows.with_columns(left.alias("left")).sort("of", "cut", "at", descending=[False, True, False])
    place = pl.int_range(pl.len(), dtype=pl.Int128).over("of")
    share = (pl.col("floor") + (place < pl.col("left")).cast(pl.Int128)) * pl.col("unit") * pl.col("sign")
    return rows.with_columns(share.alias("share")).sort("at", "of")
