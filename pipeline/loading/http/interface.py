"""The only import of httpx in this stage, so that moving to its successor is one line."""

from collections.abc import Iterator

import httpx as httpx


async def whole(stream: httpx.SyncByteStream | httpx.AsyncByteStream | None) -> bytes:
    """All of a body, as it comes; httpx's own way to read one decodes it, and takes its time."""
    assert isinstance(stream, httpx.AsyncByteStream)
    return b"".join([chunk async for chunk in stream])


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An exception, what it came of, what that came of, and so on."""
    while error is not None:
        yield error
        error = error.__cause__
