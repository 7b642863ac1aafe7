"""Checks of a request body, answered like Laravel's validation: `errors` by field path.

Fields and their kinds come from the model. Where Omneo's public pages leave a rule open, the check is
strict, since a body that passes here must pass there: a number is a JSON number, a currency must be
configured, a zone must be an IANA name, and `null` is refused where the SDK says that the API cannot take it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from math import isfinite
from typing import Any, Final, NoReturn
from zoneinfo import ZoneInfo

from pipeline.core.model import ITEM_FIELDS, TRANSACTION_FIELDS, Field, Kind

Errors = dict[str, list[str]]
Check = Callable[[object], str | None]

REQUIRED: Final = ("total", "transacted_at")
ITEM_REQUIRED: Final = ("name", "quantity", "price_current", "price_sell")
# From the SDK's updateCreate: "Omneo API bug cannot accept null".
NEVER_NULL: Final = frozenset({"is_void", "receipt_is_email"})
# Documented as strings, yet shown as numbers in the same pages' samples.
IDS: Final = frozenset(
    {"external_id", "location_id", "staff_id", "order_id", "external_order_id", "order_number"}
    | {"product_variant_id", "variant_external_id"}
)


def errors_in(body: object, currencies: frozenset[str], *, partial: bool = False) -> Errors:
    """Every reason for which Omneo would refuse a transaction, by field path; empty where it would not.

    Args:
        body: The parsed JSON.
        currencies: Codes that the tenant has.
        partial: Whether required fields may be left out, as in an update.
    """
    if not isinstance(body, dict):
        return {"body": ["The body must be a JSON object."]}
    errors: Errors = {}
    _check_fields(body, TRANSACTION_FIELDS, () if partial else REQUIRED, "", errors)
    currency = body.get("currency")
    if isinstance(currency, str) and currency not in currencies:
        errors["currency"] = ["The selected currency is invalid."]
    zone = body.get("timezone")
    if isinstance(zone, str) and not _is_zone(zone):
        errors["timezone"] = ["The timezone must be a valid zone."]
    items = body.get("items")
    if items is None:
        return errors
    if not isinstance(items, list):
        return errors | {"items": ["The items must be an array."]}
    for position, item in enumerate(items):
        check_item(item, f"items.{position}", errors)
    return errors


def check_item(item: object, path: str, errors: Errors) -> None:
    """Add to `errors` every reason for which an item would be refused; `path` is empty or `items.N`."""
    if isinstance(item, dict):
        _check_fields(item, ITEM_FIELDS, ITEM_REQUIRED, f"{path}." if path else "", errors)
    else:
        errors[path or "body"] = [f"The {path or 'body'} must be an object."]


def parse_json(text: bytes) -> Any:
    """The value of a JSON text, as strictly as PHP reads it, where Python's reader is more lenient.

    Raises:
        ValueError: It is not JSON in UTF-8, holds `NaN` or a number too large, half a surrogate pair, or is
            nested too deep.
    """
    try:
        value = json.loads(text, parse_constant=_not_json, parse_float=_finite)
    except RecursionError:
        raise ValueError("Maximum stack depth exceeded") from None
    if b"\\u" in text:
        # Raises an error on half a surrogate pair.
        json.dumps(value, ensure_ascii=False).encode()
    return value


def _not_json(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    return number if isfinite(number) else _not_json(text)


def utc_text(value: str) -> str:
    """A documented date and time as UTC `YYYY-MM-DD HH:MM:SS`; without an offset it is UTC already.

    Raises:
        ValueError: The text is not a date and time.
    """
    time = datetime.fromisoformat(value)
    if time.tzinfo is not None:
        time = time.astimezone(UTC).replace(tzinfo=None)
    return time.isoformat(" ", "seconds")


def _check_fields(
    body: Mapping[str, object],
    known: Mapping[str, Field],
    required: tuple[str, ...],
    path: str,
    errors: Errors,
) -> None:
    for name in required:
        if body.get(name) in (None, ""):
            errors[path + name] = [f"The {path}{name} field is required."]
    for name, value in body.items():
        if (field := known.get(name)) is None:
            continue
        if value is None:
            problem = "may not be null" if name in NEVER_NULL else None
        else:
            problem = _CHECKS[field.kind](value)
            if problem and name in IDS and _is_integer(value):
                problem = None
        if problem:
            errors[path + name] = [f"The {path}{name} {problem}."]


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63


def _is_amount(value: object) -> bool:
    return isinstance(value, float | int) and not isinstance(value, bool) and abs(value) < 1e15


def _is_date(value: object) -> bool:
    # Ten characters are a bare date; fromisoformat would also take week dates and forms without dashes.
    if not isinstance(value, str) or len(value) < 10 or value[4:5] + value[7:8] != "--":
        return False
    try:
        utc_text(value)
    except (ValueError, OverflowError):
        return False
    return True


@lru_cache(maxsize=1024)
def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        return False
    return True


def _must(test: Callable[[object], bool], problem: str) -> Check:
    return lambda value: None if test(value) else problem


_CHECKS: Final[dict[Kind, Check]] = {
    Kind.STRING: _must(lambda value: isinstance(value, str), "must be a string"),
    Kind.DECIMAL: _must(_is_amount, "must be a number"),
    Kind.INTEGER: _must(_is_integer, "must be an integer"),
    Kind.BOOLEAN: _must(lambda value: isinstance(value, bool), "field must be true or false"),
    Kind.DATETIME: _must(_is_date, "is not a valid date"),
    Kind.STRINGS: _must(
        lambda value: isinstance(value, list) and all(isinstance(each, str) for each in value),
        "must be an array of strings",
    ),
    Kind.PAYMENTS: _must(
        lambda value: isinstance(value, list) and all(isinstance(each, str | dict) for each in value),
        "must be an array of tender names, or of objects of tender and amount",
    ),
    Kind.OBJECT: _must(lambda value: isinstance(value, dict), "must be an object"),
    Kind.OBJECTS: _must(
        lambda value: isinstance(value, list) and all(isinstance(each, dict) for each in value),
        "must be an array of objects",
    ),
}
