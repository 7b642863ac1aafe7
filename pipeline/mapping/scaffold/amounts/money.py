"""What the amounts of an export are: the price for one, the line's total, and the sale's total."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np

from pipeline.mapping.language.value_spec import Number
from pipeline.mapping.scaffold.amounts.arithmetic import (
    CENT,
    Figures,
    Term,
    added,
    beside,
    best_terms,
    chain,
    counted,
    extra_terms,
    fee_between,
    figures_of,
    matters,
    member,
    paid_by_sale,
    same,
    share_equal,
    tax_kind,
    unnamed_amounts,
    value_of,
    zero_for_blank,
)
from pipeline.mapping.scaffold.amounts.line_worth import NO_ACCIDENT, LineWorth, line_readings
from pipeline.mapping.scaffold.amounts.tenders import Tenders, tenders_of, without_tenders
from pipeline.mapping.scaffold.keys import GENERIC_NAMES
from pipeline.mapping.scaffold.shape import Shape
from pipeline.mapping.scaffold.vocabulary.cells import Floats, plain
from pipeline.mapping.scaffold.vocabulary.role_fit import fit, is_part

_COIN: Final = 0.05
_MOSTLY_PAID: Final = 0.8
_MANY: Final = 100
"""Sales from which on fewer equal ones are no accident."""
_WEIGHED: Final = 0.01
_WHOLE: Final = re.compile(
    "(grand|order|invoice|receipt|sale|transaction|final|valor|importe|montant)total"
    "|total(amount|paid|collected|price|sale|ttc|venta)?|finalamount|endbetrag|gesamtbetrag|totaalbedrag"
    "|amountpaid|gesamtsumme|montantttc|totaal|totale"
)
"""Names of a sale's total beside which sums, net and gross amounts are only parts of it."""
_OF_SALE: Final = ("total", "order", "invoice", "receipt", "ticket", "bill", "transaction", "basket", "check")
"""Parts of names of amounts that are a sale's, and not those of its rows."""


@dataclass(frozen=True)
class Money:
    """How amounts are read.

    Attributes:
        number: How numbers are written.
        quantity: The column with the quantity.
        price: The column with the price for one.
        line: The column with the line's total.
        total: The column with the sale's total; empty where lines are added up.
        plus: What a line is worth beside `line`, or beside quantity × price where there is no `line`.
        extras: What the total holds beside its lines.
        why: What speaks for it.
        doubt: Why the total has to be left open.
        proven: Whether the amounts of lines add up to another amount of the sale.
        unpaid: For how many sales what was paid differs from the sum of their lines.
        fee: What totals hold beside their lines, where no column holds it.
        unequal: In which sales the lines do not add up to the total, where that is the file's all the same.
        tolerance: The largest difference between a total and its lines that comes from rounding.
        whole: Whether all quantities are whole numbers.
        price_exact: Whether quantity × price is the line's total.
        discounted: Whether the price is before a discount.
        roles: The roles of all columns with numbers, by their names.
        paid: The column with what was paid, where that mostly is the total.
        tax: The column with a line's tax.
        tenders: The columns of what was paid with each tender.
        percents: The columns of which cells end in a percent sign.
        gaps: Which of quantity and price are blank on some lines, or a quantity of 0.
        settled: For each sale whether it is paid as a whole, NaN where that is not known; None where nothing
            holds what was paid.
    """

    number: Number
    quantity: str = ""
    price: str = ""
    line: str = ""
    total: str = ""
    plus: tuple[Term, ...] = ()
    extras: tuple[Term, ...] = ()
    why: str = ""
    doubt: str = ""
    proven: bool = False
    unpaid: int = 0
    fee: str = ""
    unequal: str = ""
    tolerance: float = 0.0
    whole: bool = True
    price_exact: bool = False
    discounted: bool = False
    roles: Mapping[str, str] = field(default_factory=dict)
    paid: str = ""
    tax: str = ""
    tenders: Tenders = field(default_factory=Tenders)
    percents: frozenset[str] = frozenset()
    gaps: frozenset[str] = frozenset()
    settled: Floats | None = field(default=None, compare=False)

    @property
    def columns(self) -> list[str]:
        """The columns that are used."""
        named = (self.quantity, self.price, self.line, self.total)
        return [name for name in (*named, *(term.column for term in (*self.plus, *self.extras))) if name]


