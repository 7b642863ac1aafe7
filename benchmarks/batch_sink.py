"""A sink for batches: it counts what it takes, since a batch is only believed when its counts are those sent.

Started as a process of its own: `python -m benchmarks.batch_sink PORT FILE`. It answers until SIGTERM, then
writes the fields of `benchmarks.sink.Taken` to FILE as JSON.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from pathlib import Path

_ANSWER = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{}"


class _Connection(asyncio.Protocol):
    def __init__(self, taken: dict[str, float], sizes: list[int]) -> None:
        self._taken, self._sizes, self._unread = taken, sizes, bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._unread += data
        while (end := self._unread.find(b"\r\n\r\n")) >= 0:
            head = bytes(self._unread[:end]).lower()
            _, _, after = head.partition(b"content-length:")
            size = int(after.split(b"\r\n", 1)[0] or 0)
            if len(self._unread) < end + 4 + size:
                return
            body = bytes(self._unread[end + 4 : end + 4 + size])
            del self._unread[: end + 4 + size]
            answer = json.dumps(self._post(body) if head.startswith(b"post") else self._get(head))
            self._transport.write(_ANSWER.format(len(answer), answer).encode())

    def _post(self, body: bytes) -> dict[str, str]:
        self._sizes.append(len(json.loads(body)["transactions"]))
        self._note("posts", len(body))
        return {"message": "OK", "batch_id": str(len(self._sizes) - 1)}

    def _get(self, head: bytes) -> dict[str, object]:
        if b"/batches/" not in head.split(b" ", 2)[1]:
            return {"data": []}  # what a load asks before it sends: triggers, and some customers
        self._note("gets", 0)
        size = self._sizes[int(head.split(b" ", 2)[1].rpartition(b"/")[2])]
        counts = {"total_count": size, "processed_count": size, "success_count": size, "failed_count": 0}
        return {"data": {"status": "completed", **counts, "items": []}}

    def _note(self, kind: str, size: int) -> None:
        now = time.time()
        self._taken[kind] += 1
        self._taken["body_bytes"] += size
        self._taken["first_at"] = self._taken["first_at"] or now
        self._taken["last_at"] = now


async def _serve(port: int) -> dict[str, float]:
    taken: dict[str, float] = {
        "posts": 0,
        "gets": 0,
        "body_bytes": 0,
        "refused": 0,
        "first_at": 0,
        "last_at": 0,
    }
    sizes: list[int] = []
    loop, done = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, done.set)
    async with await loop.create_server(lambda: _Connection(taken, sizes), "127.0.0.1", port):
        await done.wait()
    return taken


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(asyncio.run(_serve(int(sys.argv[1])))))
