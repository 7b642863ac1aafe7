"""Reasons grouped by cause, so that ten thousand rejections from one wrong date format read as one problem.

A cause is a code, a field and the *shape* of the cell: every run of digits becomes `9`, every run of letters
`a`, so that `31.12.2024` and `1.1.2025` are alike. For statuses, currencies, zones and look-ups it is the
value itself. Groups are made per unit and added up afterwards.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from pipeline.model import CODES, ITEM_FIELDS, LINE, SOURCE, TRANSACTION_FIELDS, TX, Kind, Outcome

SAMPLES: Final = 20
"""Distinct cells kept of each cause, to find what would read all of them."""
MOST_SHAPES: Final = 8
"""Shapes told of one code and field; the rest are told together."""
_MOST_GROUPS: Final = 500
"""Groups kept of one unit, the largest first; cells of ever other shape cannot fill the memory."""

_GROUP: Final = ["outcome", "code", "field", "shape"]
_BY_VALUE: Final = ("currency_invalid", "timezone_unknown", "lookup_missing")
_SCHEMA: Final = pl.Schema(
    {
        "outcome": pl.String(),
        "code": pl.String(),
        "field": pl.String(),
        "shape": pl.String(),
        "transactions": pl.Int64(),
        "values": pl.List(pl.String()),
        "message": pl.String(),
        SOURCE: pl.UInt32(),
        LINE: pl.Int64(),
    }
)


@dataclass(frozen=True)
class Cause:
    """One thing to mend.

    Attributes:
        outcome: `dropped` or `rejected`.
        code: The reason's code.
        title: Its name for people who do not code.
        field: Omneo's field, or None.
        shape: What the cells look like (or their value, where that says more); None where several look
            different or the code is not about a cell.
        transactions: How many have this cause.
        example: The cell of the first one, whole; None where it is blank.
        message: What is said about that one.
        source: Its file's name.
        line: Its line.
        fix: What to do, as far as it can be guessed from the cells.
    """

    outcome: str
    code: str
    title: str
    field: str | None
    shape: str | None
    transactions: int
    example: str | None
    message: str
    source: str
    line: int
    fix: str


def group(reasons: pl.DataFrame) -> pl.DataFrame:
    """Group one unit's reasons; warnings are left out. Small, and made to be given to `causes`.

    Args:
        reasons: One row a reason, with `outcome`. One without a transaction counts for itself.
    """
    told = reasons.filter(pl.col("outcome") != Outcome.WARNING.value)
    groups = (
        told.sort(SOURCE, LINE, maintain_order=True)
        .with_columns(_shape().alias("shape"))
        .group_by(_GROUP, maintain_order=True)
        .agg(
            (pl.col(TX).drop_nulls().n_unique() + pl.col(TX).null_count())
            .cast(pl.Int64)
            .alias("transactions"),
            pl.col("value").drop_nulls().unique(maintain_order=True).head(SAMPLES).alias("values"),
            pl.col("message", SOURCE, LINE).first(),
        )
    )
    return groups.top_k(_MOST_GROUPS, by="transactions").select(_SCHEMA.names()).cast(_SCHEMA)


def causes(groups: Sequence[pl.DataFrame], sources: Sequence[str]) -> list[Cause]:
    """Add up the groups of all units: rejections before drops, the most frequent first.

    Args:
        groups: As `group` gives them.
        sources: Names of the files; SOURCE is the position in it.
    """
    every = pl.concat([pl.DataFrame(schema=_SCHEMA), *groups])
    added = _few_shapes(_added(every))
    rejected_first = pl.col("outcome") != Outcome.REJECTED.value
    ordered = added.sort(rejected_first, -pl.col("transactions"), "code", "field", nulls_last=True)
    return [_cause(row, sources) for row in ordered.iter_rows(named=True)]


def _shape() -> pl.Expr:
    value = pl.col("value")
    runs = value.str.slice(0, 80).str.replace_all(r"\p{L}+", "a").str.replace_all(r"\d+", "9")
    by_value = pl.col("code").is_in(_BY_VALUE) | (pl.col("field") == "status").fill_null(value=False)
    return pl.when(by_value).then(value).when(pl.col("code").str.ends_with("_invalid")).then(runs)


def _added(groups: pl.DataFrame) -> pl.DataFrame:
    return (
        groups.sort(SOURCE, LINE, maintain_order=True)
        .group_by(_GROUP, maintain_order=True)
        .agg(
            pl.col("transactions").sum(),
            pl.col("values").explode(empty_as_null=False).unique(maintain_order=True).head(SAMPLES),
            pl.col("message", SOURCE, LINE).first(),
        )
    )


def _few_shapes(groups: pl.DataFrame) -> pl.DataFrame:
    """Keep the most frequent shapes of a code and field, and put the others together."""
    rank = pl.col("transactions").rank("ordinal", descending=True).over("outcome", "code", "field")
    shape = pl.when(rank < MOST_SHAPES).then("shape")
    return _added(groups.with_columns(shape.alias("shape")).select(_SCHEMA.names()))


def _cause(row: dict[str, Any], sources: Sequence[str]) -> Cause:
    code, field, values = row["code"], row["field"], row["values"]
    return Cause(
        outcome=row["outcome"],
        code=code,
        title=CODES[code].title if code in CODES else row["message"],
        field=field,
        shape=row["shape"],
        transactions=row["transactions"],
        example=values[0] if values else None,
        message=row["message"],
        source=sources[row[SOURCE]],
        line=row[LINE],
        fix=likely_fix(code, field, values),
    )


# ── What would mend it ───────────────────────────────────────────────────────────────────────────────

_DATE_FORMATS: Final = tuple(
    f"{date}{time}"
    for date in (
        "%Y-%m-%d",
        "%d/%m/%Y",
        "%m/%d/%Y",
        "%d.%m.%Y",
        "%d-%m-%Y",
        "%m-%d-%Y",
        "%Y/%m/%d",
        "%Y%m%d",
        "%d/%m/%y",
        "%m/%d/%y",
        "%d %b %Y",
        "%b %d, %Y",
        "%d-%b-%Y",
        "%d-%b-%y",
    )
    for time in (
        " %H:%M:%S",
        " %H:%M",
        "T%H:%M:%S",
        "T%H:%M",
        " %I:%M:%S %p",
        " %I:%M %p",
        " %I:%M%p",
        " %H:%M:%S%.f",
        "T%H:%M:%S%.fZ",
        "",
    )
)
_BLANK_WORDS: Final = {"n/a", "na", "#n/a", "null", "none", "nil", "nan", "-", "--", "?", "unknown"}
_SIGN: Final = r"([A-Z]{3}|[^\w\s.,()+-]+)"
_NUMBER_FORMS: Final = (
    (
        r"-?\d{1,3}([. '\u2019]\d{3})*,\d{1,4}|-?\d+,\d{1,4}",
        'a decimal comma: `number: {decimal: ",", thousands: ". "}`',
    ),
    (r"-?\d{1,3}(,\d{3})+(\.\d+)?", 'marks between thousands: `number: {thousands: ","}`'),
    (r"\(.*\d.*\)", "amounts in parentheses: `number: {parentheses: true}`"),
    (r"[\d.,]+-", "a minus at the end: `number: {trailing_minus: true}`"),
    (r"-?[\d.,]+ ?%", "percentages: `number: {percent: true}`"),
    (
        rf"[-+]?\s*{_SIGN}\s*-?[\d.,]+|-?[\d.,]+\s*{_SIGN}",
        "a currency's sign or letters: `number: {currency: [...]}`",
    ),
)


def likely_fix(code: str, field: str | None, values: Sequence[str]) -> str:
    """What to do about a cause, from a sample of its cells; the code's own advice where they tell nothing."""
    usual = CODES[code].fix if code in CODES else "Look at the rule of that name in the mapping."
    if not values or not code.endswith("_invalid"):
        return usual
    if {value.strip().casefold() for value in values} <= _BLANK_WORDS:
        return "These are words for a blank cell: list them under `nulls` of `source`."
    if field == "status":
        return f"Say under `completion` what the status {values[0]!r} means."
    known = ITEM_FIELDS.get(field or "") or TRANSACTION_FIELDS.get(field or "")
    look = _LOOKS.get(code) or _KIND_LOOKS.get(known.kind if known else None)
    return (look(values) if look else None) or usual


