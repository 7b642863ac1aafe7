"""Taking the encoding off a body, bounded, since little may hide a great deal."""

from __future__ import annotations

import zlib
from typing import Final

from pipeline.loading.http.interface import httpx

DECODED_MAX: Final = 16 * 1024 * 1024
"""Bytes that an encoded body may have without its encoding."""
# zlib expects a gzip header if 16 is added to the size of its window.
_GZIP: Final = 16 + zlib.MAX_WBITS
_FORMS: Final = {
    "gzip": (_GZIP,),
    "x-gzip": (_GZIP,),
    "deflate": (zlib.MAX_WBITS, -zlib.MAX_WBITS),  # with the wrapper that it should have, or without
}


def decoded(body: bytes, encoding: str) -> bytes:
    """The body without its encoding.

    Args:
        body: As it came.
        encoding: What `Content-Encoding` says.

    Raises:
        httpx.DecodingError: It is not encoded so, too long, or encoded in a way that is not supported, as one
            within another is: each may grow a thousandfold.
    """
    name = encoding.strip().lower()
    if name in ("", "identity") or not body:
        return body
    if name not in _FORMS:
        raise httpx.DecodingError("a content encoding that is not supported")
    for form in _FORMS[name]:
        inflating = zlib.decompressobj(form)
        try:
            # One byte more than allowed tells a body that is too long from one that just fits.
            found = inflating.decompress(body, DECODED_MAX + 1)
        except zlib.error:
            continue
        if len(found) > DECODED_MAX:
            raise httpx.DecodingError(f"a body of more than {DECODED_MAX >> 20} MiB")
        if inflating.eof:
            return found
    raise httpx.DecodingError(f"a body that is not in {name}")
