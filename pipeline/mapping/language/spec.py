"""A whole mapping as frozen objects: nothing after this sees a dict from YAML."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, WithJsonSchema
from pydantic_core import PydanticCustomError

from pipeline.core.codes import CODES
from pipeline.core.errors import did_you_mean
from pipeline.core.model import ITEM_FIELDS, TRANSACTION_FIELDS
from pipeline.mapping.language.forms import STEP_TAG, Frozen, Sql, Text, either, keyed_types, only_key_tag
from pipeline.mapping.language.source_spec import Conditions, LookupTable, Source
from pipeline.mapping.language.value_spec import (
    BooleanStep,
    DateTimeStep,
    NumberStep,
    Value,
)


class Condition(Frozen):
    """When a sale is in a state: by status words, by a condition in SQL, or by either of them."""

    status: tuple[Text, ...] = ()
    sql: Sql | None = None


Words: TypeAlias = Annotated[
    Annotated[tuple[Text, ...], Tag("|list")] | Annotated[Condition, Tag("|object")],
    either("|object", "|list"),
]


class Completion(Frozen):
    """Which sales are complete, and what happens to the others.

    Attributes:
        status: The status in the source; compared without outer blanks and letter case.
        complete, void: These sales are imported; `void` ones with `is_void: true`.
        draft, partially_paid, cancelled, order_open, excluded: These sales are dropped under that code.
        other: What any other status means: `reject` (`field_invalid`) or one of the above.
        paid: The amount paid. Less than a positive total drops the sale as `partially_paid`.
        after_delivery: What happens to a `cancelled` sale that was delivered before. `report` names it, as
            it does a sale that is no longer complete in another way; `void` also voids it in Omneo.
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
    after_delivery: Literal["report", "void"] = "report"


STATES: Final = ("complete", "void", "draft", "partially_paid", "cancelled", "order_open", "excluded")
"""The keys of `completion` that hold status words or conditions."""


class ProfileLink(Frozen):
    """One way to identify the customer; the first that is not blank is used.

    Attributes:
        value: The email, card number or id.
        handle: `email` or the handle of an identity; left out where the value is the UUID of an Omneo
            profile.
    """

    value: Value
    handle: str | None = None


class Payment(Frozen):
    """One tender. It was not used where `amount` is blank, or is 0 and no cell names the tender."""

    tender: Value
    amount: Value | None = None


class Lines(Frozen):
    """Lines that are not items.

    Attributes:
        skip: A condition in SQL, or a list of them, for lines to leave out (gift cards, deposits, free text).
            They are no items; a `sum` counts them unless it says `lines: kept`.
        discount: A condition in SQL for discount lines. Each is allocated to the `discounts` of the
            transaction's items, in proportion.
        discount_amount: The amount of the whole discount line; its sign does not matter.
        discount_reason: The reason of the discount.
        discount_prices: `before`: `price_sell` in the source is before these discounts, so each item's share
            is subtracted. `after`: it is subtracted already, and only listed.
    """

    skip: Conditions = ()
    discount: Sql | None = None
    discount_amount: Value | None = None
    discount_reason: Value | None = None
    discount_prices: Literal["before", "after"] = "before"


class Reward(Frozen):
    """A redeemed amount, allocated to the items in proportion to price × quantity, to the cent (yen, fils).

    Attributes:
        amount: The amount redeemed in the transaction.
        reason: The `reason_desc` under which each item's share is listed.
        prices: `before`: `price_sell` in the source is before the reward, so the share is subtracted.
            `after`: it is subtracted already, and only listed.
    """

    amount: Value
    reason: str = "Reward"
    prices: Literal["before", "after"] = "before"


class Charge(Frozen):
    """An amount of the whole sale that is on none of its lines; it becomes an item, unless it is blank or 0.

    Attributes:
        name: The name of the item.
        amount: What was paid for it, a column or another value of the transaction. No discount or reward is
            spread over it.
    """

    name: str = Field(min_length=1)
    amount: Value

    @property
    def id_end(self) -> str:
        """What the item's id ends with: the letters and digits of the name, in any script."""
        return re.sub(r"\W+", "-", self.name.lower()).strip("-")


class Refund(Frozen):
    """Returns that the source writes with positive amounts or quantities; they become negative.

    Attributes:
        when: A condition in SQL over the transaction's columns.
        negate: What becomes negative: `total` (all amounts of the header), `quantity` (of the items).
    """

    when: Sql
    negate: tuple[Literal["total", "quantity"], ...] = ("total", "quantity")


Severity: TypeAlias = Literal["reject", "warn", "off"]


class Check(Frozen):
    """How a code is treated: its severity, by default the usual one, and a tolerance for amounts."""

    severity: Severity | None = None
    tolerance: Decimal | None = Field(None, ge=0, lt=10**11)


Treatment: TypeAlias = Annotated[
    Annotated[Severity, Tag("|plain")] | Annotated[Check, Tag("|object")],
    either("|object", "|plain"),
]


class Rule(Frozen):
    """A check that the mapping adds: a transaction for which `when` is true gets the code.

    Attributes:
        code: Lower case with underscores; not one of the built-in codes.
        when: A condition in SQL over the transaction's mapped fields.
        message: The sentence in reports.
        severity: `reject` or `warn`.
    """

    code: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    when: Sql = Field(min_length=1)
    message: str = Field(min_length=1)
    severity: Literal["reject", "warn"] = "reject"


def _cell_text(raw: object) -> object:
    """The text of a cell as a reader gives it: objects and lists as JSON, and nothing for a blank one."""
    if isinstance(raw, Mapping | list):
        return json.dumps(raw, default=str, ensure_ascii=False)
    if isinstance(raw, bool):
        return str(raw).lower()
    return None if raw == "" else raw


