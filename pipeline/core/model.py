"""The nouns that every stage shares: Omneo's fields, the codes, a staged transaction, names of columns.

Facts about the API are from Omneo's public reference of `POST /transactions/queue` and its concept page
"Transactions"; what those pages leave open is a setting elsewhere, never a constant here.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Final, Literal, NamedTuple

# Columns that the pipeline adds to a source's own. A source column cannot take such a name: readers
# rename it, since a leading underscore followed by a letter of ours would be ambiguous.
SOURCE: Final = "__source"  # UInt32: position of the file in the manifest's list of sources
LINE: Final = "__line"  # Int64: 1-based physical line on which the row starts (Parquet, JSON: row number)
LOST: Final = "__lost"  # UInt8: the row stands for a malformed one, see `Lost`; null for all others
KEY: Final = "__key"  # UInt64: hash of the transaction key's cells; null where a key cell is blank
TX: Final = "__tx"  # UInt32: the transaction's number within its partition, 0..n-1

LINES: Final = "lines"
"""The one table of a mapping that reads one kind of file."""


class Lost(IntEnum):
    """What a row stands for that has LOST: it takes a malformed row to the sale that goes short of it."""

    KEYED = 1  # a malformed row whose key cells could be read
    UNKEYED = 2  # one whose key cells could not be read
    BELOW = 3  # the same once more, at the sale above it, which it may be part of


MONEY_PRECISION: Final = 15
MONEY_SCALE: Final = 4
"""Amounts are Decimal(15, 4): every one of them survives JSON's double exactly, and no known currency
or unit price needs more places. What does not fit is `total_invalid`, `price_invalid` or `field_invalid`."""


class Kind(StrEnum):
    """What a field of Omneo holds; decides parsing, checking and how it is written as JSON."""

    STRING = "string"
    DECIMAL = "decimal"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    DATETIME = "datetime"  # written as UTC `YYYY-MM-DD HH:MM:SS`
    STRINGS = "list of strings"
    PAYMENTS = "payments"  # tender names, or objects of tender and amount
    OBJECT = "object"
    OBJECTS = "list of objects"


@dataclass(frozen=True)
class Field:
    """A field of an Omneo transaction or item.

    Attributes:
        name: As in the API.
        kind: What it holds.
        note: One sentence for people, used in the docs and in editors.
        missing: The code when it is required and has no value; None where it is optional.
        invalid: The code when the source had a value that is not of this kind.
    """

    name: str
    kind: Kind
    note: str
    missing: str | None = None
    invalid: str = "field_invalid"


TRANSACTION_FIELDS: Final[dict[str, Field]] = {
    field.name: field
    for field in (
        Field(
            "external_id",
            Kind.STRING,
            "The source's own id; the key of Omneo's upsert.",
            "external_id_missing",
        ),
        Field("total", Kind.DECIMAL, "Final value; negative for a return.", "total_missing", "total_invalid"),
        Field(
            "transacted_at",
            Kind.DATETIME,
            "When the sale happened.",
            "transacted_at_missing",
            "transacted_at_invalid",
        ),
        Field(
            "timezone", Kind.STRING, "IANA name of the zone the sale happened in.", None, "timezone_unknown"
        ),
        Field(
            "receipt_ref",
            Kind.STRING,
            "The number printed on the receipt; a customer claims a guest sale with it.",
        ),
        Field(
            "profile_id", Kind.STRING, "The customer; what it is, the handle says.", None, "profile_invalid"
        ),
        Field(
            "profile_id_handle",
            Kind.STRING,
            "`email`, or the handle of an identity; left out for an Omneo UUID.",
        ),
        Field("location_id", Kind.STRING, "The store; Omneo creates one it does not know."),
        Field("staff_id", Kind.STRING, "Who served."),
        Field(
            "currency",
            Kind.STRING,
            "Three letters (ISO 4217), configured in the tenant.",
            None,
            "currency_invalid",
        ),
        Field("total_original", Kind.DECIMAL, "Value before discounts."),
        Field("rounding", Kind.DECIMAL, "Cash rounding."),
        Field("margin", Kind.DECIMAL, "Gross profit over the transaction."),
        Field("tender", Kind.STRING, "The tender in one word."),
        Field("payments", Kind.PAYMENTS, "Tender names, or objects of tender and amount."),
        Field("tags", Kind.STRINGS, "Tags."),
        Field("systems", Kind.STRINGS, "Systems that took part, such as `pos`."),
        Field("is_void", Kind.BOOLEAN, "Voided; written only where true."),
        Field("redemption_id", Kind.INTEGER, "The redemption applied to the sale."),
        Field("order_id", Kind.STRING, "The Omneo order that this sale completes."),
        Field("external_order_id", Kind.STRING, "The order's id in the source."),
        Field("order_number", Kind.STRING, "The order's printed number."),
        Field("linked_receipt_ref", Kind.STRING, "The receipt of the sale that a return refers to."),
        Field(
            "receipt_is_email",
            Kind.BOOLEAN,
            "Whether the receipt went out by email; written only where true.",
        ),
        Field("receipt_email", Kind.STRING, "Where the receipt was sent."),
        Field("deliver_at", Kind.DATETIME, "Delivery date and time."),
        Field("meta", Kind.OBJECT, "Anything else, as names and values."),
        Field("custom_fields", Kind.OBJECTS, "Objects of namespace, handle, type and value."),
        Field("currency_value", Kind.OBJECT, "Conversion: from, to, rate."),
    )
}

ITEM_FIELDS: Final[dict[str, Field]] = {
    field.name: field
    for field in (
        Field("name", Kind.STRING, "What was sold.", "name_missing"),
        Field(
            "quantity",
            Kind.INTEGER,
            "How many; negative on a return.",
            "quantity_invalid",
            "quantity_invalid",
        ),
        Field(
            "price_current",
            Kind.DECIMAL,
            "List price now for one, with tax.",
            "price_invalid",
            "price_invalid",
        ),
        Field(
            "price_sell",
            Kind.DECIMAL,
            "Paid for one after all discounts, with tax.",
            "price_invalid",
            "price_invalid",
        ),
        Field("external_id", Kind.STRING, "The line's own id; without it a repeat adds a second copy."),
        Field("price_original", Kind.DECIMAL, "Recommended retail price for one.", None, "price_invalid"),
        Field("price_margin", Kind.DECIMAL, "Gross profit on one.", None, "price_invalid"),
        Field("price_tax", Kind.DECIMAL, "Tax.", None, "price_invalid"),
        Field("discounts", Kind.OBJECTS, "Objects of amount and reason_desc."),
        Field("sku", Kind.STRING, "Stock keeping unit."),
        Field("product_variant_id", Kind.STRING, "Omneo's id of the variant."),
        Field("product_variant_sku", Kind.STRING, "The variant's SKU."),
        Field("variant_external_id", Kind.STRING, "The variant's id in the source."),
        Field(
            "product_variant",
            Kind.OBJECT,
            "product_id, sku, title, brand, category, subcategory, price, barcode.",
        ),
        Field("department", Kind.STRING, "Department."),
        Field("is_void", Kind.BOOLEAN, "Line voided; written only where true."),
        Field("meta", Kind.OBJECT, "Anything else, as names and values."),
    )
}


class Outcome(StrEnum):
    """What becomes of a transaction because of a code."""

    DROPPED = "dropped"
    REJECTED = "rejected"
    WARNING = "warning"


@dataclass(frozen=True)
class Code:
    """A stable name for one thing found in the data.

    Attributes:
        name: As in reports and `quarantine.csv`.
        outcome: What it does unless the mapping says otherwise.
        title: Its name for people who do not code.
        fix: What to do about it, one sentence.
    """

    name: str
    outcome: Outcome
    title: str
    fix: str


_D, _R, _W = Outcome.DROPPED, Outcome.REJECTED, Outcome.WARNING
CODES: Final[dict[str, Code]] = {
    code.name: code
    for code in (
        Code("draft", _D, "Draft sale", "Nothing to do: drafts and parked sales are not sales yet."),
        Code("partially_paid", _D, "Not fully paid", "Nothing to do: import it once it is paid in full."),
        Code("cancelled", _D, "Cancelled sale", "Nothing to do: it did not happen."),
        Code("order_open", _D, "Open order", "Nothing to do: import it once it is completed."),
        Code(
            "excluded",
            _D,
            "Left out by the mapping",
            "Nothing to do, unless the mapping leaves out too much.",
        ),
        Code(
            "malformed_row",
            _R,
            "Row with too many or too few cells",
            "Look for an unquoted delimiter or a broken line at that place and export the row again.",
        ),
        Code(
            "key_missing",
            _R,
            "Row without a transaction number",
            "Fill the key column in the source, or choose another `key` in the mapping.",
        ),
        Code(
            "row_lost",
            _R,
            "Sale of which a row could not be read",
            "Fix that row in the source: without it the sale would be sent short of an item or a payment.",
        ),
        Code(
            "in_several_files",
            _R,
            "Sale that differs from file to file",
            "Remove the file that is out of date; or set `across_files` in the mapping: `latest` where files "
            "correct each other, `add` where they continue each other.",
        ),
        Code(
            "header_conflict",
            _R,
            "Rows of one sale disagree",
            "Mend the source, or add the column that tells the sales apart to `key`.",
        ),
        Code("orphan_item", _R, "Item without its sale", "Export the sales for the same dates as the items."),
        Code(
            "items_missing",
            _R,
            "Sale without items",
            "Export the items for the same dates as the sales, or leave `items` out of the mapping.",
        ),
        Code("external_id_missing", _R, "No id", "Fill the columns that make the id."),
        Code(
            "external_id_conflict",
            _R,
            "Two sales with one id",
            "Add what tells them apart, such as store or register, to `external_id`.",
        ),
        Code(
            "item_external_id_conflict",
            _R,
            "Two items of a sale with one id",
            "Add what tells the lines apart, such as a line number, to the item's `external_id`.",
        ),
        Code(
            "id_rounded",
            _R,
            "Id that a spreadsheet shortened",
            "Export it again as text: digits of 1.23E+12 are lost, and other ids become the same.",
        ),
        Code("total_missing", _R, "No total", "Fill the total in the source, or compute it in the mapping."),
        Code(
            "total_invalid",
            _R,
            "Total is not an amount",
            "Mend the cell, or tell the mapping how amounts are written.",
        ),
        Code(
            "total_mismatch",
            _R,
            "Total differs from the items",
            "Look for missing lines, shipping or discounts; set `tolerance` for rounding.",
        ),
        Code(
            "payments_mismatch",
            _R,
            "Payments differ from the total",
            "Look for missing or repeated payments.",
        ),
        Code("transacted_at_missing", _R, "No date", "Fill the date in the source."),
        Code(
            "transacted_at_invalid",
            _R,
            "Not a date",
            "Mend the cell, or give the mapping the right date format.",
        ),
        Code(
            "transacted_at_future",
            _R,
            "Date in the future",
            "Check the till's clock, and day and month for having changed places.",
        ),
        Code(
            "transacted_at_nonexistent",
            _R,
            "Time that the clock skipped",
            "Check the mapping's time zone; or set `nonexistent: shift`.",
        ),
        Code(
            "timezone_unknown",
            _R,
            "Unknown time zone",
            "Use an IANA name such as Australia/Melbourne, or map the source's names.",
        ),
        Code(
            "profile_invalid",
            _R,
            "Customer's id is malformed",
            "Mend the cell; or turn the code into a warning to import it as a guest sale.",
        ),
        Code(
            "currency_invalid",
            _R,
            "Not a currency",
            "Use three-letter ISO 4217 codes, or map the source's names.",
        ),
        Code(
            "quantity_invalid",
            _R,
            "Quantity is not a whole number",
            "Mend the cell; weighed goods need a rule in the mapping.",
        ),
        Code(
            "price_invalid",
            _R,
            "Price is not an amount",
            "Mend the cell, or tell the mapping how amounts are written.",
        ),
        Code(
            "name_missing",
            _R,
            "Item without a name",
            "Fill the name, or fall back to the SKU in the mapping.",
        ),
        Code(
            "lookup_missing",
            _R,
            "Not in the look-up table",
            "Add the key to the table, or give the look-up a default.",
        ),
        Code("field_invalid", _R, "Value of the wrong kind", "Mend the cell, or convert it in the mapping."),
        Code("duplicate_row", _W, "Row that is there twice", "Nothing to do: it was counted once."),
        Code(
            "older_version",
            _W,
            "Sale that is in several files",
            "Nothing to do: its rows in the file that was written last count.",
        ),
        Code(
            "transacted_at_ambiguous",
            _W,
            "Time that happened twice",
            "Taken as the first of the two; add an offset to the export to be exact.",
        ),
        Code(
            "transacted_at_implausible",
            _W,
            "Date before 1980",
            "Look whether the date was read in the right format, or stands for a blank.",
        ),
        Code(
            "rows_far_apart",
            _W,
            "Rows of one sale far apart",
            "Numbers that restart each day merge sales: add the date to `key`, by a definition.",
        ),
        Code(
            "formats_disagree",
            _W,
            "Date formats that contradict each other",
            "Look whether day and month changed places in some of them; export dates in one format.",
        ),
        Code(
            "invisible_characters",
            _W,
            "Characters that cannot be seen",
            "They were taken off the ends of ids; look at those that are within one.",
        ),
        Code(
            "item_external_id_repeated",
            _W,
            "Item id that several sales have",
            "Make the item's `external_id` unique, with the sale's id in it: Omneo may move such an item.",
        ),
        Code(
            "amount_finer_than_currency",
            _W,
            "Amount finer than its currency",
            "Look whether the currency is right, and whether the total was computed and not rounded.",
        ),
        Code(
            "paid_missing",
            _W,
            "Amount paid is blank",
            "Fill what was paid, or say in `completion` which sales are complete.",
        ),
        Code("guest", _W, "Sale without a customer", "Nothing to do: the customer may claim it later."),
        Code(
            "total_rounded",
            _W,
            "Amount with too many decimals",
            "It was rounded to four places; check the source if that matters.",
        ),
        Code(
            "encoding_replaced",
            _W,
            "Characters that could not be read",
            "Set the right `encoding` in the mapping.",
        ),
        Code(
            "unmapped_column",
            _W,
            "Column that the mapping does not use",
            "Map it, or list it under `ignore`.",
        ),
    )
}


@dataclass(frozen=True)
class Dialect:
    """How a CSV file is written.

    Attributes:
        delimiter: One character; None finds it in the header line among `,` `;` tab and `|`.
        quote: The quoting character; None where nothing is quoted.
        escape: A character before a quote that is text; None where quotes are doubled.
        comment: Lines that start with it are skipped; None where there are none.
        skip_lines: Physical lines before the header.
        header: True where the first row names the columns; False where no row does (they become
            `column_1`, `column_2`...); or the names, in order, of a file without such a row.
        encoding: A Python codec's name. A byte order mark wins over it.
        on_encoding_error: `error` names the place; `replace` puts U+FFFD there and warns.
    """

    delimiter: str | None = None
    quote: str | None = '"'
    escape: str | None = None
    comment: str | None = None
    skip_lines: int = 0
    header: bool | tuple[str, ...] = True
    encoding: str = "utf-8"
    on_encoding_error: Literal["error", "replace"] = "error"


class StagedTransaction(NamedTuple):
    """One transaction as it was reviewed: the exact bytes that will be sent.

    Attributes:
        external_id: Key of the upsert.
        body: The JSON request body, UTF-8; empty where its customer was forgotten.
        source_time: When the file that it came from was written, microseconds since 1970; None where unknown.
        remains: Of one whose customer was forgotten: a JSON body of id, total and time only, which is enough
            to void it. Empty for all others.
        total: The transaction's total, a decimal number; None where unknown.
    """

    external_id: str
    body: bytes
    source_time: int | None = None
    remains: bytes = b""
    total: str | None = None