def _date_fix(values: Sequence[str]) -> str | None:
    cells = pl.Series(values).str.strip_chars()
    for form in _DATE_FORMATS:
        read = cells.str.to_datetime(form, strict=False, exact=True, time_unit="us")
        if not read.null_count() and read.dt.year().is_between(1980, 2100).all():
            return f'These are dates of the form "{form}": add it to `formats`.'
    return None


def _number_fix(values: Sequence[str]) -> str | None:
    for pattern, words in _NUMBER_FORMS:
        if all(re.fullmatch(pattern, value.strip()) for value in values):
            return f"These have {words}."
    return None


def _quantity_fix(values: Sequence[str]) -> str | None:
    if all(re.fullmatch(r"-?\d+[.,]\d+", value.strip()) for value in values):
        return "These are parts of a whole, as of weighed goods: give `quantity` a rule, such as 1 a line."
    return _number_fix(values)


def _person_fix(values: Sequence[str]) -> str | None:
    if all("@" in value for value in values):
        return "Mend the addresses, or turn the code into a warning to import these as guest sales."
    if not any("@" in value for value in values):
        return "These are no email addresses: give cards and customer numbers a `handle` of their own."
    return None


def _currency_fix(values: Sequence[str]) -> str | None:
    if all(re.fullmatch(r"[A-Za-z]{3}", value.strip()) for value in values):
        return "Add the steps `trim` and `upper`."
    return f'Map them: `map: {{values: {{"{values[0]}": AUD}}}}`, with the right three letters.'


_LOOKS: Final[dict[str, Callable[[Sequence[str]], str | None]]] = {
    "quantity_invalid": _quantity_fix,
    "profile_invalid": _person_fix,
    "currency_invalid": _currency_fix,
}
_KIND_LOOKS: Final[dict[Kind | None, Callable[[Sequence[str]], str | None]]] = {
    Kind.DATETIME: _date_fix,
    Kind.DECIMAL: _number_fix,
    Kind.INTEGER: _number_fix,
}
