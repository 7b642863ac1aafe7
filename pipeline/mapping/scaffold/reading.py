"""One reading of an export: what each column is, how sure that is, and why."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import polars as pl

from pipeline.core.text.wording import count
from pipeline.mapping.scaffold.amounts.money import Money, money_of
from pipeline.mapping.scaffold.amounts.no_sales import NoSales, no_sales
from pipeline.mapping.scaffold.doubts import doubt_of_rows, refunds_left_in
from pipeline.mapping.scaffold.keys import day_texts
from pipeline.mapping.scaffold.shape import MIXED, Shape, dates_of
from pipeline.mapping.scaffold.vocabulary.cells import MOSTLY, Floats, floats, share_of, values
from pipeline.mapping.scaffold.vocabulary.dates import (
    DateReading,
    by_named_days,
    clock_formats,
    clock_times,
    doubtful_zones,
    is_written_as,
    misread_years,
    read_dates,
)
from pipeline.mapping.scaffold.vocabulary.hours import doubt_of_hours, doubt_of_zone
from pipeline.mapping.scaffold.vocabulary.role_fit import (
    choose_columns,
    fit,
    is_of_another_status,
    is_of_payment,
    ranked,
)
from pipeline.mapping.scaffold.vocabulary.roles import LINE, SALE
from pipeline.mapping.scaffold.vocabulary.row_types import refund_words
from pipeline.mapping.scaffold.vocabulary.statuses import (
    has_few_words,
    is_code,
    is_fulfilment,
    is_prepared,
    is_status,
    states,
)

_LINES_UNIQUE: Final = 0.999
_FEW_PREPARED: Final = 0.01
"""So small a share of sales that is being prepared is left out until it is shipped, and not asked for."""
_BLANK_DATES: Final = 0.02
"""The share of sales that may lack their date as a defect."""


@dataclass(frozen=True)
class SaleDate:
    """The date of a sale.

    Attributes:
        column: The column with the date.
        reading: How it is read.
        clock: The column with the time of day, where that is apart.
        clock_form: How that is written.
        doubt: Why the date has to be left open.
        zones: Abbreviations that mean several zones, and the likeliest offset of each.
        differs: Whether lines of one sale have several times, of which the first counts.
        hours: What the hours of sales say against how they are read.
        zone: Why these cannot be times of the zone that another column names.
    """

    column: str
    reading: DateReading
    clock: str = ""
    clock_form: str = ""
    doubt: str = ""
    zones: Mapping[str, str] = field(default_factory=dict)
    differs: bool = False
    hours: str = ""
    zone: str = ""

    @property
    def formats(self) -> list[str]:
        """The formats of the date, with the time of day after it where that is apart."""
        return [f"{form} {self.clock_form}".rstrip() for form in self.reading.formats]


@dataclass(frozen=True)
class Statuses:
    """The words of a sale's status.

    Attributes:
        column: The column.
        known: By state, the words that mean it.
        unknown: Words that nothing is known of.
        counts: How many sales have each word.
        paid: Of those of each word, how many are paid as a whole; empty where nothing says it.
    """

    column: str
    known: Mapping[str, Sequence[str]]
    unknown: Sequence[str]
    counts: Mapping[str, int]
    paid: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Refunds:
    """Returns that are written with positive amounts.

    Attributes:
        column: The column that says what is a return.
        words: Its words for one.
        amount: The column with the amount, where some returns are written with negative ones.
    """

    column: str
    words: tuple[str, ...]
    amount: str = ""


@dataclass(frozen=True)
class Reading:
    """A reading of an export, complete enough to write a mapping from it.

    Attributes:
        shape: Sales and lines.
        money: The amounts.
        when: The date; None where no column holds one.
        sale: Columns of the sale by role.
        line: Columns of a line by role; without items, empty.
        has_items: Whether the mapping has items.
        status: The status; None where no column holds one.
        refunds: Returns that are written with positive amounts.
        no_sales: What is booked as a sale and is none.
        paid: Columns of payments by role, where payments have rows of their own.
        warned: Checks of which the trial has shown that they only cost sales, and in which.
        opened: Fields that the trial has shown to be wrong, and what it has shown.
        tried: What was tried before, and what came of it.
    """

    shape: Shape
    money: Money
    when: SaleDate | None
    sale: Mapping[str, str]
    line: Mapping[str, str]
    has_items: bool
    status: Statuses | None = None
    refunds: Refunds | None = None
    no_sales: tuple[NoSales, ...] = ()
    paid: Mapping[str, str] = field(default_factory=dict)
    warned: Mapping[str, str] = field(default_factory=dict)
    opened: Mapping[str, str] = field(default_factory=dict)
    tried: tuple[str, ...] = ()
    proof: str = ""

    @property
    def doubts(self) -> int:
        """How many required fields are open."""
        key, when = bool(self.shape.key.doubt), self.when is None or bool(self.when.doubt)
        return key + when + bool(self.money.doubt) + len(self.opened)


def readings_of(shape: Shape) -> Iterator[Reading]:
    """The readings of an export, the likeliest first."""
    when = _when(shape)
    dates = [when.column, when.clock] if when else []
    number = shape.key.columns[-1]
    sale = _sale(shape, [number, *dates])
    if when and "timezone" in sale:
        when = _in_zone(shape, when, sale["timezone"])
    line = _named(shape.lines, LINE, [*shape.key.columns, *dates, *sale.values()])
    if "line_no" in line and not _numbers_lines(shape, line["line_no"]):
        del line["line_no"]
    key = [name for name in shape.key.columns if name != shape.key.amount]
    taken = [*key, *dates, *sale.values(), *line.values(), *dates_of(shape.headers)]
    product = line.get("sku") or line.get("name") or line.get("department", "")
    for money in money_of(shape, taken, product):
        yield _reading(shape, money, when, sale, line)


def _numbers_lines(shape: Shape, name: str) -> bool:
    """Whether no two different lines of a sale have the same cell in a column."""
    lines = shape.lines.with_columns(pl.Series("at", shape.at)).unique()
    return share_of(lines.select("at", name).is_unique()) > _LINES_UNIQUE


def _named(rows: pl.DataFrame, roles: Sequence[str], taken: Sequence[str]) -> dict[str, str]:
    """Columns by role; members of a list are known by their own names."""
    bare = {
        name.removeprefix("items.").removeprefix("payments."): name
        for name in rows.columns
        if name not in taken
    }
    plain_rows = rows.select(pl.col(name).alias(short) for short, name in bare.items())
    return {role: bare[name] for role, name in choose_columns(plain_rows, roles).items()}


def _reading(
    shape: Shape, money: Money, when: SaleDate | None, sale: Mapping[str, str], line: Mapping[str, str]
) -> Reading:
    used = {*money.columns, *money.tenders.columns}
    sale = {role: name for role, name in sale.items() if name not in used}
    line = {role: name for role, name in line.items() if name not in used}
    has_items = _has_items(shape, money, line)
    if shape.has_several and not has_items:
        shape = replace(shape, notes=(*shape.notes, "lines have no amounts, so they are left out"))
    adds_up = not money.total and bool(money.line or money.price)
    if not has_items and shape.layout == "lines" and not shape.has_several and not adds_up:
        shape = replace(shape, layout="headers")
    elif shape.layout == "headers" and (has_items or adds_up):
        shape = replace(shape, layout="lines")
    others = [
        name for name in shape.own_headers.columns if name not in sale.values() and fit(name, "status") > 1
    ]
    few = [n for n in others if shape.headers.schema[n] == pl.String and is_status(values(shape.headers[n]))]
    shape = replace(shape, notes=(*shape.notes, *(f"the status `{name}` is not used" for name in few)))
    named = sale.get("status") or sale.get("state")
    column = named or _status_by_content(shape, sale) or _status_by_code(shape, sale)
    status = _status(shape, column, money, few)
    money = replace(money, doubt=money.doubt or doubt_of_rows(shape, money, sale, line))
    if not money.doubt:
        shape = replace(shape, notes=(*shape.notes, *refunds_left_in(shape, money, sale)))
    return Reading(
        shape,
        money,
        when=when,
        sale=sale,
        line=line,
        has_items=has_items,
        status=status,
        refunds=_refunds(shape, sale.get("sale_kind", ""), money),
        no_sales=tuple(no_sales(shape, money, sale)),
        paid=_payments(shape),
    )


def _has_items(shape: Shape, money: Money, line: Mapping[str, str]) -> bool:
    if money.total and not (money.line or money.price) and shape.layout in ("lines", "headers", "first_row"):
        return False  # Lines without any amount.
    if shape.has_several or shape.layout not in ("lines", "headers"):
        return True
    named = bool(line.keys() & {"name", "sku", "department"})
    return named and bool(money.quantity)


def _sale(shape: Shape, taken: Sequence[str]) -> dict[str, str]:
    found = _named(
        shape.own_headers, [role for role in SALE if role not in ("transacted_at", "time", "key")], taken
    )
    return {role: name for role, name in found.items() if shape.differing(name) <= 0.5 or role in ("store",)}


# ── Date ────────────────────────────────────────────────────────────────────────────────────────────


def _when(shape: Shape) -> SaleDate | None:
    rows = shape.own_headers
    names = ranked(rows, "transacted_at", shape.key.columns[:-1] if shape.layout == "tables" else ())
    whole = [name for name in names if rows[name].null_count() <= rows.height * _BLANK_DATES]
    if names and whole and names[0] not in whole:
        blank = rows.height - values(rows[names[0]]).len()
        why = f"`{names[0]}` is blank in {count(blank, 'sale')}, and `{whole[0]}` is not"
        return _because(_first_when(rows, whole[0], shape), why)
    if names:
        return _first_when(rows, names[0], shape)
    names = [name for name in dates_of(rows) if fit(name, "key") < 2]
    if len(names) < 2 or len({fit(n, "transacted_at") for n in names}) > 1:
        return _first_when(rows, names[0], shape) if names else None
    found = [_first_when(rows, name, shape) for name in names]
    named = " or ".join(f"`{name}`" for name in names[:3])
    days = [day_texts(rows, name) for name in names]
    if all(day.equals(days[0], check_names=False) for day in days[1:]):
        first = next((each for each in found if each and not is_of_payment(each.column)), found[0])
        return _because(first, f"{named.replace(' or ', ' and ')} are of one day in all sales")
    return _first_when(rows, names[0], shape, f"whether the sale is dated by {named}")


def _because(when: SaleDate | None, why: str) -> SaleDate | None:
    """The date with a further reason for its column."""
    if when is None:
        return None
    said = "; ".join(each for each in (why, when.reading.why) if each)
    return replace(when, reading=replace(when.reading, why=said))


def _first_when(rows: pl.DataFrame, name: str, shape: Shape, doubt: str = "") -> SaleDate | None:
    filled = values(rows[name])
    reading = read_dates(filled, spreadsheet=True)
    if reading is None:
        return None
    reading = by_named_days(reading, filled, shape.file_names)
    if not reading.has_clock or _is_midnight(filled):
        for clock in ranked(rows, "time", (name,)):
            forms = clock_formats(values(rows[clock]))
            if forms and not reading.has_clock:
                hours = doubt_of_hours(clock_times(values(rows[clock]), forms[0]), forms[0])
                unsure = doubt or _day_doubt(reading, filled)
                return SaleDate(name, reading, clock, forms[0], unsure, hours=hours)
    return SaleDate(
        name,
        reading,
        doubt=doubt or _day_doubt(reading, filled),
        zones=doubtful_zones(filled, reading.formats[0]),
        differs=_differs(shape, name),
        hours=_doubt_of_hours(reading),
    )


def _doubt_of_hours(reading: DateReading) -> str:
    if not reading.has_clock or reading.has_offset or reading.times is None:
        return ""
    return doubt_of_hours(reading.times, reading.formats[0])


def _in_zone(shape: Shape, when: SaleDate, zone: str) -> SaleDate:
    """The date with what speaks against the zone that a column names."""
    rows = shape.own_headers
    texts = rows.select(pl.concat_str([when.column, *([when.clock] if when.clock else [])], separator=" "))
    return replace(when, zone=doubt_of_zone(texts.to_series(), rows[zone], when.formats))


def _differs(shape: Shape, name: str) -> bool:
    """Whether the lines of sales have several times, or texts: of many sales, or only within a day."""
    if name in shape.sample.days and name not in shape.key.columns:
        return True
    several = shape.differing(name)
    if not several or several > MIXED:
        return several > MIXED
    day = shape.lines[name].str.extract(r"^\s*(\S+)").alias(name)
    return replace(shape, lines=shape.lines.with_columns(day)).differing(name) == 0


def _is_midnight(filled: pl.Series) -> bool:
    return bool(filled.str.contains(r"[ T]0?0:00(:00)?").all())


def _day_doubt(reading: DateReading, filled: pl.Series) -> str:
    if not reading.either:
        return "" if reading.times is None else misread_years(reading.times)
    if reading.either[0] in reading.formats:
        return f"{reading.why}: {' and '.join(reading.formats)}"
    form = reading.formats[0]
    example = next((text for text in filled if is_written_as(text, form)), filled[0])
    return f"is {example} written as {form} or as {reading.either[0]}?"


# ── Status, returns, payments ───────────────────────────────────────────────────────────────────────


def _status_by_content(shape: Shape, sale: Mapping[str, str]) -> str:
    """A column whose words say that some sales are complete and others not, whatever its name."""
    for name, dtype in shape.own_headers.schema.items():
        if dtype != pl.String or name in sale.values() or is_of_another_status(name):
            continue
        filled = values(shape.headers[name])
        if not filled.len() or not has_few_words(filled):
            continue
        known, unknown = states(filled.unique().sort().to_list())
        left_out = known.keys() - {"complete", "void"}
        if "complete" in known and left_out and len(unknown) <= sum(map(len, known.values())) / 2:
            return name
    return ""


def _status_by_code(shape: Shape, sale: Mapping[str, str]) -> str:
    """A column with the numbers of statuses, which only a person can know."""
    names = [name for name, dtype in shape.own_headers.schema.items() if dtype == pl.String]
    free = [name for name in names if name not in sale.values() and fit(name, "status") > 1]
    return next((name for name in free if is_code(values(shape.headers[name]))), "")


def _status(shape: Shape, column: str, money: Money, others: Sequence[str]) -> Statuses | None:
    if not column or shape.differing(column) > MIXED:
        return None
    cells = shape.headers[column].str.strip_chars()
    counts = {str(word): int(n) for word, n in values(cells).value_counts(sort=True).iter_rows()}
    known, unknown = states(sorted(counts))
    if money.total and "void" in known:
        known = _negative_are_complete(shape, column, money, known)
    settled = money.settled
    if settled is None:
        settled = _settled_by_status(shape, others)
    if settled is None:
        settled = _settled_by_date(shape)
    if settled is None:
        known, asked = _of_unsettled(known, counts)
        return Statuses(column, known, sorted([*unknown, *asked]), counts)
    of_word = {word: settled[(cells == word).fill_null(value=False).to_numpy()] for word in counts}
    paid = {word: int(np.nansum(found)) for word, found in of_word.items()}
    unpaid = [
        word for word in known.get("complete", []) if is_fulfilment(word) and paid[word] * 2 < counts[word]
    ]
    prepared = [
        word for word in known.get("order_open", []) if is_prepared(word) and paid[word] * 2 > counts[word]
    ]
    known = _moved(_moved(known, unpaid, "order_open"), prepared, "complete")
    asked = known.get("order_open", []) if _are_most(known.get("order_open", []), counts) else []
    return Statuses(column, _without(known, asked), sorted([*unknown, *asked]), counts, paid)


def _moved(known: dict[str, list[str]], words: Collection[str], to: str) -> dict[str, list[str]]:
    """The words by state, some of them under another one."""
    left = _without(known, words)
    moved = sorted([*left.get(to, []), *words])
    return {**left, to: moved} if moved else left


def _without(known: Mapping[str, list[str]], words: Collection[str]) -> dict[str, list[str]]:
    """The words by state, but for some; states that have others."""
    left = {state: [word for word in each if word not in words] for state, each in known.items()}
    return {state: each for state, each in left.items() if each}


def _of_unsettled(
    known: dict[str, list[str]], counts: Mapping[str, int]
) -> tuple[dict[str, list[str]], list[str]]:
    """What open sales are where nothing says what is paid; in the second place words that a person knows."""
    open_ = known.get("order_open", [])
    prepared = [word for word in open_ if is_prepared(word)]
    few = sum(counts[word] for word in prepared) <= sum(counts.values()) * _FEW_PREPARED
    asked = open_ if _are_most(open_, counts) else [] if few else prepared
    return _without(known, asked), asked


def _are_most(words: Sequence[str], counts: Mapping[str, int]) -> bool:
    """Whether most sales have one of these words: if they are unpaid, it may be that they pay on delivery."""
    return sum(counts[word] for word in words) * 2 > sum(counts.values())


def _settled_by_date(shape: Shape) -> Floats | None:
    """For each sale whether it has a date of payment, where a column with such dates is blank for some."""
    for name in dates_of(shape.own_headers):
        cells = shape.headers[name].str.strip_chars().replace("", None)
        if is_of_payment(name) and 0 < cells.null_count() < cells.len():
            return cells.is_not_null().cast(pl.Float64).to_numpy()
    return None


def _settled_by_status(shape: Shape, others: Sequence[str]) -> Floats | None:
    """For each sale whether another column says that it is paid."""
    name = next((name for name in others if is_of_payment(name)), None)
    if name is None:
        return None
    words = shape.headers[name].str.strip_chars()
    complete = states(values(words).unique().to_list())[0].get("complete", [])
    return words.is_in(complete).fill_null(value=False).cast(pl.Float64).to_numpy()


def _negative_are_complete(
    shape: Shape, column: str, money: Money, known: dict[str, list[str]]
) -> dict[str, list[str]]:
    """Returned sales with negative totals are the returns themselves."""
    totals = floats(shape.headers[money.total].cast(pl.String), money.number)
    words = shape.headers[column].str.strip_chars()
    of_word = {word: totals[(words == word).fill_null(value=False).to_numpy()] for word in known["void"]}
    negative = [word for word, found in of_word.items() if (np.nan_to_num(found) < 0).mean() > MOSTLY]
    left = {**known, "void": [word for word in known["void"] if word not in negative]}
    left["complete"] = sorted([*known.get("complete", []), *negative])
    return {state: words for state, words in left.items() if words}


def _refunds(shape: Shape, column: str, money: Money) -> Refunds | None:
    if not column or not money.columns:
        return None
    words = refund_words(values(shape.headers[column]))
    name = money.total or money.line or money.quantity
    frame = shape.headers if money.total else shape.lines
    if not words or name not in frame.columns or column not in frame.columns:
        return None
    rows = frame.filter(pl.col(column).str.strip_chars().is_in(words).fill_null(value=False))
    amounts = floats(rows[name].cast(pl.String), money.number)
    if not np.nansum(amounts > 0):
        return None
    return Refunds(column, tuple(words), name if np.nansum(amounts < 0) else "")


def _payments(shape: Shape) -> dict[str, str]:
    if shape.payments is None:
        return {}
    found = _named(shape.payments, ("paid", "tender"), shape.key.columns)
    if "paid" not in found:
        found |= dict.fromkeys(
            ["paid"], _named(shape.payments, ("total",), shape.key.columns).get("total", "")
        )
    if "tender" not in found and "paid" in found:
        found["tender"] = _fullest_text(shape.payments, [found["paid"]])
    return found if all(found.get(role) for role in ("paid", "tender")) else {}


def _fullest_text(rows: pl.DataFrame, but: Sequence[str]) -> str:
    """The column among the remaining ones with the most words."""
    left = [name for name in rows.columns if name not in but and rows.schema[name] == pl.String]
    words = [values(rows[name]).str.contains(r"\p{L}{3}").sum() for name in left]
    return max(zip(words, left, strict=True), default=(0, rows.columns[0]))[1]
