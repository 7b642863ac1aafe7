"""Stock `httpx.AsyncClient` with a semaphore, 64 requests in flight.

python httpx_semaphore.py BODIES.jsonl URL
"""

import asyncio
import sys
from collections.abc import Iterable
from pathlib import Path

import httpx

IN_FLIGHT = 64


async def send(bodies: Iterable[bytes], url: str) -> None:
    headers = {"Authorization": "Bearer benchmark", "Content-Type": "application/json"}
    limits = httpx.Limits(max_connections=IN_FLIGHT, max_keepalive_connections=IN_FLIGHT)
    semaphore = asyncio.Semaphore(IN_FLIGHT)
    async with httpx.AsyncClient(headers=headers, limits=limits, timeout=30) as client:

        async def post(body: bytes) -> None:
            try:
                (await client.post(url, content=body)).raise_for_status()
            finally:
                semaphore.release()

        async with asyncio.TaskGroup() as group:
            for body in bodies:
                await semaphore.acquire()
                group.create_task(post(body.rstrip(b"\n")))


def main() -> None:
    path, url = sys.argv[1:]
    with Path(path).open("rb") as bodies:
        asyncio.run(send(bodies, url))


if __name__ == "__main__":
    main()
