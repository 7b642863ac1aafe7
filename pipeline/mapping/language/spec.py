"""The mapping language: YAML becomes these frozen values once, and nothing downstream sees a dict.

A *value* says where something comes from. A bare string is a column; everything else is an object with
exactly one origin (`column`, `constant`, `template`, `sql`, `first_of`, `lookup`, `case`, an aggregate over
the transaction's lines, `line_number`, `list`, `object`) and, where wanted, `then`: steps applied in order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Annotated, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from pipeline.core.codes import CODES
from pipeline.core.errors import did_you_mean
from pipeline.core.file_formats import FileFormat
from pipeline.core.model import ITEM_FIELDS, TRANSACTION_FIELDS, Dialect


class Frozen(BaseModel):
    """Base of all parts of a mapping: immutable, and an unknown key is an error."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        populate_by_name=True,
        coerce_numbers_to_str=True,
        defer_build=True,  # else every part is built on its own, and again within the parts around it
    )


def _as_written(raw: object) -> object:
    """YAML's `true` and `false` where a word is wanted are those words."""
    return str(raw).lower() if isinstance(raw, bool) else raw


Text: TypeAlias = Annotated[
    str, BeforeValidator(_as_written), WithJsonSchema({"type": ["string", "number", "boolean"]})
]
"""A word as it is in the file; in YAML it needs no quotes, also where it looks like a number or a boolean."""

Scalar: TypeAlias = str | int | Decimal | bool


def _form_tag(raw: object) -> str:
    """Which of the forms a part may take: an object of names, a list, or one plain value."""
    if isinstance(raw, Mapping | Frozen):
        return "|object"
    return "|list" if isinstance(raw, list | tuple) else "|plain"


# ── Steps: what happens to a value after it was found ────────────────────────────────────────────────


class Replace(Frozen):
    """Replace every match of a regular expression (Rust syntax; `$1` is a group)."""

    pattern: str
    with_: str = Field("", alias="with")


class ReplaceStep(Frozen):
    """`replace: {pattern, with}`."""

    replace: Replace


class Pad(Frozen):
    """Fill up on the left to a width; longer texts stay."""

    width: int = Field(gt=0)
    fill: str = Field("0", min_length=1, max_length=1)


class PadStep(Frozen):
    """`pad: {width, fill}`."""

    pad: Pad


class Slice(Frozen):
    """A part of the text: from `start` (0-based; negative counts from the end), `length` characters."""

    start: int = 0
    length: int | None = Field(None, ge=0)


class SliceStep(Frozen):
    """`slice: {start, length}`."""

    slice: Slice


class Split(Frozen):
    """Cut at `by` and take the part with the 0-based `index`; negative counts from the end."""

    by: str = Field(min_length=1)
    index: int


class SplitStep(Frozen):
    """`split: {by, index}`."""

    split: Split


class SplitAllStep(Frozen):
    """`list_by: ","`: cut into a list of trimmed, non-blank texts (for tags)."""

    list_by: str = Field(min_length=1)


class ValueMap(Frozen):
    """Replace whole values; what is not listed becomes `default`, stays, or is refused.

    Attributes:
        values: Text (as in the file, trimmed) → replacement.
        other: What happens to the rest: `keep` it, make it `blank`, or `reject` the transaction.
        default: The replacement for the rest; takes the place of `other`.
        ignore_case: Compare without regard to letter case.
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
        thousands: Marks between thousands, each a character; removed.
        currency: Signs or words around the amount that are removed, such as `$` or `EUR`.
        parentheses: `(33.62)` is negative.
        trailing_minus: `12.00-` is negative.
        percent: `12.5%` or `12.5` means 0.125.
        minor_units: The number counts cents: 1999 is 19.99 with 2.
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
        formats: strftime formats (chrono's), tried in order; or `iso`, `epoch_s` and `epoch_ms` (from 1970 in
            UTC), `spreadsheet_days` (43390.75: days since 1899-12-30, as spreadsheets count).
        timezone: The zone of times without an offset: an IANA, Rails or Windows name, or a value giving one.
        ambiguous: What a local time that happened twice is: the `first`, the `second`, or a `reject`.
        nonexistent: What a local time that the clock skipped is: a `reject`, or `shift`ed forward.
    """

    formats: tuple[str, ...] = Field(min_length=1)
    timezone: Value | None = None
    ambiguous: Literal["first", "second", "reject"] = "first"
    nonexistent: Literal["reject", "shift"] = "reject"


class DateTimeStep(Frozen):
    """`datetime: {formats, timezone, …}`."""

    datetime: DateTime


