"""Arithmetic over the columns of an export: which amounts follow from which others, and in how many rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import Final

import numpy as np
import polars as pl

from pipeline.mapping.language.value_spec import Number
from pipeline.mapping.scaffold.shape import Shape
from pipeline.mapping.scaffold.vocabulary.cells import (
    MOSTLY,
    Floats,
    floats,
    is_numeric,
    number_form,
    share,
    values,
)
from pipeline.mapping.scaffold.vocabulary.role_fit import fit, is_perhaps_money, paid_or_total, without_costs
from pipeline.mapping.scaffold.vocabulary.roles import AMOUNTS, ROLES

HOLDS: Final = 0.95
"""The share of rows in which a relation holds that is no accident; the others are defects."""
_ALIKE: Final = 0.9995
CENT: Final = 0.0111
"""Amounts that differ by less are the same: a cent, and what floats add to it."""
TOTALS_TRIED: Final = 8
_FEW: Final = 4
"""In fewer sales a relation may be an accident."""
_RATES: Final = (
    *(
        2.1,
        2.5,
        3,
        4,
        5,
        5.5,
        6,
        6.25,
        6.5,
        7,
        7.25,
        7.5,
        7.7,
        7.75,
        8,
        8.1,
        8.25,
        8.5,
        8.875,
        9,
        9.5,
        10,
        11,
        12,
    ),
    *(12.5, 13, 14, 14.5, 15, 16, 17, 18, 19, 19.5, 20, 21, 22, 23, 24, 25, 25.5, 27, 28),
)
"""Usual rates of sales tax in percent."""


@dataclass(frozen=True)
class Term:
    """An amount that is added to another or taken from it.

    Attributes:
        column: The column.
        sign: 1 or -1; for discounts that are written negative it is 1.
        factor: `amount`, `each` (per piece), `share` (of 1) or `percent`.
    """

    column: str
    sign: int
    factor: str = "amount"


@dataclass(frozen=True)
class Figures:
    """The numbers of an export.

    Attributes:
        lines: By column, one number a line; the sale's columns too, repeated.
        sales: By column, one number a sale.
        role: The role of each column by its name.
        shape: The export.
        product: The column that says what was sold.
        percents: The columns of which cells end in a percent sign.
    """

    lines: Mapping[str, Floats]
    sales: Mapping[str, Floats]
    role: Mapping[str, str]
    shape: Shape
    product: str = ""
    percents: frozenset[str] = frozenset()

    def of(self, role: str, among: Mapping[str, Floats]) -> list[str]:
        """The columns of a role, the likeliest first."""
        found = [name for name in among if self.role.get(name) == role]
        return sorted(found, key=lambda name: -fit(member(name), role))


def member(name: str) -> str:
    """The name of a member of a list without the list's."""
    return name.removeprefix("items.").removeprefix("payments.")


def added(lines: Floats, shape: Shape) -> Floats:
    """Numbers of lines, added up by sale."""
    return np.bincount(shape.at, zero_for_blank(lines), shape.headers.height).astype(np.float64)


def figures_of(shape: Shape, taken: Sequence[str], product: str) -> tuple[Number, Figures]:
    """The numbers of an export, and how they are written."""
    numeric: dict[str, pl.Series] = {}
    for frame in (shape.lines, shape.headers):
        for name, dtype in frame.schema.items():
            if (
                name not in taken
                and name not in numeric
                and not dtype.is_nested()
                and _is_figures(frame[name])
            ):
                numeric[name] = frame[name].cast(pl.String)
    role = {name: best for name in numeric if (best := _role_of(name))}
    role = {name: best for name, best in role.items() if best != "tax" or not _is_rate(numeric[name])}
    role |= paid_or_total(role)
    role = without_costs(role)
    number = _notation(numeric, role)
    percents = frozenset(n for n in role if role[n] == "discount" and share(values(numeric[n]), "%$") > 0)
    forms = {n: in_percent(number) if n in percents else number for n in numeric}
    in_lines, in_sales = (
        {n: floats(frame[n].cast(pl.String), form) for n, form in forms.items() if n in frame.columns}
        for frame in (shape.lines, shape.headers)
    )
    role |= dict.fromkeys(_counts(role, in_lines, in_sales, shape), "quantity")
    one_table = shape.layout in ("lines", "headers", "first_row")
    if one_table and shape.has_several:
        of_sale = {n for n in in_sales if _belongs_to_sale(shape, in_lines[n], in_sales[n])}
        in_sales = {n: figures for n, figures in in_sales.items() if n in of_sale}
    return number, Figures(in_lines, in_sales, role, shape, product=product, percents=percents)


