"""Webhooks about processed transactions, signed as Omneo signs them."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from pipeline.simulator.fault_injector import FaultInjector

if TYPE_CHECKING:
    import httpx

SIGNATURE_HEADER = "X-Omneo-Hmac-SHA256"


def signature(secret: str, body: bytes) -> str:
    """The hex HMAC-SHA256 of a webhook's raw body."""
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


class Webhooks:
    """Sends events to one URL, in order unless they are delayed, without retries.

    Args:
        url: The receiver; None sends nothing.
        secret: Shared with the receiver.
        injector: Decides the delay and the number of copies.

    Attributes:
        counts: `sent` (answered 2xx), `failed` (anything else) and `withheld` (never sent on purpose).
        pending: How many are waiting.
    """

    def __init__(self, url: str | None, secret: str, injector: FaultInjector) -> None:
        self._url = url
        self._secret = secret
        self._injector = injector
        self._outbox: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        self.pending = 0
        self.counts: Counter[str] = Counter()

    @property
    def wanted(self) -> bool:
        """Whether there is a receiver."""
        return self._url is not None

    def registered(self) -> list[dict[str, Any]]:
        """The webhooks as the tenant lists them."""
        events = ("transaction.created", "transaction.updated") if self._url else ()
        return [
            {"id": number, "trigger": event, "url": self._url, "is_active": True}
            for number, event in enumerate(events, start=1)
        ]

    def add(self, context: dict[str, Any]) -> None:
        """Queue a webhook with a transaction's context.

        Whether it was created or updated is not in the body: Omneo's pages show the context alone.
        """
        copies = self._injector.webhook_copies()
        if not copies:
            self.counts["withheld"] += 1
        due = asyncio.get_running_loop().time() + self._injector.faults.webhook_delay_s
        body = json.dumps(context, separators=(",", ":"), ensure_ascii=False).encode(errors="replace")
        for _ in range(copies):
            self.pending += 1
            self._outbox.put_nowait((due, body))

    async def run(self) -> None:
        """Send queued webhooks, until cancelled."""
        import httpx

        loop = asyncio.get_running_loop()
        # The receiver may be on this computer, which a proxy of the environment could not reach.
        async with httpx.AsyncClient(timeout=10, trust_env=False) as client:
            while True:
                due, body = await self._outbox.get()
                if (wait_s := due - loop.time()) > 0:
                    await asyncio.sleep(wait_s)
                await self._send(client, body)
                self.pending -= 1

    async def _send(self, client: httpx.AsyncClient, body: bytes) -> None:
        import httpx

        headers = {"Content-Type": "application/json", SIGNATURE_HEADER: signature(self._secret, body)}
        assert self._url is not None
        try:
            answer = await client.post(self._url, content=body, headers=headers)
        except httpx.HTTPError:
            self.counts["failed"] += 1
        else:
            self.counts["sent" if answer.is_success else "failed"] += 1
