"""Tenders that have a column each, as `Cash` and `Card`: found by their names, and by their sums."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Final

import numpy as np

from pipeline.mapping.scaffold.amounts.arithmetic import (
    HOLDS,
    Figures,
    matters,
    member,
    share_equal,
    zero_for_blank,
)
from pipeline.mapping.scaffold.vocabulary.cells import Floats
from pipeline.mapping.scaffold.vocabulary.role_fit import fit, is_perhaps_money

_OTHERS: Final = 3
"""How many tenders may have names of their own, such as that of a local card."""
_OTHERS_TRIED: Final = 8


@dataclass(frozen=True)
class Tenders:
    """The columns of tenders.

    Attributes:
        columns: Their names; those that name a usual tender come first.
        total: The total that they add up to.
        equal: For how many sales they do.
        sales: How many sales there are.
    """

    columns: tuple[str, ...] = ()
    total: str = ""
    equal: int = 0
    sales: int = 0


def tenders_of(figures: Figures) -> Tenders:
    """The columns of tenders; none where fewer than two are used, or they do not add up to a total."""
    among = figures.sales
    named = [name for name in among if fit(member(name), "tender_amount") > 0]
    others = [n for n in among if n not in figures.role and n not in named and is_perhaps_money(member(n))]
    totals = [name for name in figures.of("total", among) if name not in named]
    if not named:
        return Tenders()
    for total in totals:
        best, columns = max(
            ((share_equal(_sum(figures, some), among[total]), some) for some in _sets(named, others)),
            key=lambda each: each[0],
        )
        if best >= HOLDS and sum(matters(among[name]) for name in columns) > 1:
            sales = among[total].size
            return Tenders(columns, total, round(best * sales), sales)
    return Tenders()


def _sets(named: Sequence[str], others: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """The named columns and up to as many others, the fewest first."""
    for number in range(min(len(others), len(named), _OTHERS) + 1):
        yield from ((*named, *some) for some in combinations(others[:_OTHERS_TRIED], number))


def _sum(figures: Figures, columns: Sequence[str]) -> Floats:
    paid = np.zeros(figures.shape.headers.height)
    for name in columns:
        paid += zero_for_blank(figures.sales[name])
    return paid


def without_tenders(figures: Figures, tenders: Tenders) -> Figures:
    """The numbers without those of tenders, which are parts of a total in another sense than lines are."""
    return replace(
        figures,
        lines={name: found for name, found in figures.lines.items() if name not in tenders.columns},
        sales={name: found for name, found in figures.sales.items() if name not in tenders.columns},
    )
