"""The values of the mapping language, and the steps that change them, as frozen objects.

A *value* says where something comes from. A bare string is a column. Everything else is an object with
exactly one origin (`column`, `constant`, `template`, `sql`, `first_of`, `lookup`, `case`, an aggregate over
the transaction's lines, `line_number`, `list`, `object`) and optionally `then`: steps applied in order.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeAlias

from pydantic import Discriminator, Field, Tag

from pipeline.mapping.language.forms import (
    STEP_TAG,
    VALUE_TAG,
    ColumnName,
    Frozen,
    Scalar,
    Sql,
    Template,
    Text,
    either,
    keyed_types,
    only_key_tag,
)

# ── Steps: what happens to a value after it was found ────────────────────────────────────────────────


class Replace(Frozen):
    """Replace every match of a regular expression (Rust syntax; `$1` is a group)."""

    pattern: str
    with_: str = Field("", alias="with")


class ReplaceStep(Frozen):
    """`replace: {pattern, with}`."""

    replace: Replace


_LONGEST: Final = 1 << 20
"""The most characters or parts that a step counts in a text, far more than a cell of an export has."""


class Pad(Frozen):
    """Pad on the left to a width; longer texts stay as they are."""

    # No id is longer, and each cell takes this much memory.
    width: int = Field(gt=0, le=255)
    fill: str = Field("0", min_length=1, max_length=1)


class PadStep(Frozen):
    """`pad: {width, fill}`."""

    pad: Pad


class Slice(Frozen):
    """A part of the text: `length` characters from `start` (0-based; a negative one counts from the end)."""

    start: int = Field(0, ge=-_LONGEST, le=_LONGEST)
    length: int | None = Field(None, ge=0, le=_LONGEST)


class SliceStep(Frozen):
    """`slice: {start, length}`."""

    slice: Slice


class Split(Frozen):
    """Split at `by` and take the part with the 0-based `index`; a negative one counts from the end.

    Attributes:
        by: What stands between the parts.
        index: Which part.
        parts: At most so many parts; the last one keeps the rest. Without it, as many as there are.
    """

    by: str = Field(min_length=1)
    index: int = Field(ge=-_LONGEST, le=_LONGEST)
    parts: int | None = Field(None, ge=2, le=_LONGEST)


class SplitStep(Frozen):
    """`split: {by, index}`."""

    split: Split


class SplitAllStep(Frozen):
    """`list_by: ","`: split into a list of trimmed texts without blank ones (for tags)."""

    list_by: str = Field(min_length=1)


class ValueMap(Frozen):
    """Replace whole values; values that are not listed become `default`, stay, or are rejected.

    Attributes:
        values: Text (as in the file, trimmed) → replacement.
        other: What happens to other values: `keep` them, make them `blank`, or `reject` the transaction.
        default: The replacement for other values; wins over `other`.
        ignore_case: Ignore letter case when comparing.
    """

    values: dict[str, Scalar]
    other: Literal["keep", "blank", "reject"] = "keep"
    default: Scalar | None = None
    ignore_case: bool = False


class MapStep(Frozen):
    """`map: {values, default}`."""

    map: ValueMap


class Number(Frozen):
    """How an amount or number is written.

    Attributes:
        decimal: The decimal mark.
        thousands: Marks between thousands, one character each; they are removed.
        currency: Signs or words around the amount, such as `$` or `EUR`; they are removed.
        parentheses: `(33.62)` is negative.
        trailing_minus: `12.00-` is negative.
        percent: `12.5%` or `12.5` means 0.125.
        minor_units: The number is in cents or the like: with 2, 1999 means 19.99.
    """

    decimal: Literal[".", ","] = "."
    thousands: str = ""
    currency: tuple[str, ...] = ()
    parentheses: bool = False
    trailing_minus: bool = False
    percent: bool = False
    minor_units: int = Field(0, ge=0, le=4)


class NumberStep(Frozen):
    """`number: {decimal, thousands, …}`."""

    number: Number


class DateTime(Frozen):
    """How a date and time is written.

    Attributes:
        formats: strftime formats (of chrono), tried in order; or `iso`, `epoch_s` and `epoch_ms` (since 1970
            in UTC), `spreadsheet_days` (43390.75: days since 1899-12-30, as spreadsheets store dates), also
            with a time of day behind it (`spreadsheet_days %H:%M`). ` %Z` at the end reads the abbreviation
            of a zone, such as EDT.
        abbreviations: For formats with `%Z`: the offset from UTC that an abbreviation means, as in
            `{EST: -05:00}`. EST, CST, IST and BST mean several zones, so those that occur have to be here;
            others are known, and may be here.
        timezone: The zone of times without an offset: a value that gives an IANA, Rails or Windows name.
        ambiguous: How a local time that happened twice is read: as the `first`, as the `second`, or `reject`.
        nonexistent: How a local time that the clock skipped is read: `reject`, or `shift` it forward.
    """

    formats: tuple[str, ...] = Field(min_length=1)
    abbreviations: dict[str, str] | None = None
    timezone: Value | None = None
    ambiguous: Literal["first", "second", "reject"] = "first"
    nonexistent: Literal["reject", "shift"] = "reject"


class DateTimeStep(Frozen):
    """`datetime: {formats, timezone, …}`."""

    datetime: DateTime


class Boolean(Frozen):
    """Which words mean true and which mean false; letter case is ignored."""

    true: tuple[Text, ...] = ("true", "yes", "y", "1", "t")
    false: tuple[Text, ...] = ("false", "no", "n", "0", "f")


class BooleanStep(Frozen):
    """`boolean: {true, false}`."""

    boolean: Boolean


class DefaultStep(Frozen):
    """`default: x`: the value that a blank becomes."""

    default: Scalar


class RoundStep(Frozen):
    """`round: 2`: round to that many decimal places, half away from zero."""

    round: int = Field(ge=0, le=4)


class DivideStep(Frozen):
    """`divide_by: value`: for a unit price from a line total; blank where the divisor is blank or 0."""

    divide_by: Value


class MultiplyStep(Frozen):
    """`multiply_by: value`."""

    multiply_by: Value


class BlankStep(Frozen):
    """`blank_if: [..]`: texts that mean there is no value."""

    blank_if: tuple[Text, ...] = Field(min_length=1)


Word: TypeAlias = Literal["trim", "upper", "lower", "title", "digits", "squeeze", "negate", "abs", "unguard"]
"""Steps without options. `digits` keeps only 0-9; `squeeze` turns a run of blanks into one; `unguard` removes
what protects a text from spreadsheets: a leading apostrophe, or `="` and `"` around it."""


def _step_tag(raw: object) -> str | None:
    return only_key_tag(raw, STEPS, STEP_TAG, "word")


Step: TypeAlias = Annotated[
    Annotated[Word, Tag(">word")]
    | Annotated[ReplaceStep, Tag(">replace")]
    | Annotated[PadStep, Tag(">pad")]
    | Annotated[SliceStep, Tag(">slice")]
    | Annotated[SplitStep, Tag(">split")]
    | Annotated[SplitAllStep, Tag(">list_by")]
    | Annotated[MapStep, Tag(">map")]
    | Annotated[NumberStep, Tag(">number")]
    | Annotated[DateTimeStep, Tag(">datetime")]
    | Annotated[BooleanStep, Tag(">boolean")]
    | Annotated[DefaultStep, Tag(">default")]
    | Annotated[RoundStep, Tag(">round")]
    | Annotated[DivideStep, Tag(">divide_by")]
    | Annotated[MultiplyStep, Tag(">multiply_by")]
    | Annotated[BlankStep, Tag(">blank_if")],
    Discriminator(_step_tag),
]
STEPS = keyed_types(Step)
"""The steps with options, by their key."""


# ── Values: where something comes from ──────────────────────────────────────────────────────────────


class _Value(Frozen):
    then: tuple[Step, ...] = ()


class ColumnValue(_Value):
    """A cell of the row, or a name from `define`.

    In items and payments, `header.<column>` is a cell of the transaction, where it has a row of its own.
    """

    column: ColumnName = Field(min_length=1)


class ConstantValue(_Value):
    """The same value for every row."""

    constant: Scalar


class TemplateValue(_Value):
    """Text with `{column}` in it; blank where one of the columns is blank. `{{` is a brace."""

    template: Template = Field(min_length=1)


class SqlValue(_Value):
    """A formula in SQL over columns and names from `define`.

    Cells are texts unless `columns` says otherwise. Write a name with blanks or points in double quotes, and
    a text in single quotes. A division by 0 gives a blank. Where the value depends on a cell that a `CAST` or
    `STRPTIME` cannot read, the transaction is rejected; `TRY_CAST` makes such a cell blank.
    """

    sql: Sql = Field(min_length=1)


class FirstOfValue(_Value):
    """The first of several values that is not blank."""

    first_of: tuple[Value, ...] = Field(min_length=1)


class LookupValue(_Value):
    """A cell of another table.

    Attributes:
        lookup: The table's name under `lookups`.
        key: What to look for, one value per key column.
        value: The column to take.
        missing: For a key that is not in the table: `reject` the transaction, or give a `blank`.
    """

    lookup: str
    key: OneOrMore
    value: str
    missing: Literal["reject", "blank"] = "reject"


class When(Frozen):
    """One branch of a `case`."""

    when: Sql = Field(min_length=1, description="A condition in SQL.")
    value: Value


class CaseValue(_Value):
    """The value of the first branch whose condition is true, otherwise `else`."""

    case: tuple[When, ...] = Field(min_length=1)
    else_: Value | None = Field(None, alias="else")


LineChoice: TypeAlias = Literal["kept", "skipped", "all"]
"""Which lines of a transaction count: those that `lines: {skip: ...}` does not leave out, those that it
leaves out, or all."""


class AggregateValue(_Value):
    """A value over the transaction's lines: what it is made of, without its steps, is of a line."""


