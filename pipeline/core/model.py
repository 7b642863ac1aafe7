"""What every stage shares: Omneo's fields, the names of added columns, a CSV dialect, a staged transaction.

Facts about the API are from Omneo's public reference of `POST /transactions/queue` and its concept page
"Transactions"; what those pages leave open is a setting elsewhere, never a constant here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from enum import IntEnum, StrEnum
from typing import Final, Literal, NamedTuple

# Columns that the pipeline adds to those of the source. A source column cannot have such a name: readers
# rename it.
SOURCE: Final = "__source"  # UInt32: position of the file in the manifest's list of sources
LINE: Final = "__line"  # Int64: 1-based physical line on which the row starts (Parquet, JSON: row number)
LOST: Final = "__lost"  # UInt8: the row stands for a malformed one, see `Lost`; null for all others
KEY: Final = "__key"  # UInt64: hash of the transaction key's cells; null where a key cell is blank
TX: Final = "__tx"  # UInt32: the transaction's number within its partition, 0..n-1

LINES: Final = "lines"
"""The table of a mapping that reads a single table."""


class Lost(IntEnum):
    """The kinds of rows with LOST: they connect a malformed row with the sale that it belongs to."""

    KEYED = 1  # a malformed row whose key cells could be read
    UNKEYED = 2  # one whose key cells could not be read
    BELOW = 3  # a copy of one at the sale above it, which it may belong to


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


class Names(StrEnum):
    """What the value of a field is the name or the number of."""

    THING = "a sale, an order, a place or a product"
    CUSTOMER = "a customer"
    STAFF = "a person who works there"


PERSONS: Final = (Names.CUSTOMER, Names.STAFF)


@dataclass(frozen=True)
class Field:
    """A field of an Omneo transaction or item.

    Attributes:
        name: As in the API.
        kind: What it holds.
        note: One sentence for people, used in the docs and in editors.
        missing: The code when it is required and has no value; None where it is optional.
        invalid: The code when the source had a value that is not of this kind.
        names: What the value names. A person's name is always masked, a thing's number never; other values
            are masked where they look personal.
        either_sign: Whether ordinary sales have positive and negative amounts, which a refund turns round
            instead of making them negative.
    """

    name: str
    kind: Kind
    note: str
    missing: str | None = None
    invalid: str = "field_invalid"
    names: Names | None = None
    either_sign: bool = False


TRANSACTION_FIELDS: Final[dict[str, Field]] = {
    field.name: field
    for field in (
        Field(
            "external_id",
            Kind.STRING,
            "The source's own id; the key of Omneo's upsert.",
            "external_id_missing",
            names=Names.THING,
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
            names=Names.THING,
        ),
        Field(
            "profile_id",
            Kind.STRING,
            "The customer; the handle says which kind of id it is.",
            None,
            "profile_invalid",
            names=Names.CUSTOMER,
        ),
        Field(
            "profile_id_handle",
            Kind.STRING,
            "`email`, or the handle of an identity; left out for an Omneo UUID.",
        ),
        Field(
            "location_id", Kind.STRING, "The store; Omneo creates one it does not know.", names=Names.THING
        ),
        Field("staff_id", Kind.STRING, "The person who served.", names=Names.STAFF),
        Field(
            "currency",
            Kind.STRING,
            "Three letters (ISO 4217), configured in the tenant.",
            None,
            "currency_invalid",
        ),
        Field("total_original", Kind.DECIMAL, "Value before discounts."),
        Field("rounding", Kind.DECIMAL, "Cash rounding.", either_sign=True),
        Field("margin", Kind.DECIMAL, "Gross profit over the transaction.", either_sign=True),
        Field("tender", Kind.STRING, "The tender in one word."),
        Field("payments", Kind.PAYMENTS, "Tender names, or objects of tender and amount."),
        Field("tags", Kind.STRINGS, "Tags."),
        Field("systems", Kind.STRINGS, "Systems that took part, such as `pos`."),
        Field("is_void", Kind.BOOLEAN, "Voided; written only where true."),
        Field("redemption_id", Kind.INTEGER, "The redemption applied to the sale.", names=Names.THING),
        Field("order_id", Kind.STRING, "The Omneo order that this sale completes.", names=Names.THING),
        Field("external_order_id", Kind.STRING, "The order's id in the source.", names=Names.THING),
        Field("order_number", Kind.STRING, "The order's printed number.", names=Names.THING),
        Field(
            "linked_receipt_ref",
            Kind.STRING,
            "The receipt of the sale that a return refers to.",
            names=Names.THING,
        ),
        Field(
            "receipt_is_email",
            Kind.BOOLEAN,
            "Whether the receipt went out by email; written only where true.",
        ),
        Field("receipt_email", Kind.STRING, "Where the receipt was sent.", names=Names.CUSTOMER),
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
        Field(
            "external_id",
            Kind.STRING,
            "The line's own id; without it a repeat adds a second copy.",
            names=Names.THING,
        ),
        Field("price_original", Kind.DECIMAL, "Recommended retail price for one.", None, "price_invalid"),
        Field("price_margin", Kind.DECIMAL, "Gross profit on one.", None, "price_invalid"),
        Field("price_tax", Kind.DECIMAL, "Tax.", None, "price_invalid"),
        Field("discounts", Kind.OBJECTS, "Objects of amount and reason_desc."),
        Field("sku", Kind.STRING, "Stock keeping unit.", names=Names.THING),
        Field("product_variant_id", Kind.STRING, "Omneo's id of the variant.", names=Names.THING),
        Field("product_variant_sku", Kind.STRING, "The variant's SKU.", names=Names.THING),
        Field("variant_external_id", Kind.STRING, "The variant's id in the source.", names=Names.THING),
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


WHITE_SPACE: Final = "whitespace"
"""The delimiter of a file whose cells have any number of blanks and tabs between them."""


@dataclass(frozen=True)
class Dialect:
    """How a CSV file is written.

    Attributes:
        delimiter: One or more characters, or `whitespace` for any number of blanks and tabs; None finds it in
            the header line among `,` `;` tab and `|`.
        positions: For a file without delimiters: the names of its columns and their places in the line, as
            `1-8`, `9` or `25-` (to the end), counted in characters from 1.
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
    positions: Mapping[str, str] | None = None
    quote: str | None = '"'
    escape: str | None = None
    comment: str | None = None
    skip_lines: int = 0
    header: bool | tuple[str, ...] = True
    encoding: str = "utf-8"
    on_encoding_error: Literal["error", "replace"] = "error"


