"""Personal data made unrecognisable: in reports, which travel, and in what a server says of it.

What is masked: emails, card numbers and phone-like texts wherever they stand, and in full every value that
is a person's by its field or name (`profile_id`, `receipt_email`, anything called email, phone, name, …).
Masking rather hides too much than too little.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from decimal import Decimal
from typing import Any, Final

from pipeline.core.model import ITEM_FIELDS, PERSONS, TRANSACTION_FIELDS, Field, Kind, Names

_PERSONAL_NAME: Final = re.compile(
    r"e-?mail|phone|mobile|(?<![a-z])tel(?![a-z])|fax|"
    r"(first|last|full|sur|given|family|display|billing|shipping|delivery)[ _-]?name|"
    r"(staff|cashier|employee|seller)[ _-]?name|"
    r"customer|client|buyer|guest|recipient|contact|person|member|loyalty|card|iban|passport|"
    r"birth|(?<![a-z])dob|address|street|suburb|post[ _-]?code|postal|zip|^profile[ _-]?id$",
    re.IGNORECASE,
)
MARKS: Final = ("\u2068", "\u2069")
"""Stand around a personal value within a message, so that it can be masked there. They are Unicode's
isolates, which separate inserted text from its sentence, and are removed before a message is shown."""
_MARKED: Final = re.compile(f"{MARKS[0]}(.*?)(?:{MARKS[1]}|$)", re.DOTALL)  # the end may have been cut off
_FIELDS: Final[Mapping[str, Field]] = ITEM_FIELDS | TRANSACTION_FIELDS
_PUBLIC_NAMES: Final = frozenset({"product_id", "barcode"}) | {
    field.name for field in _FIELDS.values() if field.names is Names.THING or field.kind is Kind.DATETIME
}
# Each pattern takes time in proportion to the text, whatever it holds: an email is looked for only where a
# word starts, the others are bounded.
# Digits, signs and blanks may be those of other keyboards: full-width ones, or such as do not break a line.
_AT: Final = "@\uff20\ufe6b"
_BLANK: Final = " \u00a0\u2007-\u200a\u202f\u3000"
_HYPHEN: Final = "\u2010-\u2015\u2212\uff0d-"
_EMAIL: Final = re.compile(rf"""(?<![^\s{_AT}<>",;()])[^\s{_AT}<>",;()]++[{_AT}][^\s<>",;()]*""")
_EMAIL_OF_URL: Final = re.compile(
    r"(?<![\w.+%-])(?:[\w.+-]|%(?!(?:25)*40)[0-9A-Fa-f]{2}){1,64}%(?:25)*40[\w-]+(?:(?:\.|%2[Ee])[\w-]+)+"
)
_CARD: Final = re.compile(rf"(?<![\w.])\d(?:[{_BLANK}{_HYPHEN}]?\d){{12,18}}(?!\w)")
_PHONE: Final = re.compile(
    rf"(?<![\w.+\uff0b{_HYPHEN}])(?:[+\uff0b]\d|[(\uff08]?[0\uff10])"
    rf"[\d(){_BLANK}\uff08\uff09.{_HYPHEN}]{{5,25}}\d(?!\w)"
)
# A date has as many digits as a phone number.
_DATE: Final = re.compile(rf"^\d{{1,2}}([.{_HYPHEN}])\d{{1,2}}\1(\d{{4}}|\d{{2}})(?![.\d{_HYPHEN}])")
_STARS: Final = "***"
_TELLING: Final = 2
"""A single character says nothing of a person, and may stand anywhere."""


def mask_text(text: str) -> str:
    """Mask emails, card numbers (13 to 19 digits) and phone-like parts inside a text; the rest stays."""
    text = _without_emails(text)
    text = _CARD.sub(lambda match: _STARS + match[0][-2:], text)
    return _PHONE.sub(lambda match: _masked_phone(match[0]), text)


def mask_whole(text: str) -> str:
    """Mask a value that is personal as a whole, but its first character, or a number's last two digits."""
    if any(at in text for at in _AT) or _EMAIL_OF_URL.search(text):
        return _masked_email(text)
    if sum(map(str.isdigit, text)) >= 8:
        return _STARS + text[-2:]
    return text[:1] + _STARS


def mask_value(field: str | None, value: str) -> str:
    """Mask the value of an Omneo field, or of any named thing.

    Numbers in fields that hold ids of sales and goods are left alone: they look like cards and are none.
    """
    if _is_personal(field, value):
        return mask_whole(value)
    if field in _PUBLIC_NAMES:
        return _without_emails(value)
    return mask_text(value)


def mask_message(field: str | None, message: str) -> str:
    """Mask marked values in a message as values of its field, and other parts that look personal."""
    others = field if field in _PUBLIC_NAMES else None
    # After the split, every second part was inside marks.
    parts = _MARKED.split(message)
    return "".join(mask_value(field if n % 2 else others, part) for n, part in enumerate(parts))


def without_marks(message: str) -> str:
    """A message as people see it, with its personal values."""
    return message.translate(_NO_MARKS)


_NO_MARKS: Final = dict.fromkeys(map(ord, MARKS))


def is_personal_field(name: str | None) -> bool:
    """Whether values may be a person's by the name of their field or column."""
    return name is not None and (_named_by(name) in PERSONS or _PERSONAL_NAME.search(name) is not None)


def _is_personal(name: str | None, value: str) -> bool:
    """Whether a value is a person's by the name of its field; an id of staff with a digit is a number."""
    is_number = _named_by(name) is Names.STAFF and any(map(str.isdigit, value))
    return is_personal_field(name) and not is_number


def _named_by(name: str | None) -> Names | None:
    field = _FIELDS.get(name or "")
    return field.names if field else None


def mask_json(value: Any, name: str | None = None) -> Any:
    """Mask a payload: every text and number in it, judged by the name it stands under."""
    if isinstance(value, Mapping):
        names = {key: _nearest(name, key) for key in value}
        if isinstance(value.get("handle"), str) and "value" in value:  # a custom field, named by its handle
            names["value"] = _nearest(name, value["handle"])
        return {mask_text(key): mask_json(inner, names[key]) for key, inner in value.items()}
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


def personal_values(value: Any, name: str | None = None) -> set[str]:
    """Every text and number of a payload that is personal by the name of its field."""
    if isinstance(value, Mapping):
        names = {key: _nearest(name, key) for key in value}
        if isinstance(value.get("handle"), str) and "value" in value:
            names["value"] = _nearest(name, value["handle"])
        inner = (personal_values(each, names[key]) for key, each in value.items())
        return set().union(*inner)
    if isinstance(value, list):
        return set().union(*(personal_values(each, name) for each in value))
    text = str(value) if isinstance(value, str | int | Decimal) and not isinstance(value, bool) else ""
    return {text} if len(text) >= _TELLING and _is_personal(name, text) else set()


def mask_values(text: str, values: Collection[str]) -> str:
    """Mask these values wherever a text repeats them, in any case, and parts that look personal."""
    if found := [re.escape(each) for each in sorted(values, key=len, reverse=True) if each]:
        repeated = re.compile(rf"(?<!\w)(?:{'|'.join(found)})(?!\w)", re.IGNORECASE)
        text = repeated.sub(lambda match: mask_whole(match[0]), text)
    return mask_text(text)


def _nearest(outer: str | None, name: str) -> str:
    """A personal name holds for everything under it: `{"customer": {"id": …}}`."""
    return outer if outer is not None and is_personal_field(outer) else name


def _without_emails(text: str) -> str:
    for pattern in (_EMAIL, _EMAIL_OF_URL):
        text = pattern.sub(lambda match: _masked_email(match[0]), text)
    return text


def _masked_email(text: str) -> str:
    """Keep the first character, and the quotes around it as in `'anna@example.com' is unknown`."""
    inner = text.strip("'")
    before, _, after = text.partition(inner)
    return f"{before}{inner[:1]}{_STARS}@{_STARS}{after}"


def _masked_phone(text: str) -> str:
    digits = sum(map(str.isdigit, text))
    return text if not 8 <= digits <= 15 or _DATE.match(text) else _STARS + text[-2:]