Cell: TypeAlias = Annotated[str | None, BeforeValidator(_cell_text), WithJsonSchema({})]
"""A cell of the source. In YAML it needs no quotes even where it looks like a number or a boolean."""

TestRows: TypeAlias = Annotated[
    Annotated[tuple[dict[str, Cell], ...], Tag("|list")]
    | Annotated[dict[str, tuple[dict[str, Cell], ...]], Tag("|object")],
    either("|object", "|list"),
]


class Expectation(Frozen):
    """What must become of the rows of a test; exactly one of these.

    Attributes:
        payload: Keys of the payload and their values. Only the keys that are given are compared, also inside
            of objects; a list must be complete. The value `null` means that the payload has no such key.
        rejected: The sale is rejected with this code, and may have others.
        dropped: The sale is dropped with this code.
    """

    payload: dict[str, Any] | None = None
    rejected: str | None = None
    dropped: str | None = None


class MappingTest(Frozen):
    """A test: the rows of one sale, and what must become of them.

    Attributes:
        name: What it shows.
        given: Cells that all of its rows have, so that each row lists only its own.
        rows: The rows: column names and cells. Columns that are left out are blank. For layout `tables`, or
            with look-up tables `from: source`, lists of rows by table.
        expect: What must become of them.
    """

    name: str = Field(min_length=1)
    given: dict[str, Cell] = Field({})
    rows: TestRows
    expect: Expectation


class SplitColumn(Frozen):
    """A column that holds several values: each gets a name of its own, to be used like a column.

    Attributes:
        by: What stands between the values.
        into: The names, in order. Where there are more values than names, the last name has the rest.
    """

    by: str = Field(min_length=1)
    into: tuple[str, ...] = Field(min_length=2)


class SplitKind(Frozen):
    """`split: {by, into}`."""

    split: SplitColumn


def _kind_tag(raw: object) -> str | None:
    return only_key_tag(raw, COLUMN_KINDS, STEP_TAG, "kind")


ColumnKind: TypeAlias = Annotated[
    Annotated[Literal["integer", "decimal", "boolean"], Tag(">kind")]
    | Annotated[NumberStep, Tag(">number")]
    | Annotated[DateTimeStep, Tag(">datetime")]
    | Annotated[BooleanStep, Tag(">boolean")]
    | Annotated[SplitKind, Tag(">split")],
    Discriminator(_kind_tag),
]
COLUMN_KINDS = keyed_types(ColumnKind)
"""What a column may hold, where that needs options, by key."""


_SYNONYMS: Final = {
    "price_sell": ("price", "unit_price", "amount", "paid"),
    "quantity": ("qty", "count", "pieces", "units"),
    "name": ("title", "product", "item", "description"),
    "transacted_at": ("date", "time", "sold_at", "created_at", "timestamp"),
    "location_id": ("store", "shop", "location", "outlet", "store_id"),
    "staff_id": ("clerk", "cashier", "staff", "user"),
    "receipt_ref": ("receipt", "receipt_no", "invoice"),
    "external_id": ("id", "order_no"),
}
"""What the fields are called elsewhere."""


def _one_of(known: Iterable[str], what: str) -> Callable[[str], str]:
    names = tuple(known)

    def check(name: str) -> str:
        if name not in names:
            meant = next((field for field in names if name.lower() in _SYNONYMS.get(field, ())), None)
            near = f"; did you mean '{meant}'?" if meant else did_you_mean(name, names)
            raise PydanticCustomError(
                "unknown_name", "{problem}", {"problem": f"'{name}' is not {what}{near}"}
            )
        return name

    return check


SET_ELSEWHERE = {"payments": "payments", "profile_id": "profile", "profile_id_handle": "profile"}
"""Transaction fields that have their own section in the mapping."""

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
        lookups: Look-up tables, each under a name of your choice.
        columns: Columns that hold numbers, dates or booleans, wherever they are used, also in `sql`; and
            columns that hold several values.
        define: Named values that can be used like columns; each may use those above it.
        transaction: Omneo's transaction fields, each a value.
        completion: Which sales are complete; without this section every sale is.
        profile: How to identify the customer, tried in order; without a match a sale is a guest sale.
        payments: The tenders.
        payments_form: `names` gives `["CASH"]`, `amounts` gives `[{"CASH": 10.00}]`.
        lines: Lines that are not items.
        items: Omneo's item fields, each a value over a line; left out to import sales without items.
        charges: Amounts of the whole sale that are on no line, such as shipping; they become items.
        reward: A redeemed amount that is allocated to the items.
        refund: Returns that are written with positive amounts.
        checks: Codes that are treated differently than usual: `reject`, `warn`, `off`, or with a tolerance.
        rules: Checks that the mapping adds.
        tests: Rows of single sales, and what must become of them; `check` tries them.
    """

    mapping: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    about: str = ""
    source: Source
    lookups: dict[str, LookupTable] = Field({})
    columns: dict[str, ColumnKind] = Field({})
    define: dict[str, Value] = Field({})
    transaction: dict[TransactionField, Value]
    completion: Completion | None = None
    profile: tuple[ProfileLink, ...] = ()
    payments: tuple[Payment, ...] = ()
    payments_form: Literal["names", "amounts"] = "names"
    lines: Lines = Lines.model_construct()
    items: dict[ItemField, Value] = Field({})
    charges: tuple[Charge, ...] = ()
    reward: Reward | None = None
    refund: Refund | None = None
    checks: dict[CodeName, Treatment] = Field({})
    rules: tuple[Rule, ...] = ()
    tests: tuple[MappingTest, ...] = ()

    # By identity: it holds dictionaries, and what is found in a mapping is kept for every partition.
    __hash__ = object.__hash__
