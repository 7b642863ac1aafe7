"""The codes: stable names for everything that is found in the data."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Final


class Outcome(StrEnum):
    """What a code does to its transaction."""

    DROPPED = "dropped"
    REJECTED = "rejected"
    WARNING = "warning"


class Fixer(StrEnum):
    """Who can do something about what was found."""

    YOU = "you"
    """Who runs the import, and keeps its mapping."""
    TILL = "till supplier"
    """Who makes the export."""
    OMNEO = "Omneo"


@dataclass(frozen=True)
class Code:
    """A stable name for one thing found in the data.

    Attributes:
        name: As in reports and `quarantine.csv`.
        outcome: What it does unless the mapping says otherwise.
        title: Its name for people who do not code.
        fix: What to do about it, one sentence.
        always: It rejects whatever the mapping says: such a transaction cannot be sent, or not twice
            without harm.
        tolerance: How far apart the two amounts that it compares may be; None where it compares none.
        fixer: Who can do the first thing that `fix` says.
        instead_of_reject: For a code about the whole run, which cannot reject a transaction: what to set.
        needs: What the mapping must give for this check, in words; empty where it is always made.
        fixed_by_time: A sale that it rejects is good later, without any change to its file.
    """

    name: str
    outcome: Outcome
    title: str
    fix: str
    always: bool = False
    tolerance: Decimal | None = None
    fixer: Fixer = Fixer.YOU
    instead_of_reject: str = ""
    needs: str = ""
    fixed_by_time: bool = False


ABOUT_IMPORT: Final = ("guest", "profile_placeholder", "transacted_at_ambiguous")
"""Warnings about how a transaction is imported: they mean nothing where it is not."""
_D, _R, _W = Outcome.DROPPED, Outcome.REJECTED, Outcome.WARNING
_TILL: Final = Fixer.TILL
CODES: Final[dict[str, Code]] = {
    code.name: code
    for code in (
        Code(
            "draft",
            _D,
            "Draft sale",
            "Nothing to do: drafts and parked sales are not sales yet.",
            needs="which sales are drafts",
        ),
        Code(
            "partially_paid",
            _D,
            "Not fully paid",
            "Nothing to do: import it once it is paid in full.",
            tolerance=Decimal("0.05"),  # cash is rounded to coins of 5 cents in many countries
            needs="what was paid",
        ),
        Code(
            "cancelled",
            _D,
            "Cancelled sale",
            "Nothing to do: it did not happen.",
            needs="which sales are cancelled",
        ),
        Code(
            "order_open",
            _D,
            "Open order",
            "Nothing to do: import it once it is completed.",
            needs="which sales are open orders",
        ),
        Code(
            "excluded",
            _D,
            "Left out by the mapping",
            "Nothing to do, unless the mapping leaves out too much.",
        ),
        Code(
            "malformed_row",
            _R,
            "Row that cannot be read",
            "Look at that place for a delimiter without quotes, a broken line or a formula error, and export "
            "the row again.",
            always=True,
            fixer=_TILL,
        ),
        Code(
            "key_missing",
            _R,
            "Row without a transaction number",
            "Fill the key column in the source, or choose another `key` in the mapping. Where only the first "
            "row of a sale has it, write `layout: first_row` and `carry_key: true`. Leave out rows that are "
            'no sales, such as a total at the end: `source: {rows: {skip: "Receipt IS NULL"}}`.',
            always=True,
            fixer=_TILL,
        ),
        Code(
            "row_lost",
            _R,
            "Sale of which a row could not be read",
            "Fix that row in the source: without it the sale would be sent short of an item or a payment.",
            fixer=_TILL,
        ),
        Code(
            "in_several_files",
            _R,
            "Sale that differs from file to file",
            "Remove the file that is out of date; or set `across_files` in the mapping: `latest` where files "
            "correct each other, `add` where they continue each other.",
            always=True,
        ),
        Code(
            "header_conflict",
            _R,
            "Rows of one sale disagree",
            "Fix the source, or add the column that distinguishes the sales to `key`.",
            fixer=_TILL,
        ),
        Code(
            "orphan_item",
            _R,
            "Item without its sale",
            "Export the sales for the same dates as the items.",
            fixer=_TILL,
            needs="items",
        ),
        Code(
            "items_missing",
            _R,
            "Sale without items",
            "Export the items for the same dates as the sales, or leave `items` out of the mapping.",
            fixer=_TILL,
            needs="items",
        ),
        Code(
            "external_id_missing",
            _R,
            "Sale without an id",
            "Fill the columns that make the id. Leave out rows that are no sales, such as a total at the "
            "end: "
            "`source: {rows: {skip: \"Receipt = 'Total'\"}}`.",
            always=True,
            fixer=_TILL,
        ),
        Code(
            "external_id_conflict",
            _R,
            "Two sales with one id",
            "Add what tells them apart, such as store or register, to `external_id`.",
            always=True,
        ),
        Code(
            "item_external_id_conflict",
            _R,
            "Two items of a sale with one id",
            "Add what tells the lines apart, such as a line number, to the item's `external_id`.",
            always=True,
            needs="items",
        ),
        Code(
            "id_rounded",
            _R,
            "Id that a spreadsheet or a column of floats shortened",
            "Export it again as text: digits of 1.23E+12, or of a long number that ends in .0, are lost,"
            " and other ids become the same.",
            always=True,
            fixer=_TILL,
        ),
        Code(
            "total_missing",
            _R,
            "Sale without a total",
            "Fill the total in the source, or compute it in the mapping.",
            always=True,
            fixer=_TILL,
        ),
        Code(
            "total_invalid",
            _R,
            "Total is not an amount",
            "Fix the cell, or tell the mapping how amounts are written.",
            always=True,
            fixer=_TILL,
        ),
        Code(
            "total_mismatch",
            _R,
            "Total differs from the items",
            "Look for missing lines, shipping or discounts; set `tolerance` for rounding.",
            tolerance=Decimal("0.01"),  # one rounding; where the currency is known, its smallest amount
            fixer=_TILL,
            needs="items",
        ),
        Code(
            "payments_mismatch",
            _R,
            "Payments differ from the total",
            "Look for missing or repeated payments.",
            tolerance=Decimal("0.05"),  # cash rounding, as above
            fixer=_TILL,
            needs="amounts of payments",
        ),
        Code(
            "transacted_at_missing",
            _R,
            "Sale without a date",
            "Fill the date in the source.",
            always=True,
            fixer=_TILL,
        ),
        Code(
            "transacted_at_invalid",
            _R,
            "Not a date",
            "Fix the cell, or give the mapping the right date format.",
            always=True,
            fixer=_TILL,
        ),
        Code(
            "transacted_at_future",
            _R,
            "Date in the future",
            "Check the till's clock, and day and month for having changed places. Until its time has come, "
            "the next `run` of its directory reads the file again; a date years ahead is wrong: fix it.",
            fixer=_TILL,
            fixed_by_time=True,
        ),
        Code(
            "transacted_at_nonexistent",
            _R,
            "Time that the clock skipped",
            "Check the mapping's time zone; or set `nonexistent: shift`.",
            always=True,
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
            "Customer's id is not valid",
            "Fix the cell; or turn the code into a warning to import it as a guest sale.",
            fixer=_TILL,
            needs="customers",
        ),
        Code(
            "currency_invalid",
            _R,
            "Not a currency",
            "Use three-letter ISO 4217 codes, or map the source's names.",
            needs="a currency",
        ),
        Code(
            "quantity_invalid",
            _R,
            "Quantity is not a whole number",
            "Fix the cell; weighed goods need a rule in the mapping.",
            fixer=_TILL,
            needs="items",
        ),
        Code(
            "price_invalid",
            _R,
            "Price is not an amount",
            "Fix the cell, or tell the mapping how amounts are written.",
            fixer=_TILL,
            needs="items",
        ),
        Code(
            "name_missing",
            _R,
            "Item without a name",
            "Fill the name, or fall back to the SKU in the mapping.",
            fixer=_TILL,
            needs="items",
        ),
        Code(
            "lookup_missing",
            _R,
            "Not in the look-up table",
            "Add the key to the table, or give the look-up a default.",
            needs="look-up tables",
        ),
        Code("field_invalid", _R, "Value of the wrong kind", "Fix the cell, or convert it in the mapping."),
        Code(
            "duplicate_row", _W, "Sale with a row that is there twice", "Nothing to do: it was counted once."
        ),
        Code(
            "older_version",
            _W,
            "Sale that is in several files",
            "Nothing to do: its rows in the file that was written last count.",
        ),
        Code(
            "cancelled_after_delivery",
            _W,
            "Delivered, and not complete since",
            "Void it in Omneo, unless a return follows. With `completion: {after_delivery: void}` in the "
            "mapping, `load` voids what was cancelled.",
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
            instead_of_reject="Give `formats` only the one that is right: then dates in others are rejected.",
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
            instead_of_reject="Put the sale's id into the item's `external_id`.",
            needs="items",
        ),
        Code(
            "amount_finer_than_currency",
            _W,
            "Amount finer than its currency",
            "Look whether the currency is right, and whether the total was computed and not rounded.",
            needs="a currency",
        ),
        Code(
            "paid_missing",
            _W,
            "Amount paid is blank",
            "Fill what was paid, or say in `completion` which sales are complete.",
            fixer=_TILL,
            needs="how much was paid",
        ),
        Code(
            "profile_placeholder",
            _W,
            "Customer that is only a word",
            "Nothing to do, these are guest sales. Where it is the id of a customer: "
            "`checks: {profile_placeholder: off}`.",
            needs="customers",
        ),
        Code(
            "currency_missing",
            _W,
            "Sale without a currency",
            "Omneo takes the tenant's own. Where that is another: "
            "`currency: {first_of: [Currency, {constant: AUD}]}`.",
            needs="a currency",
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
            instead_of_reject="Set `on_encoding_error: error` under `csv`: then such a file is not read.",
        ),
        Code(
            "unmapped_column",
            _W,
            "Column that the mapping does not use",
            "Map it, or list it under `ignore`.",
        ),
    )
}