class Boolean(Frozen):
    """Which words mean yes and which no; letter case is ignored."""

    true: tuple[Text, ...] = ("true", "yes", "y", "1", "t")
    false: tuple[Text, ...] = ("false", "no", "n", "0", "f")


class BooleanStep(Frozen):
    """`boolean: {true, false}`."""

    boolean: Boolean


class DefaultStep(Frozen):
    """`default: x`: what a blank becomes."""

    default: Scalar


class RoundStep(Frozen):
    """`round: 2`: to so many places, half away from zero."""

    round: int = Field(ge=0, le=4)


class DivideStep(Frozen):
    """`divide_by: value`: a unit price from a line total; blank where the divisor is blank or 0."""

    divide_by: Value


class MultiplyStep(Frozen):
    """`multiply_by: value`."""

    multiply_by: Value


class BlankStep(Frozen):
    """`blank_if: [..]`: texts that mean there is no value."""

    blank_if: tuple[Text, ...] = Field(min_length=1)


Word: TypeAlias = Literal["trim", "upper", "lower", "title", "digits", "squeeze", "negate", "abs", "unguard"]
"""Steps without options. `digits` keeps only 0-9; `squeeze` makes runs of blanks one; `unguard` removes
the apostrophe that spreadsheets put in front."""

STEPS: dict[str, type[Frozen]] = {
    "replace": ReplaceStep,
    "pad": PadStep,
    "slice": SliceStep,
    "split": SplitStep,
    "list_by": SplitAllStep,
    "map": MapStep,
    "number": NumberStep,
    "datetime": DateTimeStep,
    "boolean": BooleanStep,
    "default": DefaultStep,
    "round": RoundStep,
    "divide_by": DivideStep,
    "multiply_by": MultiplyStep,
    "blank_if": BlankStep,
}


VALUE_TAG, STEP_TAG, FORM_TAG = "=", ">", "|"
"""What pydantic's discriminators put in front of a tag, so that in the place of an error (pydantic's `loc`)
a tag is told from a key of the file."""


def _only_key(raw: object, known: Mapping[str, type[Frozen]], mark: str, bare: str) -> str | None:
    """The tag of a one-key object for pydantic's discriminator: the known key it has, or `bare`."""
    if isinstance(raw, str):
        return mark + bare
    if isinstance(raw, Mapping):
        return next((mark + key for key in known if key in raw), None)
    return next((mark + key for key, kind in known.items() if isinstance(raw, kind)), None)


def _step_tag(raw: object) -> str | None:
    return _only_key(raw, STEPS, STEP_TAG, "word")


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


# ── Values: where something comes from ──────────────────────────────────────────────────────────────


class _Value(Frozen):
    then: tuple[Step, ...] = ()


class ColumnValue(_Value):
    """A cell of the row, or a name from `define`.

    In items and payments, `header.<column>` is a cell of their transaction, where that has rows of its own.
    """

    column: str = Field(min_length=1)


class ConstantValue(_Value):
    """The same for every row."""

    constant: Scalar


class TemplateValue(_Value):
    """Text with `{column}` in it; blank where one of them is blank. `{{` is a brace."""

    template: str = Field(min_length=1)


class SqlValue(_Value):
    """A formula in SQL over columns and names from `define`.

    Cells are texts unless `columns` says what they are. A name with blanks or points in it stands in double
    quotes, a text in single quotes. What is divided by 0 is blank. Where a value depends on a cell that a
    `CAST` or `STRPTIME` cannot read, the transaction is rejected; `TRY_CAST` makes such a cell blank.
    """

    sql: str = Field(min_length=1)


class FirstOfValue(_Value):
    """The first of several values that is not blank."""

    first_of: tuple[Value, ...] = Field(min_length=1)


class LookupValue(_Value):
    """A cell of another table.

    Attributes:
        lookup: The table's name under `lookups`.
        key: What to look for, one value per key column.
        value: The column to take.
        missing: What a key that is not there does: `reject` the transaction, or give a `blank`.
    """

    lookup: str
    key: OneOrMore
    value: str
    missing: Literal["reject", "blank"] = "reject"


class When(Frozen):
    """One branch of a `case`."""

    when: str = Field(min_length=1, description="A condition in SQL.")
    value: Value


class CaseValue(_Value):
    """The value of the first branch whose condition holds, else `else`."""

    case: tuple[When, ...] = Field(min_length=1)
    else_: Value | None = Field(None, alias="else")


class SumValue(_Value):
    """Sum over the transaction's lines; blank lines count as nothing."""

    sum: Value


class CountValue(_Value):
    """How many of the transaction's lines meet a condition in SQL (`"true"` for all)."""

    count: str