def money_of(shape: Shape, taken: Sequence[str], product: str = "") -> list[Money]:
    """How the amounts may be read, the likeliest first; where nothing is certain, one that says why.

    Args:
        shape: The export.
        taken: Columns that have other roles.
        product: The column that says what was sold; empty where none does.
    """
    number, figures = figures_of(shape, taken, product)
    tenders = tenders_of(figures)
    figures = without_tenders(figures, tenders)
    readings = [*_readings(figures, number)] or [Money(number, doubt="no column holds the total")]
    return [replace(_with_paid(money, figures), tenders=tenders) for money in readings]


def _with_paid(money: Money, figures: Figures) -> Money:
    """With the columns that a sale's payment and a line's tax are in."""
    total = figures.sales.get(money.total)
    paid = [n for n in figures.of("paid", figures.sales) if n != money.total and fit(member(n), "paid") > 2]
    full = next((n for n in paid if total is not None and _is_paid(total, figures.sales[n])), "")
    of_lines = [n for n in figures.of("tax", figures.lines) if n not in figures.sales]
    gaps = [
        n for n in (money.quantity, money.price) if n in figures.lines and np.isnan(figures.lines[n]).any()
    ]
    pieces = figures.lines.get(money.quantity)
    gaps += [money.quantity] if pieces is not None and (pieces == 0).any() else []
    settled = _settled(money, figures, full or next(iter(paid), ""))
    tax = of_lines[0] if of_lines else ""
    return replace(money, paid=full, tax=tax, gaps=frozenset(gaps), settled=settled)


def _settled(money: Money, figures: Figures, name: str) -> Floats | None:
    """For each sale whether its payments, or the column with what was paid, are as much as its total."""
    paid = figures.sales[name] if name else paid_by_sale(figures, money.number)
    totals = figures.sales.get(money.total)
    if paid is None or (totals is None and (money.line or money.price) not in figures.lines):
        return None
    if totals is None:
        pieces = figures.lines.get(money.quantity)
        base = figures.lines[money.line or money.price]
        base = base if money.line or pieces is None else base * pieces
        totals = added(value_of(base, money.plus, figures.lines, pieces), figures.shape)
    return np.where(np.isnan(totals), np.nan, zero_for_blank(paid) > totals - CENT)


def _is_paid(total: Floats, paid: Floats) -> bool:
    """Whether an amount is what was paid: mostly all of the total, and of the others mostly nothing."""
    rest = np.abs(zero_for_blank(paid)) < CENT
    known = float((rest | (np.abs(paid - total) < CENT)).mean())
    return known >= _MOSTLY_PAID and share_equal(total, paid) > 0.5