def in_percent(number: Number) -> Number:
    """The notation of amounts, for cells with a percent sign."""
    return number.model_copy(update={"currency": (*number.currency, "%")})


def _counts(
    role: Mapping[str, str], lines: Mapping[str, Floats], sales: Mapping[str, Floats], shape: Shape
) -> Iterator[str]:
    """Columns named like totals that count the pieces of a sale."""
    pieces = [added(lines[name], shape) for name in lines if role.get(name) == "quantity"]
    for name in sales:
        if role.get(name) == "total" and any(share_equal(sum_, sales[name]) > MOSTLY for sum_ in pieces):
            yield name


def _is_rate(cells: pl.Series) -> bool:
    """Whether a column of a tax holds its rates in percent and not amounts."""
    texts = values(cells)
    rates = texts.str.replace(",", ".").str.strip_chars_end("% ").cast(pl.Float64, strict=False)
    few = texts.len() > 9 and texts.n_unique() < 7 and rates.null_count() == 0
    return few and bool((rates.is_in([0.0, *map(float, _RATES)]) & (rates % 1 == 0)).all())


def _is_figures(cells: pl.Series) -> bool:
    """Whether a column holds numbers: most of its cells, or half of them where its name says so."""
    filled = values(cells.cast(pl.String))
    named = max(fit(member(cells.name), role) for role in AMOUNTS) > 2
    return is_numeric(filled, MOSTLY / 2 if named else MOSTLY)


def _notation(numeric: Mapping[str, pl.Series], role: Mapping[str, str]) -> Number:
    return number_form([cells for name, cells in numeric.items() if name in role] or [*numeric.values()])


def _belongs_to_sale(shape: Shape, lines: Floats, sales: Floats) -> bool:
    """Whether a number is the sale's: the same on all of its lines, or only on the first."""
    several = np.bincount(shape.at)[shape.at] > 1
    if shape.layout == "first_row":
        first = np.zeros(lines.size, bool)
        first[np.unique(shape.at, return_index=True)[1]] = True
        below = lines[several & ~first]
        if below.size and np.isnan(below).mean() > 0.9:
            return True
    same = np.isclose(lines, sales[shape.at], equal_nan=True) | np.isnan(lines)
    return bool(several.any() and same[several].mean() > HOLDS and _is_more_than_chance(shape, lines))


def _is_more_than_chance(shape: Shape, lines: Floats) -> bool:
    """Whether rows of different sales differ more often than those of one sale."""
    return np.unique(lines[~np.isnan(lines)]).size > 1 or shape.headers.height < 3


def _role_of(name: str) -> str:
    fits = {role: fit(member(name), role) for role in AMOUNTS}
    best = max(fits, key=lambda role: fits[role])
    others = max(
        fit(member(name), role) for role in ROLES if role not in AMOUNTS and role not in ("name", "tender")
    )
    return best if fits[best] > max(others, 0) else ""


def share_equal(left: Floats, right: Floats, pieces: Floats | None = None) -> float:
    """In how many rows two amounts are equal, but for what rounding does to the price of several pieces."""
    known = ~(np.isnan(left) | np.isnan(right))
    if known.sum() < max(1, left.size * 0.5):
        return 0.0
    room = CENT + (0.0 if pieces is None else 0.005 * np.maximum(np.abs(np.nan_to_num(pieces)) - 1, 0))
    close = np.abs(left - right) <= room + 1e-6 * np.abs(right)
    return float(close[known].mean())