class FirstValue(_Value):
    """The first value that is not blank among the transaction's lines."""

    first: Value


class LastValue(_Value):
    """The last value that is not blank among the transaction's lines."""

    last: Value


class MinValue(_Value):
    """The smallest value among the transaction's lines."""

    min: Value


class MaxValue(_Value):
    """The largest value among the transaction's lines."""

    max: Value


class LineNumberValue(_Value):
    """1, 2, 3… over a transaction's lines, for sources without a line number; stable between runs.

    `order: file` numbers in file order; `order: content` sorts by content first, so that an export
    whose rows come in another order gives the same numbers.
    """

    line_number: Literal["file", "content"]


class ListValue(_Value):
    """A list; blank members are left out."""

    list: tuple[Value, ...]


class ObjectValue(_Value):
    """Names and values; blank members are left out, and the whole where all but constants are blank."""

    object: dict[str, Value]


class OpenValue(_Value):
    """A value that is still to be decided; the text says what is missing. A mapping with one does not run."""

    open: str = Field(min_length=1)


VALUES: dict[str, type[Frozen]] = {
    "column": ColumnValue,
    "constant": ConstantValue,
    "template": TemplateValue,
    "sql": SqlValue,
    "first_of": FirstOfValue,
    "lookup": LookupValue,
    "case": CaseValue,
    "sum": SumValue,
    "count": CountValue,
    "first": FirstValue,
    "last": LastValue,
    "min": MinValue,
    "max": MaxValue,
    "line_number": LineNumberValue,
    "list": ListValue,
    "object": ObjectValue,
    "open": OpenValue,
}


def _value_tag(raw: object) -> str | None:
    return _only_key(raw, VALUES, VALUE_TAG, "bare")


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


def _one_or_more_tag(raw: object) -> str:
    return "|list" if _form_tag(raw) == "|list" else "|one"


OneOrMore: TypeAlias = Annotated[
    Annotated[Value, Tag("|one")] | Annotated[tuple[Value, ...], Tag("|list")],
    Discriminator(_one_or_more_tag),
]


# ── Source: how the files are laid out ──────────────────────────────────────────────────────────────


class Table(Frozen):
    """One of several files that are joined: headers, items or payments.

    Attributes:
        inputs: Globs of file names.
        key: The columns that hold the transaction's key, in the order of the header's key.
        optional: No file is fine.
    """

    inputs: tuple[str, ...] = Field(min_length=1)
    key: tuple[str, ...] = Field(min_length=1)
    optional: bool = False


class Records(Frozen):
    """Record types interleaved in one file.

    Attributes:
        column: Which column tells the type.
        header, item, payment: The words for each; other records are `excluded` from the transaction.
    """

    column: str
    header: tuple[Text, ...] = Field(min_length=1)
    item: tuple[Text, ...] = ()
    payment: tuple[Text, ...] = ()


class Nested(Frozen):
    """Columns that hold lists of objects: a nested Parquet column, or JSON in a cell.

    Members of the objects are used as columns named `items.<member>` / `payments.<member>`.

    Attributes:
        items: The column with the items; `order.lines` is the list `lines` in the object `order`.
        payments: The column with the payments, likewise.
    """

    items: str | None = None
    payments: str | None = None


class Source(Frozen):
    """The files.

    Attributes:
        inputs: Globs looked for when a directory is given.
        format: Taken from the file's content where it is left out.
        layout: `lines`: one row a line item, header cells repeated. `first_row`: header cells only on the
            transaction's first row. `records`: record types interleaved. `tables`: several files joined on
            keys. `nested`: one row a transaction with lists inside. `headers`: one row a transaction,
            no items.
        key: The columns, or names from `define`, that tell transactions apart.
        carry_key: A blank key means that of the row above.
        csv: The CSV dialect.
        nulls: Words that mean an empty cell, beside the empty cell itself.
        duplicates: Rows alike in every cell: `drop` (once, with a warning) or `keep` (they are real).
        across_files: What counts of a sale that several files of a run hold differently, where neither a line
            that they share nor the total decides: the `latest` file, all files together (`add`), or nothing
            (`reject`).
        ignore: Columns that are left unused on purpose, also as shell patterns (`Billing *`); the rest warn
            `unmapped_column`.
        optional: Columns that some exports of this kind do not have; there they are blank.
        number: How numbers are written where a value does not say otherwise.
        records: The record types, for `layout: records`.
        nested: The columns with lists, for `layout: nested`.
        tables: The files `headers`, `items` and `payments`, for `layout: tables`.
    """

    inputs: tuple[str, ...] = ("*.csv", "*.csv.gz", "*.csv.zst", "*.parquet")
    format: FileFormat | None = None
    layout: Literal["lines", "first_row", "records", "tables", "nested", "headers"] = "lines"
    key: tuple[str, ...] = ()
    carry_key: bool = False
    csv: Dialect = Dialect()
    nulls: tuple[Text, ...] = ()
    duplicates: Literal["drop", "keep"] = "drop"
    across_files: Literal["latest", "add", "reject"] = "reject"
    ignore: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    number: Number = Number()
    records: Records | None = None
    nested: Nested | None = None
    tables: dict[Literal["headers", "items", "payments"], Table] = {}