def _readings(figures: Figures, number: Number) -> Iterator[Money]:
    shape = figures.shape
    lines = [*line_readings(figures)]
    if not lines and not figures.of("total", figures.sales) and not figures.of("price", figures.sales):
        return
    if not shape.has_several and shape.layout in ("lines", "headers"):
        yield from _of_single_rows(figures, lines, number)
        return
    checked = [*_against_totals(figures, lines, number)]
    yield from checked
    named = [n for n in figures.of("total", figures.sales) if fit(member(n), "total") > 1]
    if checked:
        return
    if named and lines:
        line = max(lines, key=lambda line: share_equal(added(line.worth, shape), figures.sales[named[0]]))
        sums = added(line.worth, shape)
        equal = share_equal(sums, figures.sales[named[0]])
        fee = fee_between(sums, figures.sales[named[0]])
        rival = _rival_doubt(
            figures, named[0], [n for n in named[1:] if not same(figures.sales, n, named[0])]
        )
        said = f"{counted(equal, sums)} totals equal the sum of their lines"
        least = NO_ACCIDENT if sums.size > _MANY else 0.5
        if fee or (equal > least and not rival):
            given = {"fee": fee, "why": fee} if fee else {"unequal": f"only {said}", "why": said}
            yield _money(number, line, figures, total=named[0], doubt="", proven=True, **given)
        else:
            doubt = f"`{named[0]}` may be the total, but only {said}"
            yield _money(number, line, figures, total=named[0], doubt=doubt)
        return
    if named and not lines:
        yield Money(
            number,
            quantity=next(iter(figures.of("quantity", figures.lines)), ""),
            total=named[0],
            why=f"`{named[0]}` is the only total, and there are no prices to compare it with",
            doubt=_repeated_doubt(figures, named[0]),
        )
        return
    yield from (_added_up(number, line, figures) for line in lines)


def _repeated_doubt(figures: Figures, name: str) -> str:
    """Why an amount that all rows of a sale have may be that of each row; empty where it cannot."""
    bare = plain(name)
    if figures.shape.layout != "lines" or _WHOLE.fullmatch(bare) or any(word in bare for word in _OF_SALE):
        return ""
    sums = [zero_for_blank(found[name]).sum() for found in (figures.sales, figures.lines)]
    return f"whether `{name}` is that of a sale ({sums[0]:,.2f}) or of each of its rows ({sums[1]:,.2f})"


def _money(number: Number, line: LineWorth, figures: Figures, **more: Any) -> Money:
    pieces = figures.lines.get(line.quantity)
    # A few fractions are defects, which a run will name; many are weighed goods.
    whole = pieces is None or bool((np.nan_to_num(pieces) % 1 != 0).mean() < _WEIGHED)
    money = Money(
        number,
        quantity=line.quantity,
        price=line.price,
        line=line.line,
        plus=line.plus,
        whole=whole,
        price_exact=line.exact,
        discounted=any(term.sign < 0 for term in line.terms),
        roles=figures.role,
        percents=figures.percents,
        why=line.why,
        doubt=line.doubt,
    )
    return replace(money, **more)


def _against_totals(figures: Figures, lines: Sequence[LineWorth], number: Number) -> Iterator[Money]:
    """The readings in which the total of a sale follows from its lines."""
    shape, among = figures.shape, figures.sales
    totals = figures.of("total", among)
    terms = extra_terms(figures, among)
    found: list[tuple[int, Money]] = []
    for line in lines:
        sums = added(line.worth, shape)
        for total in totals:
            best = best_terms(sums, among[total], terms, among)
            if best:
                extras, equal = best
                money = _money(
                    number,
                    line,
                    figures,
                    total=total,
                    extras=extras,
                    why=f"{counted(equal, sums)} totals equal the sum of their lines{beside(extras)}",
                    doubt="",
                    proven=True,
                    tolerance=0.0 if extras else max(_rounding(figures, line), _cash(sums, among[total])),
                )
                found.append((len(extras), money))
        if found:
            break
    yield from (money for _, money in sorted(found, key=lambda each: -each[0]))


def _cash(sums: Floats, totals: Floats) -> float:
    """How far totals are rounded to what coins there are."""
    missed = np.abs(zero_for_blank(sums - totals))
    rounded = (missed > CENT) & (missed <= _COIN + 0.001)
    return _COIN if 0 < rounded.mean() < _MOSTLY_PAID else 0.0