class SumValue(AggregateValue):
    """The sum over the transaction's lines; blank values are ignored.

    Attributes:
        sum: What is added up.
        lines: `all`: each line counts. `kept`: lines that `lines: {skip: ...}` leaves out count 0. `skipped`:
            only these count.
    """

    sum: Value
    lines: LineChoice = "all"


class CountValue(AggregateValue):
    """The number of the transaction's lines that meet a condition in SQL (`"true"` for all).

    Attributes:
        count: The condition.
        lines: Which lines count, as for `sum`.
    """

    count: Sql
    lines: LineChoice = "all"


class DistinctValue(AggregateValue):
    """A list of the different values among the transaction's lines, without blank ones, in their order.

    Attributes:
        distinct: The value of a line, which becomes a text.
        lines: Which lines count, as for `sum`.
    """

    distinct: Value
    lines: LineChoice = "all"


class FirstValue(AggregateValue):
    """The first value that is not blank among the transaction's lines."""

    first: Value


class LastValue(AggregateValue):
    """The last value that is not blank among the transaction's lines."""

    last: Value


class MinValue(AggregateValue):
    """The smallest value among the transaction's lines."""

    min: Value


class MaxValue(AggregateValue):
    """The largest value among the transaction's lines."""

    max: Value


class LineNumberValue(_Value):
    """1, 2, 3… over a transaction's lines, for sources without a line number; stable between runs.

    `file` numbers them in the order of the file. `content` sorts them by content first, so that an export
    whose rows come in another order gives the same numbers.
    """

    line_number: Literal["file", "content"]


