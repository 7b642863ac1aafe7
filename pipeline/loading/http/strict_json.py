"""JSON texts as servers write them, read in one way: what parsers read differently is no JSON here."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any


def parsed(body: bytes) -> Any:
    """The value of a JSON text, numbers with a fraction as decimals; None where it is none.

    A byte order mark, another encoding than UTF-8, a number that JSON does not have and a key that stands
    twice make it none: parsers read them in different ways, so what was meant is unknown.
    """
    try:
        return _DECODER.decode(body.decode("utf-8"))
    except (ValueError, RecursionError, ArithmeticError):
        # ArithmeticError comes from an exponent without end.
        return None


def _no_number(name: str) -> Any:
    raise ValueError(name)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


_DECODER = json.JSONDecoder(parse_float=Decimal, parse_constant=_no_number, object_pairs_hook=_unique)