@dataclass(frozen=True)
class Worksheet:
    """What is read of an Excel workbook.

    Attributes:
        sheet: The name of the sheet; None for the first one that is visible and has cells.
        header_row: The number of the row with the column names, as Excel shows it; None for the first row
            with cells.
        errors: What a formula error such as `#N/A` does: `reject` makes its row malformed; `blank` reads an
            empty cell.
    """

    sheet: str | None = None
    header_row: int | None = None
    errors: Literal["reject", "blank"] = "reject"


def column_place(text: str) -> tuple[int, int | None] | None:
    """The first and the last character of a column in a line, as `1-8`, `9` or `25-`; None for others."""
    match = re.fullmatch(r"([1-9]\d{0,5})(?:-([1-9]\d{0,5})?)?", text.replace(" ", ""))
    if not match:
        return None
    first = int(match[1])
    last = int(match[2]) if match[2] else None if "-" in text else first
    return None if last is not None and last < first else (first, last)


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


@dataclass
class RequestCounts:
    """Requests that were made, by what became of them.

    Attributes:
        sent: All requests, queries and repeats included.
        retried: Those that repeat an earlier one.
        throttled: Those answered 429.
        errors: Those that failed for a while: answered 5xx, 408, 423 or 425, or not at all.
    """

    sent: int = 0
    retried: int = 0
    throttled: int = 0
    errors: int = 0

    def __add__(self, other: RequestCounts) -> RequestCounts:
        return RequestCounts(*(own + more for own, more in zip(astuple(self), astuple(other), strict=True)))