def zero_for_blank(figures: Floats) -> Floats:
    """The numbers, with 0 where there is none."""
    return np.nan_to_num(figures, nan=0.0)


def matters(figures: Floats) -> bool:
    """Whether an amount is other than 0 in more than a few rows."""
    return bool((np.abs(zero_for_blank(figures)) > 0.004).mean() > 0.001)


def discount_terms(figures: Figures, among: Mapping[str, Floats]) -> Iterator[Term]:
    """The ways in which a line's discounts may come off: amounts, by the piece, shares or percent."""
    for name in figures.of("discount", among)[:2]:
        found = among[name]
        if not matters(found):
            continue
        most = np.nanmax(found)
        if _sign(found) > 0:
            yield Term(name, 1)
            continue
        yield Term(name, -1)
        yield Term(name, -1, "each")
        if most <= 1 and name not in figures.percents:
            yield Term(name, -1, "share")
        elif most <= 100:
            yield Term(name, -1, "percent")


def _sign(discount: Floats) -> int:
    """1 where discounts are written negative; those of returns have the other sign."""
    return 1 if np.sum(discount < 0) > np.sum(discount > 0) else -1


def extra_terms(figures: Figures, among: Mapping[str, Floats]) -> list[Term]:
    """What a total may hold beside its lines."""
    terms = [Term(n, _sign(among[n])) for n in figures.of("discount", among) if matters(among[n])]
    for role in ("tax", "shipping", "tip", "rounding"):
        terms += [Term(name, 1) for name in figures.of(role, among)[:3] if matters(among[name])]
    return terms[:7]


def value_of(
    base: Floats, terms: Sequence[Term], among: Mapping[str, Floats], pieces: Floats | None
) -> Floats:
    """An amount with terms added to it."""
    result = base.copy()
    for term in terms:
        amount = zero_for_blank(among[term.column])
        if term.factor == "share":
            result = result * (1 + term.sign * amount)
        elif term.factor == "percent":
            result = result * (1 + term.sign * amount / 100)
        elif term.factor == "each":
            result = result + term.sign * amount * (pieces if pieces is not None else 1)
        else:
            result = result + term.sign * amount
    return result


def _subsets(terms: Sequence[Term]) -> Iterator[tuple[Term, ...]]:
    """The ways in which terms may come in, the fewest first."""
    for size in range(min(len(terms), 5) + 1):
        for some in combinations(terms, size):
            if len({term.column for term in some}) == size:
                yield some


def best_terms(
    base: Floats,
    end: Floats,
    terms: Sequence[Term],
    among: Mapping[str, Floats],
    pieces: Floats | None = None,
) -> tuple[tuple[Term, ...], float] | None:
    """The fewest terms with which an amount follows from another in the most rows; None where in too few."""
    best: tuple[tuple[Term, ...], float] | None = None
    for some in _subsets(terms):
        equal = share_equal(value_of(base, some, among, pieces), end, pieces)
        if equal >= HOLDS and (best is None or equal > best[1] + 0.0005):
            best = some, equal
    return best


def has_cents(figures: Figures, name: str) -> bool:
    """Whether a column's numbers have decimal places, as amounts have."""
    frame = figures.shape.lines
    return name in frame.columns and share(values(frame[name].cast(pl.String)), r"[.,]\d{1,4}$") > 0.1


def unnamed_amounts(figures: Figures, among: Mapping[str, Floats]) -> list[str]:
    """Columns that may hold amounts, though their names do not say which."""
    return [
        name
        for name in among
        if name not in figures.role
        and is_perhaps_money(member(name))
        and has_cents(figures, name)
        and matters(among[name])
    ]


def counted(equal: float, of: Floats) -> str:
    """A share of the rows with a number, as counts."""
    known = int((~np.isnan(of)).sum())
    return f"{round(equal * known):,} of {known:,}"


def beside(terms: Sequence[Term]) -> str:
    """Terms as a formula goes on with them."""
    return "".join(f" {'+' if term.sign > 0 else '-'} `{term.column}`" for term in terms)