def _rounding(figures: Figures, line: LineWorth) -> float:
    """How far unit prices with four decimal places miss the totals."""
    if line.exact or not line.line or not line.quantity:
        return 0.0
    pieces = figures.lines[line.quantity]
    # A line without a quantity counts as one piece, at the worth of the line.
    pieces = np.where(np.isfinite(pieces) & (pieces != 0), pieces, 1.0)
    again = np.round(line.worth / pieces, 4) * pieces
    shape = figures.shape
    missed = np.bincount(shape.at, zero_for_blank(again) - zero_for_blank(line.worth), shape.headers.height)
    most = float(np.max(np.abs(missed))) if missed.size else 0.0
    return float(np.ceil(most * 100) / 100) if most > 0.009 else 0.0


def _added_up(number: Number, line: LineWorth, figures: Figures) -> Money:
    """Lines are added up, where nothing shows what else the sale may hold."""
    open_ = line.doubt
    plus = line.plus
    among = figures.lines
    if not open_ and (paid := _as_paid(number, line, figures)):
        return paid
    taxes = [
        name
        for name in figures.of("tax", among)
        if matters(among[name]) and name not in [t.column for t in (*plus, *line.terms)]
    ]
    why = f"no column holds the total, so lines are added up; {line.why}"
    if taxes and not open_:
        kind = tax_kind(line.worth, among[taxes[0]]) or ("on top" if is_part(member(line.line)) else "")
        is_whole = fit(member(line.line), "total") > 2 and not is_part(member(line.line))
        if kind == "on top" and not is_whole:
            plus = (*plus, Term(taxes[0], 1))
            why += f"; `{taxes[0]}` comes on top by its rate"
        elif kind != "inside":
            held = _either(line.worth, among[taxes[0]])
            open_ = f"whether `{line.line or line.price}` holds `{taxes[0]}`{held}"
    shipping = [
        name
        for name in figures.of("shipping", among)
        if matters(among[name]) and name not in [t.column for t in (*plus, *line.terms)]
    ]
    if shipping and not open_:
        open_ = f"whether `{shipping[0]}` is part of the total{_either(line.worth, among[shipping[0]])}"
    if not open_ and (apart := _of_sales_alone(figures)):
        open_ = f"whether `{apart}` is part of the total{_either(line.worth, figures.sales[apart])}"
    return _money(
        number,
        replace(line, plus=plus),
        figures,
        why=why,
        doubt=open_,
        tolerance=_rounding(figures, line),
    )


def _as_paid(number: Number, line: LineWorth, figures: Figures) -> Money | None:
    """What lines hold beside their amounts, where all adds up to what was paid; None where it does not."""
    paid = paid_by_sale(figures, number)
    if paid is None:
        return None
    terms = [term for term in extra_terms(figures, figures.lines) if term not in line.terms]
    of_lines = {term.column: added(figures.lines[term.column], figures.shape) for term in terms}
    sums = added(line.worth, figures.shape)
    best = best_terms(sums, paid, terms, of_lines)
    if best is None:
        return None
    found, equal = best
    why = f"what was paid for {counted(equal, paid)} sales equals the sum of their lines{beside(found)}"
    whole = replace(line, plus=(*line.plus, *found))
    unpaid = round((1 - equal) * int((~np.isnan(paid)).sum()))
    return _money(number, whole, figures, why=why, proven=True, doubt="", unpaid=unpaid)


def _either(worth: Floats, more: Floats) -> str:
    """What all lines are worth without an amount and with it, for a person who has to choose."""
    without = zero_for_blank(worth).sum()
    return f" ({without:,.2f} without it, {without + zero_for_blank(more).sum():,.2f} with it)"


def _of_sales_alone(figures: Figures) -> str:
    """A discount, tax, shipping or tip of the whole sale, which the sum of its lines does not show."""
    among = figures.sales
    apart = figures.shape.layout not in ("lines", "headers")
    names = [n for role in ("discount", "tax", "shipping", "tip") for n in figures.of(role, among) if apart]
    return next((name for name in names if matters(among[name])), "")