class LookupTable(Frozen):
    """Another table, resolved under the mapping's own directory only.

    Attributes:
        file: CSV or Parquet, relative to the mapping; or a glob of `SOURCE` names with `from: source`.
        key: The columns that are looked for; a key that is there twice is an error.
        from_: `mapping`: beside the mapping. `source`: among the sources given on the command line.
    """

    file: str
    key: tuple[str, ...] = Field(min_length=1)
    from_: Literal["mapping", "source"] = Field("mapping", alias="from")
    csv: Dialect = Dialect()


# ── Meaning: completion, profiles, payments, rewards, checks ────────────────────────────────────────


class Condition(Frozen):
    """Where a transaction is in a state: status words, a condition in SQL, or both (either counts)."""

    status: tuple[Text, ...] = ()
    sql: str | None = None


def _words_tag(raw: object) -> str:
    return "|object" if _form_tag(raw) == "|object" else "|list"


Words: TypeAlias = Annotated[
    Annotated[tuple[Text, ...], Tag("|list")] | Annotated[Condition, Tag("|object")],
    Discriminator(_words_tag),
]


class Completion(Frozen):
    """Which sales are complete, and what the others are.

    Attributes:
        status: The source's status; compared trimmed, without regard to letter case.
        complete, void: These are imported; `void` with `is_void: true`.
        draft, partially_paid, cancelled, order_open, excluded: These are dropped under that code.
        other: What any other status is: `reject` (`field_invalid`) or one of the above.
        paid: What was paid. Less than a positive total drops the sale as `partially_paid`.
    """

    status: Value | None = None
    complete: Words = ()
    void: Words = ()
    draft: Words = ()
    partially_paid: Words = ()
    cancelled: Words = ()
    order_open: Words = ()
    excluded: Words = ()
    other: Literal["reject", "complete", "excluded"] = "reject"
    paid: Value | None = None


class ProfileLink(Frozen):
    """One way to know the customer; the first that is not blank is used.

    Attributes:
        value: The email, card number or id.
        handle: `email`, the handle of an identity, or left out where the value is an Omneo profile UUID.
    """

    value: Value
    handle: str | None = None


class Payment(Frozen):
    """One tender. Without `amount` in the row it was not used; nor with 0, unless a cell names the tender."""

    tender: Value
    amount: Value | None = None


class Lines(Frozen):
    """What the lines are besides items.

    Attributes:
        skip: Conditions in SQL; such lines are no items (freight, gift cards, free text).
        discount: A condition in SQL; such lines become entries of the `discounts` of the transaction's
            items, spread in proportion, instead of items.
        discount_amount: The amount of a discount line, for all of it; its sign does not matter.
        discount_reason: Its reason.
        discount_prices: `before`: `price_sell` in the source is before such lines, so each item's share is
            taken off. `after`: it is already off, and only listed.
    """

    skip: tuple[str, ...] = ()
    discount: str | None = None
    discount_amount: Value | None = None
    discount_reason: Value | None = None
    discount_prices: Literal["before", "after"] = "before"


class Reward(Frozen):
    """A redeemed amount, spread over the items in proportion to price × quantity, to the cent (yen, fils).

    Attributes:
        amount: What was redeemed, for the transaction.
        reason: The `reason_desc` under which each item's share is listed.
        prices: `before`: `price_sell` in the source is before the reward, so the share is taken off.
            `after`: it is already off, and only listed.
    """

    amount: Value
    reason: str = "Reward"
    prices: Literal["before", "after"] = "before"


class Refund(Frozen):
    """Returns that the source writes with positive amounts or quantities; they are made negative.

    Attributes:
        when: A condition in SQL over the transaction's columns.
        negate: What is turned: `total` (all the header's amounts), `quantity` (the items').
    """

    when: str
    negate: tuple[Literal["total", "quantity"], ...] = ("total", "quantity")


Severity: TypeAlias = Literal["reject", "warn", "off"]


