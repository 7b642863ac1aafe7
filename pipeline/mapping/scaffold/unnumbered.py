"""Which rows are a sale where no column numbers the sales: those of one time, or of one customer and day."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, product
from typing import Final

import polars as pl

from pipeline.core.text.wording import count
from pipeline.mapping.scaffold.keys import NTH, Key
from pipeline.mapping.scaffold.vocabulary.cells import share, values
from pipeline.mapping.scaffold.vocabulary.role_fit import choose_columns, fit, ranked

_ENOUGH: Final = 20
_LARGEST: Final = 60
_USUAL: Final = 8
"""More rows of one time, or more than that on average, are no sale, but were booked together."""
_ROUND: Final = r"(?:^|[\sT])\d{1,2}:[0-5][05](?::00(?:\.0+)?)?(?:[^\d:.]|$)"
_MOSTLY_ROUND: Final = 0.8
_REPEATED: Final = 0.9
"""The share of customers among rows below which they come again, as they do in no list of customers."""
_NO_NUMBER: Final = "no column numbers the sales"


@dataclass(frozen=True)
class _Time:
    """The time of rows: one column, or one with the day and one with the time of day."""

    columns: tuple[str, ...]
    texts: pl.Series


def key_of_unnumbered(rows: pl.DataFrame, dates: Sequence[str], parts: Sequence[str]) -> Key | None:
    """What identifies a sale where no column numbers the sales; None where that is not certain.

    Args:
        rows: The rows of a file.
        dates: Its columns with dates, the likeliest for the sale first.
        parts: Its columns with stores and registers.
    """
    times = [*_times(rows, dates)]
    for time in times:
        if time.texts.n_unique() == rows.height and (key := _of_different_times(rows, time, parts)):
            return key
    if rows.height < _ENOUGH or any(fit(name, "key") > 2 for name in ranked(rows, "key")):
        return None
    customers = [*choose_columns(rows, ["customer", "card"]).values()]
    besides = [*((name,) for name in customers), tuple(parts), ()]
    together = (_of_one_time(rows, time, beside, customers) for time, beside in product(times, besides))
    days = (_of_one_day(rows, name, dates) for name in customers)
    totals = (_of_one_total(rows, time) for time in times)
    return next((key for key in chain(together, days, totals) if key), None)


def _times(rows: pl.DataFrame, dates: Sequence[str]) -> Iterator[_Time]:
    """The times of rows that are more than a day or an hour."""
    clocks = ranked(rows, "time", dates)
    for names in [*((name,) for name in dates), *product(dates[:1], clocks[:2])]:
        texts = rows.select(pl.concat_str(names, separator=" ").str.strip_chars())[names[0]]
        # Minutes as 00, 15 or 30 only are those of sums over parts of an hour.
        is_exact = share(texts, r"\d:\d{2}") == 1 and share(texts, _ROUND) < _MOSTLY_ROUND
        if texts.null_count() == 0 and is_exact:
            yield _Time(names, texts)


def _of_different_times(rows: pl.DataFrame, time: _Time, parts: Sequence[str]) -> Key | None:
    """Each row as a sale, where all have times of their own: that with the till, customer or total."""
    found = choose_columns(rows, ["customer", "card", "total"])
    total = found.get("total", "") if fit(found.get("total", ""), "total") > 2 else ""
    of_lines = choose_columns(rows, ["price", "name", "sku"])  # Goods are scanned at times of their own.
    if rows.height < _ENOUGH and (of_lines or not total or values(rows[total]).len() < rows.height):
        return None
    besides = [
        *parts,
        *(name for role, name in found.items() if role != "total"),
        *([total] if total else []),
    ]
    whole = (name for name in besides if name not in time.columns and values(rows[name]).len() == rows.height)
    beside = next(whole, "")
    columns = (*time.columns, *([beside] if beside else []))
    why = f"{_NO_NUMBER}; no two rows here have the same time, but later ones may"
    return Key(columns, why=why, amount=beside if beside == total else "", guessed=True)


def _of_one_time(
    rows: pl.DataFrame, time: _Time, beside: tuple[str, ...], customers: Sequence[str]
) -> Key | None:
    """The rows of one second as a sale, where they stand together: of one customer, or of one place."""
    filled = all(values(rows[name]).len() == rows.height for name in beside)
    if not filled or share(time.texts, r"\d:\d{2}:\d{2}") < 1 or share(time.texts, r"\d:\d{2}:00") > 0.5:
        return None
    key = pl.struct(*beside, time.texts.alias("__time"))
    people = [pl.col(name).n_unique().alias(f"people{n}") for n, name in enumerate(customers)]
    alike = rows.with_columns(key.alias("__sale"), key.rle_id().alias("__run"))
    sizes = alike.group_by("__sale").agg(pl.len().alias("rows"), pl.col("__run").n_unique(), *people)
    if (sizes["rows"] > _LARGEST).any() or rows.height > sizes.height * _USUAL:
        return None
    if any((sizes[name] > 1).any() for name in sizes.columns[2:]):
        return None  # They stand apart, or are of several customers.
    several = int((sizes["rows"] > 1).sum())
    return Key(
        (*beside, *time.columns),
        why=f"{_NO_NUMBER}; {count(several, 'group')} of rows of one second stand together",
        guessed=True,
    )


def _of_one_day(rows: pl.DataFrame, customer: str, dates: Sequence[str]) -> Key | None:
    """Each row as a sale, where no customer has two on one day, and the rows are no list of customers.

    In such a list no customer comes again. But rows with pieces of a product and their price are sales.
    """
    is_bought = choose_columns(rows, ["quantity", "price", "name"]).keys() == {"quantity", "price", "name"}
    for day in dates[:1]:
        pairs = rows.select(customer, day).drop_nulls().unique()
        again = is_bought or rows[customer].n_unique() < rows.height * _REPEATED
        months = share(values(rows[day]), r"^\d{4}\D0?1\D0?1\b|^0?1\D\d{1,2}\D\d{4}|^\d{4}\D\d{1,2}\D0?1\b")
        if pairs.height == rows.height and again and months < 0.5:
            why = f"{_NO_NUMBER}, and no customer has two rows on one day"
            return Key((customer, day), why=why, guessed=True)
    return None


def _of_one_total(rows: pl.DataFrame, time: _Time) -> Key | None:
    """Each row as a sale, where rows have a time and a total, and nothing of lines."""
    found = choose_columns(rows, ["total", "quantity", "price", "name", "sku", "department"])
    total = found.get("total", "")
    alike = time.texts.n_unique() < rows.height / 2
    if found.keys() != {"total"} or fit(total, "total") < 2 or alike or NTH in rows.columns:
        return None
    why = f"{_NO_NUMBER}; rows have a time and a total, and nothing of lines"
    return Key((*time.columns, total, NTH), why=why, amount=total, guessed=True)