def paid_by_sale(figures: Figures, number: Number) -> Floats | None:
    """The payments of each sale, added up; None where they stand in no table of their own."""
    shape = figures.shape
    if shape.payments is None or shape.layout != "tables":
        return None
    key = shape.key.columns[0]
    names = [name for name in shape.payments.columns if name != key and _role_of(name) in ("paid", "total")]
    if not names:
        return None
    name = max(names, key=lambda name: max(fit(name, "paid"), fit(name, "total")))
    paid = pl.Series("paid", floats(shape.payments[name], number), nan_to_null=True)
    sums = shape.payments.select(key, paid).group_by(key).agg(pl.col("paid").sum())
    found = shape.headers.select(key).join(sums, on=key, how="left", maintain_order="left")["paid"]
    return found.fill_null(np.nan).to_numpy()


def fee_between(sums: Floats, totals: Floats) -> str:
    """What totals hold beside their lines, where that is one amount or one rate: a sentence; else empty."""
    missing = totals - sums
    paid = np.abs(missing) > CENT
    known = ~np.isnan(missing)
    if paid.sum() < _FEW or not known.all():
        return ""
    fee = float(np.median(missing[paid]))
    if fee > 0 and (np.abs(missing[paid] - fee) <= CENT).mean() >= HOLDS:
        some = f"{int(paid.sum()):,} of {totals.size:,}"
        return f"{some} totals are {fee:.2f} above the sum of their lines, others equal it"
    with np.errstate(divide="ignore", invalid="ignore"):
        rates = (totals / sums - 1) * 100
    rate = float(np.nanmedian(rates))
    nearest = min(_RATES, key=lambda usual: abs(usual - rate))
    if share_equal(sums * (1 + nearest / 100), totals) >= HOLDS:
        return f"totals are {nearest:g}% above the sum of their lines: a tax that no column holds"
    return ""


def tax_kind(worth: Floats, tax: Floats) -> str:
    """Whether a tax comes on top of an amount or is in it, by which of the two gives usual rates."""
    some = (np.abs(zero_for_blank(tax)) > 0.05) & (np.abs(zero_for_blank(worth)) > 0.5)
    if some.sum() < 1:
        return ""
    rate = np.abs(tax[some] / worth[some]) * 100
    room = 0.6 / np.abs(worth[some])  # what rounding to a cent does to the rate
    with np.errstate(divide="ignore", invalid="ignore"):
        held = rate / (1 - rate / 100)
    known = np.array(_RATES)

    def usual(rates: Floats) -> float:
        nearest = np.min(np.abs(rates[:, None] - known[None, :]), axis=1)
        return float((nearest <= room + 0.02).mean())

    top, inside = usual(rate), usual(held)
    few = float(np.median(room)) > 0.4
    if few or abs(top - inside) < 0.3 or max(top, inside) < 0.8:
        return ""
    return "on top" if top > inside else "inside"


def is_with_tax(net: Floats, gross: Floats) -> bool:
    """Whether an amount is another one with tax: they differ by usual rates, in some rows perhaps by none."""
    some = (np.abs(zero_for_blank(net)) > 0.5) & ~np.isnan(gross)
    if some.sum() < _FEW:
        return False
    rates = (gross[some] / net[some] - 1) * 100
    room = 1.2 / np.abs(net[some]) + 0.02  # what rounding both to a cent does to the rate
    near = np.min(np.abs(rates[:, None] - np.array([0, *_RATES])[None, :]), axis=1) <= room
    return bool(near.mean() >= HOLDS and np.median(rates) > 1)


def same(among: Mapping[str, Floats], one: str, other: str) -> bool:
    """Whether two columns hold the same amounts."""
    return share_equal(among[one], among[other]) >= _ALIKE


def chain(
    among: Mapping[str, Floats], totals: Sequence[str], terms: Sequence[Term]
) -> Iterator[tuple[str, str, tuple[Term, ...], float]]:
    """The totals that follow from another by discounts, taxes and the like."""
    for start, end in product(totals[:TOTALS_TRIED], repeat=2):
        if start == end or same(among, start, end):
            continue
        best = best_terms(among[start], among[end], terms, among)
        if best and best[0]:
            yield start, end, *best