class Check(Frozen):
    """How a code is treated: its severity, or the usual one, and its tolerance where it compares amounts."""

    severity: Severity | None = None
    tolerance: Decimal | None = Field(None, ge=0)


def _treatment_tag(raw: object) -> str:
    return "|object" if _form_tag(raw) == "|object" else "|plain"


Treatment: TypeAlias = Annotated[
    Annotated[Severity, Tag("|plain")] | Annotated[Check, Tag("|object")],
    Discriminator(_treatment_tag),
]


class Rule(Frozen):
    """A check of the mapping's own: where `when` holds, the code is given.

    Attributes:
        code: Lower case with underscores, not one of the built-in codes.
        when: A condition in SQL over the transaction's mapped fields.
        message: For people.
        severity: `reject` or `warn`.
    """

    code: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    when: str = Field(min_length=1)
    message: str = Field(min_length=1)
    severity: Literal["reject", "warn"] = "reject"


COLUMN_KINDS: dict[str, type[Frozen]] = {
    "number": NumberStep,
    "datetime": DateTimeStep,
    "boolean": BooleanStep,
}


def _kind_tag(raw: object) -> str | None:
    return _only_key(raw, COLUMN_KINDS, STEP_TAG, "kind")


ColumnKind: TypeAlias = Annotated[
    Annotated[Literal["integer", "decimal", "boolean"], Tag(">kind")]
    | Annotated[NumberStep, Tag(">number")]
    | Annotated[DateTimeStep, Tag(">datetime")]
    | Annotated[BooleanStep, Tag(">boolean")],
    Discriminator(_kind_tag),
]


def _one_of(known: Iterable[str], what: str) -> Callable[[str], str]:
    names = tuple(known)

    def check(name: str) -> str:
        if name not in names:
            raise PydanticCustomError(
                "unknown_name", "{problem}", {"problem": f"'{name}' is not {what}{did_you_mean(name, names)}"}
            )
        return name

    return check


SET_ELSEWHERE = {"payments": "payments", "profile_id": "profile", "profile_id_handle": "profile"}
"""Transaction fields that have a section of their own in the mapping."""

_TRANSACTION_NAMES = tuple(name for name in TRANSACTION_FIELDS if name not in SET_ELSEWHERE)
TransactionField: TypeAlias = Annotated[
    str,
    AfterValidator(_one_of(_TRANSACTION_NAMES, "a field of a transaction")),
    WithJsonSchema({"type": "string", "enum": list(_TRANSACTION_NAMES)}),
]
ItemField: TypeAlias = Annotated[
    str,
    AfterValidator(_one_of(ITEM_FIELDS, "a field of an item")),
    WithJsonSchema({"type": "string", "enum": list(ITEM_FIELDS)}),
]
CodeName: TypeAlias = Annotated[
    str,
    AfterValidator(_one_of(CODES, "a code")),
    WithJsonSchema({"type": "string", "enum": list(CODES)}),
]


class MappingSpec(Frozen):
    """A whole mapping file.

    Attributes:
        mapping: Its name, in lower case with underscores.
        about: What export it is for, one or two sentences.
        source: The files and their layout.
        lookups: Other tables, by a name of the mapping's choosing.
        columns: Columns that are numbers, dates or booleans wherever they are used, also in `sql`.
        define: Named values, usable as columns in everything below; each may use those above it.
        transaction: Omneo's transaction fields, each a value.
        completion: Which sales are complete; without it every sale is.
        profile: How the customer is known, tried in order; without any a sale is a guest sale.
        payments: The tenders.
        payments_form: `names` gives `["CASH"]`, `amounts` gives `[{"CASH": 10.00}]`.
        lines: Lines that are no items.
        items: Omneo's item fields, each a value over a line; left out for a source without items.
        reward: A redeemed amount that is spread over the items.
        refund: Returns written with positive amounts.
        checks: Codes treated otherwise than by default: `reject`, `warn`, `off`, or with a tolerance.
        rules: Checks of the mapping's own.
    """

    mapping: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    about: str = ""
    source: Source
    lookups: dict[str, LookupTable] = {}
    columns: dict[str, ColumnKind] = {}
    define: dict[str, Value] = {}
    transaction: dict[TransactionField, Value]
    completion: Completion | None = None
    profile: tuple[ProfileLink, ...] = ()
    payments: tuple[Payment, ...] = ()
    payments_form: Literal["names", "amounts"] = "names"
    lines: Lines = Lines()
    items: dict[ItemField, Value] = {}
    reward: Reward | None = None
    refund: Refund | None = None
    checks: dict[CodeName, Treatment] = {}
    rules: tuple[Rule, ...] = ()
