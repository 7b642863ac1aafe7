"""Personal data made unrecognisable, for reports that travel further than the run directory.

What is masked: emails, card numbers and phone-like texts wherever they stand, and in full every value that
is a person's by its field or name (`profile_id`, `receipt_email`, anything called email, phone, name, …).
Masking rather hides too much than too little.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

PERSONAL_FIELDS: Final = frozenset({"profile_id", "receipt_email"})
_PERSONAL_NAME: Final = re.compile(
    r"e-?mail|phone|mobile|\btel|fax|(first|last|full|sur|given|family|customer|display)[ _-]?name|customer|"
    r"person|member|loyalty|card|birth|\bdob|address|street|post[ _-]?code|\bzip|^profile_id$",
    re.IGNORECASE,
)
_PUBLIC_FIELDS: Final = frozenset(
    {
        "external_id", "receipt_ref", "linked_receipt_ref", "redemption_id", "order_id", "external_order_id",
        "order_number", "location_id", "sku", "barcode", "product_id", "product_variant_id",
        "product_variant_sku", "variant_external_id", "transacted_at", "deliver_at",
    }
)  # fmt: skip
# Each pattern takes time in proportion to the text, whatever it holds: an email is looked for only where a
# word starts, the others are bounded.
_EMAIL: Final = re.compile(r"""(?<![^\s@<>",;()])[^\s@<>",;()]++@[^\s<>",;()]*""")
_CARD: Final = re.compile(r"(?<![\w.])\d(?:[ -]?\d){12,18}(?!\w)")
_PHONE: Final = re.compile(r"(?<![\w.+-])(?:\+\d|\(?0)[\d ().-]{5,25}\d(?!\w)")
_DATE: Final = re.compile(r"^\d{1,2}([-.])\d{1,2}\1(\d{4}|\d{2})(?![-.\d])")
_STARS: Final = "***"


def mask_text(text: str) -> str:
    """Mask emails, card numbers (13 to 19 digits) and phone-like parts inside a text; the rest stays."""
    text = _EMAIL.sub(lambda match: _masked_email(match[0]), text)
    text = _CARD.sub(lambda match: _STARS + match[0][-2:], text)
    return _PHONE.sub(lambda match: _masked_phone(match[0]), text)


def mask_whole(text: str) -> str:
    """Mask a value that is personal as a whole, but its first character, or a number's last two digits."""
    if "@" in text:
        return _masked_email(text)
    if sum(map(str.isdigit, text)) >= 8:
        return _STARS + text[-2:]
    return text[:1] + _STARS


def mask_value(field: str | None, value: str) -> str:
    """Mask the value of an Omneo field, or of any named thing.

    Numbers in fields that hold ids of sales and goods are left alone: they look like cards and are none.
    """
    if field is not None and _PERSONAL_NAME.search(field):
        return mask_whole(value)
    if field in _PUBLIC_FIELDS:
        return _EMAIL.sub(lambda match: _masked_email(match[0]), value)
    return mask_text(value)


def mask_message(field: str | None, value: str | None, message: str) -> str:
    """Mask a message about `value` of `field`: the value inside it, and whatever else looks personal."""
    if value and field is not None and _PERSONAL_NAME.search(field):
        message = message.replace(value, mask_whole(value))
    return mask_value(field if field in _PUBLIC_FIELDS else None, message)


def mask_json(value: Any, name: str | None = None) -> Any:
    """Mask a payload: every text and number in it, judged by the name it stands under."""
    if isinstance(value, Mapping):
        return {key: mask_json(inner, _nearest(name, key)) for key, inner in value.items()}
    if isinstance(value, list):
        return [mask_json(inner, name) for inner in value]
    if isinstance(value, str):
        return mask_value(name, value)
    if isinstance(value, int) and not isinstance(value, bool):
        masked = mask_value(name, str(value))
        return value if masked == str(value) else masked
    return value


def mask_body(body: str) -> str:
    """Mask a request body, JSON in and JSON out."""
    return json.dumps(mask_json(json.loads(body)), ensure_ascii=False)


def _nearest(outer: str | None, name: str) -> str:
    """A personal name holds for everything under it: `{"customer": {"id": …}}`."""
    return outer if outer is not None and _PERSONAL_NAME.search(outer) else name


def _masked_email(text: str) -> str:
    """Keep the first character, and the quotes around it as in `'anna@example.com' is unknown`."""
    inner = text.strip("'")
    before, _, after = text.partition(inner)
    return f"{before}{inner[:1]}{_STARS}@{_STARS}{after}"


def _masked_phone(text: str) -> str:
    digits = sum(map(str.isdigit, text))
    return text if not 8 <= digits <= 15 or _DATE.match(text) else _STARS + text[-2:]
