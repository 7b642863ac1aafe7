"""A tenant's transactions, their documented form, and the figures calculated from them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

from pipeline.simulator.checks import utc_text
from pipeline.simulator.database import Database, Json, Query, ResultPage, now
from pipeline.simulator.fault_injector import FaultInjector
from pipeline.simulator.reference_data import ReferenceData

# The keys of the documented transaction and event context, for those that the sender left out.
_TRANSACTION_DEFAULTS: Final[Json] = dict.fromkeys(
    (
        *("external_id", "redemption_id", "redemption", "profile_id", "staff_id", "currency", "currency_id"),
        *("currency_rate", "total_original", "rounding", "margin", "meta", "deliver_at", "claimed_at"),
        *("timezone", "tender", "payments", "receipt_is_email", "receipt_ref", "receipt_email", "order_id"),
        *("external_order_id", "order_number", "linked_receipt_ref", "location_id"),
    )
) | {"is_void": False, "tags": [], "systems": [], "items": []}
_ITEM_DEFAULTS: Final[Json] = dict.fromkeys(
    (
        *("external_id", "sku", "product_variant_id", "variant_external_id", "price_original"),
        *("price_margin", "price_tax", "discounts", "department", "meta"),
    )
) | {"is_void": False}
# Not copied from a body: made by Omneo, resolved to something else, or an instruction.
_NOT_COPIED: Final = frozenset(
    {"id", "location", "profile", "redemption", "staff", "created_at", "updated_at", "claimed_at"}
    | {"items", "location_id", "profile_id", "profile_id_handle", "delete_existing_items"}
)


FILTERS: Final[Mapping[str, str]] = {
    **{
        name: f'"{name}" {{is}}'
        for name in ("id", "external_id", "transacted_at", "location_id", "profile_id", "is_void", "total")
    },
    **{
        name: f"CAST(json_extract(document, '$.{name}') AS TEXT) {{is}}"
        for name in ("timezone", "receipt_ref", "type", "status", "order_number")
    },
    **{
        f"{name}.handle": f"EXISTS (SELECT 1 FROM json_each(document, '$.{name}') WHERE "  # noqa: S608
        "CASE type WHEN 'object' THEN json_extract(value, '$.handle') ELSE value END {is})"
        for name in ("tags", "systems")
    },
    "profile.identities.identifier": "profile_id IN "
    "(SELECT profile_id FROM identities WHERE identifier {is})",
}
"""The documented filters of the list, as SQL with `{is}` where operator and value go."""


class NoSuchTransaction(LookupError):
    """There is no transaction with that id, or with that `external_id`."""


class Written(NamedTuple):
    """What a write did: the transaction's id, and whether it was new."""

    id: int
    created: bool


class Transactions:
    """Keeps transactions, each as one JSON document with its items."""

    def __init__(self, db: Database, reference_data: ReferenceData) -> None:
        self._db = db
        self._reference_data = reference_data

    def upsert(self, body: Json) -> Written:
        """Update the transaction with the body's `external_id`, else with its `id`; else create one."""
        found = self._find(body)
        return self.create(body) if found is None else self.update(found, body)

    def create(self, body: Json) -> Written:
        """Add a transaction, whether or not there is one with its `external_id`."""
        cursor = self._db.execute(
            "INSERT INTO transactions (is_void, last_item, document) VALUES (0, 0, '{}')"
        )
        number = cursor.lastrowid or 0
        self._write(number, {"created_at": now()}, 0, body)
        return Written(number, created=True)

    def update(self, number: int, body: Json) -> Written:
        """Change the given fields of a transaction; items are matched by their `external_id`, then `id`.

        Raises:
            NoSuchTransaction: No transaction has that id.
        """
        row = self._db.execute(
            "SELECT document, last_item FROM transactions WHERE id = ?", (str(number),)
        ).fetchone()
        if row is None:
            raise NoSuchTransaction(number)
        self._write(number, json.loads(row[0]), row[1], body)
        return Written(number, created=False)

    def add_item(self, number: int, item: Json) -> Json:
        """Add an item, whatever its `external_id`; the transaction's total stays. Returns it as kept.

        Raises:
            NoSuchTransaction: No transaction has that id.
        """
        self.update(number, {"items": [item]})
        return dict(self.one(number)["items"][-1])

    def id_of(self, external_id: str) -> int | None:
        """The id of the oldest transaction with that `external_id`."""
        row = self._db.execute(
            "SELECT id FROM transactions WHERE external_id = ? ORDER BY id LIMIT 1", (external_id,)
        ).fetchone()
        return row and int(row[0])

    def one(self, number: int) -> Json:
        """The documented context of a transaction.

        Raises:
            NoSuchTransaction: No transaction has that id.
        """
        return self._context_where("id = ?", str(number))

    def external(self, external_id: str) -> Json:
        """The documented context of the oldest transaction with that `external_id`.

        Raises:
            NoSuchTransaction: No transaction has it.
        """
        return self._context_where("external_id = ?", external_id)

    def _context_where(self, condition: str, value: str) -> Json:
        row = self._db.execute(
            f"SELECT id, document FROM transactions WHERE {condition} ORDER BY id LIMIT 1",  # noqa: S608
            (value,),
        ).fetchone()
        if row is None:
            raise NoSuchTransaction(value)
        return self._context(row[0], json.loads(row[1]))

    def page(self, query: Query) -> ResultPage:
        """A page of transactions, oldest id first."""
        rows, total = self._db.select("transactions", "id, document", query, "id")
        return ResultPage([self._context(number, json.loads(document)) for number, document in rows], total)

    def _find(self, body: Json) -> int | None:
        external_id, number = body.get("external_id"), body.get("id")
        found = None if external_id is None else self.id_of(str(external_id))
        if found is not None or not isinstance(number, int):
            return found
        row = self._db.execute("SELECT id FROM transactions WHERE id = ?", (str(number),)).fetchone()
        return row and int(row[0])

    def _write(self, number: int, document: Json, last_item: int, body: Json) -> None:
        old_items = [] if body.get("delete_existing_items") else document.get("items", [])
        items, last_item = _merged_items(old_items, body.get("items") or [], last_item)
        document |= {name: value for name, value in body.items() if name not in _NOT_COPIED}
        document |= self._resolved(document, body)
        document |= {"items": items, "updated_at": now()}
        self._db.execute(
            "UPDATE transactions SET external_id = ?, transacted_at = ?, location_id = ?, profile_id = ?, "
            "is_void = ?, total = ?, last_item = ?, document = ? WHERE id = ?",
            (
                *map(document.get, ("external_id", "transacted_at", "location_id", "profile_id")),
                bool(document.get("is_void")),
                document.get("total"),
                last_item,
                json.dumps(document, separators=(",", ":")),
                number,
            ),
        )

    def _resolved(self, document: Json, body: Json) -> Json:
        """The body's references and dates, resolved; an unknown profile gives a guest sale."""
        resolved: Json = {}
        if document.get("external_id") is not None:
            resolved["external_id"] = str(document["external_id"])
        if document.get("transacted_at"):
            resolved["transacted_at"] = utc_text(document["transacted_at"])
        if body.get("location_id") is not None:
            resolved["location_id"] = self._reference_data.location_id(str(body["location_id"]))
        if body.get("profile_id") is not None:
            handle = body.get("profile_id_handle")
            resolved["profile_id"] = self._reference_data.customer(handle, str(body["profile_id"]))
        return resolved

    def _context(self, number: int, document: Json) -> Json:
        context: Json = {"id": number} | _TRANSACTION_DEFAULTS | document
        context["items"] = [_ITEM_DEFAULTS | item | {"transaction_id": number} for item in context["items"]]
        location = context["location_id"]
        context["location"] = self._reference_data.location(location) if location else None
        return context


