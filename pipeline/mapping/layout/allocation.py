"""Allocates an amount off a whole sale to its items, in proportion to what they cost.

Shares are multiples of the currency's smallest amount (a cent, a yen, a fils), by largest remainder: each
item gets the whole cents of its exact share, and the cents that are left go to the items whose shares lost
the largest fractions. 50.00 over items of 65, 115, 25 and 45 is 13, 23, 5 and 9 (Omneo's guide to
point-of-sale integration).
"""

from __future__ import annotations

import polars as pl

from pipeline.core.frames import MONEY
from pipeline.core.model import TX
from pipeline.mapping.functions import json_text
from pipeline.mapping.functions.numbers import EXACT, amount_text, rounded

_SCALE = 10**MONEY.scale
_CENT = _SCALE // 100


def allocate(items: pl.DataFrame, amounts: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Allocate amounts to items.

    Args:
        items: One row per item: TX, `quantity` and `price_sell`; and `is_void`, where the mapping has it.
        amounts: TX, `amount` (money, 0 or more), `reason` (may be null), `taken_off` (whether to subtract it
            from the prices) and `smallest` (the smallest amount of its currency). Several rows of a
            transaction are allocated one by one.

    Returns:
        As many rows as `items`, in their order: `price_sell` after subtraction, and `entries`, the shares as
        `amount` and `reason_desc` in JSON, joined by commas (null where there are none). Items that are void
        or lack a price or quantity get no share; where some items are returned and others sold, the sold ones
        get all of it. And the rows of `amounts` that no item could take.
    """
    void = pl.col("is_void") if "is_void" in items.columns else pl.lit(value=False)
    sold = pl.when(~void.fill_null(value=False)).then("quantity").alias("quantity")
    items = items.select(TX, sold, "price_sell").with_row_index("at")
    amounts = amounts.with_row_index("of")
    pairs = items.join(amounts, on=TX, how="inner", maintain_order="left_right")
    shares = _shares(pairs).filter(pl.col("share") != 0)
    left = amounts.filter(pl.col("amount") != 0).join(shares, on="of", how="anti", maintain_order="left")
    share = pl.col("share").cast(EXACT) / _SCALE
    reason = json_text.scalar(pl.col("reason"), pl.String())
    entry = json_text.members({"amount": amount_text(pl.col("amount")), "reason_desc": reason})
    shares = shares.with_columns(share.cast(MONEY).alias("amount")).with_columns(entry.alias("entry"))
    found = shares.group_by("at").agg(
        pl.col("entry"), pl.col("amount").filter("taken_off").sum().alias("off")
    )
    off_one = (pl.col("off").cast(EXACT) / pl.col("quantity").cast(EXACT)).fill_null(0)
    done = items.join(found, on="at", how="left", maintain_order="left").select(
        (pl.col("price_sell") - rounded(off_one).cast(MONEY)).cast(MONEY),
        pl.col("entry").list.join(",").alias("entries"),
    )
    return done, left.drop("of")


def _shares(pairs: pl.DataFrame) -> pl.DataFrame:
    """Add `share` to pairs of an item (`at`) and an amount (`of`), in units of money's last decimal."""
    # Integers of 128 bits: worths times amounts would overflow 64 bits, and floats are not exact.
    worth = pl.col("price_sell").to_physical().cast(pl.Int128) * pl.col("quantity").cast(pl.Int128)
    total, whole = pl.col("amount").to_physical().cast(pl.Int128), pl.col("worth").sum().over("of")
    smallest = pl.col("smallest").to_physical().cast(pl.Int128)
    # An amount that is not a multiple of its currency's smallest amount is allocated in cents, or finer.
    unit = pl.when(total % smallest == 0).then(smallest).when(total % _CENT == 0).then(_CENT).otherwise(1)
    # Null where an item has no price or quantity.
    pairs = pairs.with_columns(worth.alias("worth"), worth.sign().alias("sign"), unit.alias("unit"))
    # What is sold bears it; only where nothing is, what is returned.
    bears_it = pl.col("sign") == pl.col("sign").max().over("of")
    pairs = pairs.filter(pl.col("sign") != 0).filter(bears_it).with_columns(pl.col("worth").abs())
    exact = total // pl.col("unit") * pl.col("worth")
    pairs = pairs.with_columns((exact // whole).alias("floor"), (exact % whole).alias("lost"))
    left = total // pl.col("unit") - pl.col("floor").sum().over("of")
    pairs = pairs.with_columns(left.alias("left")).sort("lost", "at", descending=[True, False])
    place = pl.int_range(pl.len(), dtype=pl.Int128).over("of")
    share = (pl.col("floor") + (place < pl.col("left")).cast(pl.Int128)) * pl.col("unit") * pl.col("sign")
    return pairs.with_columns(share.alias("share")).sort("of")
