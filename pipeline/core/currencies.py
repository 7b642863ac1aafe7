"""How many decimal places a currency's amounts have: the minor units of ISO 4217.

Only the currencies that differ from two places are listed.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from pipeline.core.model import MONEY_PRECISION, MONEY_SCALE

USUAL_PLACES: Final = 2
_CODES: Final = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
PLACES: Final = {code: places for places, codes in _CODES.items() for code in codes.split()}
"""Decimal places by currency, where they are not two."""


def smallest_amount(currency: pl.Expr) -> pl.Expr:
    """The smallest amount in a currency as money: 1 in JPY, 0.001 in KWD, 0.01 where it is not known."""
    by_code = {code: 10 ** (MONEY_SCALE - places) for code, places in PLACES.items()}
    usual = 10 ** (MONEY_SCALE - USUAL_PLACES)
    units = currency.replace_strict(by_code, default=usual, return_dtype=pl.Int64)
    return (units.cast(pl.Decimal(38, 0)) / pl.lit(10**MONEY_SCALE, pl.Decimal(38, MONEY_SCALE))).cast(
        pl.Decimal(MONEY_PRECISION, MONEY_SCALE)
    )