def _of_single_rows(figures: Figures, lines: Sequence[LineWorth], number: Number) -> Iterator[Money]:
    """Where each sale has one row: its total is the amount at the end of the chain of discounts and taxes."""
    among = figures.sales
    totals = [n for n in figures.of("total", among) if matters(among[n])]
    terms = extra_terms(figures, among)
    related = [line for line in lines if line.sure and line.line and line.quantity and line.price]
    chained = [*chain(among, totals, terms)]
    ends = {end for _, end, _, _ in chained} - {start for start, _, _, _ in chained}
    starts = {line.line for line in related}
    for start, end, extras, equal in sorted(chained, key=lambda each: -len(each[2])):
        if end not in ends:
            continue
        line = next((each for each in related if each.line in (start, end)), None)
        why = f"in {counted(equal, among[end])} rows `{end}` is `{start}`{beside(extras)}"
        yield _single(number, figures, end, why, line=line, extras=extras)
    if ends:
        return
    checked = [*_against_totals(figures, lines, number)]
    if any(money.extras for money in checked):
        yield from checked
        return
    if related:
        best = related[0]
        rivals = [
            n for n in totals if n not in starts and fit(n, "total") > 2 and not same(among, n, best.line)
        ]
        doubt = _rival_doubt(figures, best.line, rivals)
        yield _single(number, figures, best.line, best.why, line=best, doubt=doubt)
        return
    likely = [name for name in totals if fit(name, "total") > 1] or figures.of("price", among)
    if lines and lines[0].price and lines[0].quantity and not lines[0].line:
        money = _added_up(number, lines[0], figures)
        yield money
        return
    if not likely:
        return
    best_name = likely[0]
    rivals = [n for n in likely[1:] if not same(among, n, best_name)]
    if fit(best_name, "total") < 2:
        rivals += [n for n in unnamed_amounts(figures, among) if not same(among, n, best_name)]
    why = f"`{best_name}` is the only amount" if not rivals else f"`{best_name}` is named so"
    doubt = _rival_doubt(figures, best_name, rivals)
    if figures.role.get(best_name) == "price" and plain(figures.shape.key.columns[-1]) in GENERIC_NAMES:
        doubt = doubt or f"whether these rows are sales, and `{best_name}` is what was paid"
    yield _single(number, figures, best_name, why, doubt=doubt)


def _rival_doubt(figures: Figures, name: str, rivals: Sequence[str]) -> str:
    if not rivals:
        return ""
    parts = all(fit(rival, "total") < 2 for rival in rivals) and fit(name, "total") > 2
    parts = parts or all(is_part(member(rival)) for rival in rivals)
    whole = _WHOLE.fullmatch(plain(name)) and not any(_WHOLE.fullmatch(plain(rival)) for rival in rivals)
    if not is_part(member(name)) and (parts or whole):
        return ""
    sums = [f"`{each}` ({zero_for_blank(figures.sales[each]).sum():,.2f})" for each in (name, rivals[0])]
    return f"whether the total is {' or '.join(sums)}"


def _single(
    number: Number,
    figures: Figures,
    total: str,
    why: str,
    *,
    line: LineWorth | None = None,
    extras: tuple[Term, ...] = (),
    doubt: str = "",
) -> Money:
    """A sale of one row; its line is worth the total, but for shipping and tips."""
    apart = any(figures.role.get(term.column) in ("shipping", "tip") for term in extras)
    quantities = figures.of("quantity", figures.lines)
    if line is not None and (apart or line.line == total):
        given = _money(
            number, line, figures, total=total, extras=extras if apart else (), why=why, doubt=doubt
        )
    else:
        worth = LineWorth(figures.lines[total], quantities[0] if quantities else "", "", total, why=why)
        given = _money(number, worth, figures, total=total, extras=extras if apart else (), doubt=doubt)
    worth = (
        line
        if line is not None and line.line == total
        else LineWorth(figures.lines[total], given.quantity, line=total)
    )
    return replace(given, tolerance=_rounding(figures, worth))
