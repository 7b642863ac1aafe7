"""Anomalies of stores: names that may be typos, and several currencies."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import islice
from typing import Final

import polars as pl

from pipeline.core.findings import Anomaly, anomaly
from pipeline.core.text.wording import count
from pipeline.validation.anomalies.evidence import place, shown
from pipeline.validation.anomalies.observations import Observations

# Sales of the median store from which on a store with a single sale is odd.
_USUAL_SALES: Final = 20
# Share of the sales of the store that was meant: a typo is rare, another store is not.
_TYPO_SHARE: Final = 0.02
# Sales from which on a store's name is taken to be right.
_BIG_STORE: Final = 50


def stores_that_may_be_typos(observed: Observations, sources: Sequence[str]) -> Iterator[Anomaly]:
    """Stores with hardly any sales, and stores with nearly the name of a big one."""
    stores = observed.stores.sort("sales", "store")
    typos = {row["store"]: near for row, near in _typos(stores)}
    usual = pl.col("sales").median()
    once = stores.filter((pl.col("sales") == 1) & (usual >= _USUAL_SALES))
    odd = pl.concat([once, stores.filter(pl.col("store").is_in(list(typos)))]).unique(
        "store", maintain_order=True
    )
    lines = [
        f"{row['store']!r}: {count(row['sales'], 'sale')} "
        f"({place(row, sources)})"
        + (f"; was {typos[row['store']]!r} meant?" if row["store"] in typos else "")
        for row in odd.iter_rows(named=True)
    ]
    if lines:
        yield anomaly(
            "location_unusual",
            "Some stores have hardly any sales. Omneo creates a store for each name it does not know, so "
            "that a typo makes a store.",
            shown(lines),
        )


def _typos(stores: pl.DataFrame) -> Iterator[tuple[dict[str, object], str]]:
    """Stores with the name of a bigger one in another spelling; small ones also where one letter differs."""
    big = {
        row["store"]: row["sales"]
        for row in stores.filter(pl.col("sales") >= _BIG_STORE).iter_rows(named=True)
    }
    by_variant: dict[str, list[str]] = {}
    for name in big:
        for variant in _variants(name):
            by_variant.setdefault(variant, []).append(name)
    for row in stores.iter_rows(named=True):
        near = {name for variant in _variants(row["store"]) for name in by_variant.get(variant, ())}
        meant = [
            name
            for name in sorted(near - {row["store"]}, key=lambda name: (-big[name], name))
            if _is_same(row["store"], name, row["sales"], big[name])
            or (row["sales"] <= _TYPO_SHARE * big[name] and _is_typo(row["store"], name))
        ]
        if meant:
            yield row, meant[0]


# Each name is compared with many others.
@cache
def _folded(name: str) -> str:
    """A name without what people write inconsistently: letter case, blanks, punctuation, leading zeros."""
    # A mark between digits stays as a point: it tells store 1.12 from store 11.2.
    numbered = re.sub(r"(?<=\d)[\W_]+(?=\d)", ".", re.sub(r"(?<!\d)0+(?=\d)", "", name.casefold()))
    return "".join(letter for letter in numbered if letter.isalnum() or letter == ".")


def _variants(name: str) -> set[str]:
    """The name, and the name without any one of its letters: near names share one of these."""
    folded = _folded(name)
    return {folded, *(folded[:n] + folded[n + 1 :] for n in range(len(folded)))}


def _is_same(name: str, meant: str, sales: int, sales_meant: int) -> bool:
    """Whether two names differ only in how they are written; the one with fewer sales is the odd one."""
    return _folded(name) == _folded(meant) and (sales, name) < (sales_meant, meant)


def _is_typo(name: str, meant: str) -> bool:
    """Whether one edit turns one name into the other; names that differ in their numbers are not typos."""
    a, b = sorted((_folded(name), _folded(meant)), key=len)
    number, other = re.findall(r"\d+", a), re.findall(r"\d+", b)
    if number and other and number != other:
        return False
    if len(a) < len(b):
        place = next((n for n in range(len(a)) if a[n] != b[n]), len(a))
        return a == b[:place] + b[place + 1 :]
    places = [n for n in range(len(a)) if a[n] != b[n]]
    if len(places) == 2:
        return places[1] == places[0] + 1 and a[places[0]] == b[places[1]] and a[places[1]] == b[places[0]]
    return len(places) <= 1


# With fewer, a tourist shop looks like a wrong column.
_SALES_FOR_CURRENCY: Final = 20


def currency_mix(observed: Observations, _sources: Sequence[str]) -> Iterator[Anomaly]:
    """Several currencies in one store."""
    if observed.currencies["currency"].null_count() == observed.currencies.height:
        return
    mixed = observed.currencies.filter(
        (pl.len().over("store") > 1) & (pl.col("sales").sum().over("store") >= _SALES_FOR_CURRENCY)
    )
    lines = [
        f"{store or 'no store'}: "
        + ", ".join(f"{currency or 'no currency'} {count:,}" for currency, count in rows)
        for store, rows in _by_store(mixed)
    ]
    if lines:
        yield anomaly(
            "currency_mix",
            "A store usually sells in one currency: look whether these are right.",
            shown(lines),
        )


def _by_store(mixed: pl.DataFrame) -> Iterator[tuple[str | None, list[tuple[str | None, int]]]]:
    ordered = mixed.sort("sales", descending=True)
    for (store,), rows in ordered.partition_by("store", as_dict=True, maintain_order=True).items():
        yield store, list(islice(rows.select("currency", "sales").iter_rows(), 5))


DETECTORS: Final = (stores_that_may_be_typos, currency_mix)