def _merged_items(old: Iterable[Json], new: Iterable[Mapping[str, Any]], last: int) -> tuple[list[Json], int]:
    """Old items with the new ones merged in; one without `external_id` or `id` is always an addition."""
    items = [dict(item) for item in old]
    by_external = {item["external_id"]: item for item in items if item.get("external_id") is not None}
    by_id = {item["id"]: item for item in items}
    written_at = now()
    for each in new:
        given = dict(each)
        known = by_id.get(given.pop("id", None))
        if given.get("external_id") is not None:
            given["external_id"] = str(given["external_id"])
            known = by_external.get(given["external_id"], known)
        if known is None:
            last += 1
            known = {"id": last, "created_at": written_at}
            items.append(known)
        known |= given | {"updated_at": written_at}
        if given.get("external_id") is not None:
            # A later item of the same body may have the same id.
            by_external[given["external_id"]] = known
    return items, last


_FIGURES: Final = (
    *("spend_all", "spend_12m", "spend_12m_now", "spend_atv_all", "spend_atv_12m"),
    *("spend_first_date", "spend_last_date", "shop_count"),
)
_RECENT: Final = "transacted_at >= datetime('now', '-12 months')"
_SELECT: Final = f"""
SELECT profile_id, sum(total), sum(CASE WHEN {_RECENT} THEN total ELSE 0 END), count(*), sum({_RECENT}),
    min(transacted_at), max(transacted_at)
FROM transactions WHERE profile_id IS NOT NULL AND NOT is_void
"""  # noqa: S608  (nothing in it comes from outside)


class Aggregations:
    """Each customer's figures, as of the last calculation.

    Spend is net of returns and counts no void transaction. Amounts are texts, as some back-ends write them.

    Args:
        db: Has the transactions.
        injector: Its faults say how often figures are calculated.
        clock: Seconds that only go forward.
    """

    def __init__(
        self, db: Database, injector: FaultInjector, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._db = db
        self._injector = injector
        self._clock = clock
        self.clear()

    def clear(self) -> None:
        """Start again, with nothing calculated."""
        self._known: dict[str, Json] | None = None
        self._calculated_at = self._clock()

    def of(self, profile_id: str) -> Json:
        """A customer's figures; null until they are calculated for the first time."""
        every_s = self._injector.faults.aggregations_every_s
        if not every_s:
            found = self._calculated("AND profile_id = ? GROUP BY profile_id", profile_id)
            return {"profile_id": profile_id} | found.get(profile_id, _none())
        if self._clock() - self._calculated_at >= every_s:
            self._known, self._calculated_at = self._calculated("GROUP BY profile_id"), self._clock()
        if self._known is None:
            return {"profile_id": profile_id} | dict.fromkeys(_FIGURES)
        return {"profile_id": profile_id} | self._known.get(profile_id, _none())

    def _calculated(self, which: str, *values: str) -> dict[str, Json]:
        return {row[0]: _figures(*row[1:]) for row in self._db.execute(_SELECT + which, values)}


def _none() -> Json:
    return _figures(spend=0, recent=0, number=0, recent_number=0, first=None, last=None)


def _figures(
    spend: float, recent: float, number: int, recent_number: int, first: str | None, last: str | None
) -> Json:
    values: tuple[Any, ...] = (
        *(_text(spend), _text(recent), _text(recent)),
        *(_text(spend / max(number, 1)), _text(recent / max(recent_number, 1))),
        *(first, last, number),
    )
    return dict(zip(_FIGURES, values, strict=True))


def _text(amount: float) -> str:
    return f"{amount:.2f}"
