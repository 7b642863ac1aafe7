"""Keys that are added to a staged body when it is sent, as its last; every other byte stays as it was."""

from __future__ import annotations

import json
from typing import Final

_VOID: Final = "is_void"
_REPLACE_ITEMS: Final = "delete_existing_items"


def is_void(body: bytes) -> bool:
    """Whether the transaction in this body is void."""
    # Parsing is slow, so a body without that text is not parsed.
    return b'"is_void"' in body and json.loads(body).get(_VOID) is True


def with_void(body: bytes, *, void: bool) -> bytes:
    """The same transaction, void or not."""
    return _with_last_key(body, _VOID, void)


def as_older_versions_voided(body: bytes) -> bytes:
    """The body that older versions sent to void a transaction: with a second `is_void` where it had one."""
    return _appended(body, _VOID, True)


def replacing_items(body: bytes) -> bytes:
    """The same transaction, as an update that leaves none of the items that Omneo has of it."""
    return _with_last_key(body, _REPLACE_ITEMS, True)


def _with_last_key(body: bytes, name: str, value: bool) -> bytes:
    # The name may also stand in a text or in an item, so the body is parsed.
    if f'"{name}"'.encode() in body and name in json.loads(body):
        body = _without_key(body, name)
    return _appended(body, name, value)


def _appended(body: bytes, name: str, value: bool) -> bytes:
    inside = body.rstrip()[:-1].rstrip()
    comma = b"" if inside.endswith(b"{") else b","
    return inside + comma + f'"{name}":{json.dumps(value)}}}'.encode()


def _without_key(body: bytes, unwanted: str) -> bytes:
    """The object without a key of its own; the same key of its items stays.

    It is cut out of the text: to parse and write the object again would change how its numbers are written.
    """
    text = body.decode().strip()
    decoder = json.JSONDecoder()
    kept: list[str] = []
    at = 1
    while _past_space(text, at) < len(text) - 1:
        start = at
        name, at = decoder.raw_decode(text, _past_space(text, at))
        _, at = decoder.raw_decode(text, _past_space(text, _past_space(text, at) + 1))
        at = _past_space(text, at)
        if name != unwanted:
            kept.append(text[start:at])
        at += text[at] == ","
    return ("{" + ",".join(kept) + "}").encode()


def _past_space(text: str, at: int) -> int:
    while text[at] in " \t\r\n":
        at += 1
    return at