class ListValue(_Value):
    """A list without its blank members."""

    list: tuple[Value, ...]


class ObjectValue(_Value):
    """Names and values without blank ones; blank where everything except constants is blank."""

    object: dict[str, Value]


class OpenValue(_Value):
    """A value that is still to be chosen; the text says what is missing. Such a mapping does not run."""

    open: str = Field(min_length=1)


def _value_tag(raw: object) -> str | None:
    return only_key_tag(raw, VALUES, VALUE_TAG, "bare")


Value: TypeAlias = Annotated[
    Annotated[str, Field(min_length=1, description="The name of a column."), Tag("=bare")]
    | Annotated[ColumnValue, Tag("=column")]
    | Annotated[ConstantValue, Tag("=constant")]
    | Annotated[TemplateValue, Tag("=template")]
    | Annotated[SqlValue, Tag("=sql")]
    | Annotated[FirstOfValue, Tag("=first_of")]
    | Annotated[LookupValue, Tag("=lookup")]
    | Annotated[CaseValue, Tag("=case")]
    | Annotated[SumValue, Tag("=sum")]
    | Annotated[CountValue, Tag("=count")]
    | Annotated[DistinctValue, Tag("=distinct")]
    | Annotated[FirstValue, Tag("=first")]
    | Annotated[LastValue, Tag("=last")]
    | Annotated[MinValue, Tag("=min")]
    | Annotated[MaxValue, Tag("=max")]
    | Annotated[LineNumberValue, Tag("=line_number")]
    | Annotated[ListValue, Tag("=list")]
    | Annotated[ObjectValue, Tag("=object")]
    | Annotated[OpenValue, Tag("=open")],
    Discriminator(_value_tag),
]
VALUES = keyed_types(Value)
"""The values that are objects, by their key."""


OneOrMore: TypeAlias = Annotated[
    Annotated[Value, Tag("|one")] | Annotated[tuple[Value, ...], Tag("|list")],
    either("|list", "|one"),
]
