"""The only import of httpx in this stage, so that moving to its successor is one line."""

import httpx as httpx


async def whole(stream: httpx.SyncByteStream | httpx.AsyncByteStream | None) -> bytes:
    """All of a body, as it comes; httpx's own way to read one decodes it, and takes its time."""
    assert isinstance(stream, httpx.AsyncByteStream)
    return b"".join([chunk async for chunk in stream])
