"""The ways into Omneo, as values; a fact of a path or of its answer stands here and nowhere else.

From the public reference of `POST /transactions/queue`, `/transactions/queue/create`,
`/transactions/update-create`, `/transactions/batch.json` and `GET /transactions/external/{external_id}`;
`GET /batches/{uuid}` is inferred from the SDK.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from pipeline.errors import SettingsError, did_you_mean
from pipeline.loading.client import Call


@dataclass(frozen=True)
class Endpoint:
    """A way to hand over transactions.

    Attributes:
        name: As given to `--endpoint`.
        path: Where to POST.
        upserts: Whether sending twice is harmless; where not, a doubt is always looked up first.
        batched: Whether a request holds many transactions, whose results are polled for.
    """

    name: str
    path: str
    upserts: bool = True
    batched: bool = False

    def call(self, bodies: Sequence[bytes]) -> Call:
        """The request for these transactions; exactly one of them unless `batched`."""
        if self.batched:
            return Call("POST", self.path, b'{"transactions":[' + b",".join(bodies) + b"]}")
        (body,) = bodies
        return Call("POST", self.path, body)


ENDPOINTS: Final[dict[str, Endpoint]] = {
    endpoint.name: endpoint
    for endpoint in (
        Endpoint("queue", "/transactions/queue"),
        Endpoint("queue-create", "/transactions/queue/create", upserts=False),
        Endpoint("update-create", "/transactions/update-create"),
        Endpoint("batch", "/transactions/batch.json", batched=True),
    )
}


def endpoint_named(name: str) -> Endpoint:
    """Return the endpoint of that name.

    Raises:
        SettingsError: There is none.
    """
    if name not in ENDPOINTS:
        near = did_you_mean(name, tuple(ENDPOINTS))
        raise SettingsError(f"There is no endpoint {name!r}{near}; expected one of {', '.join(ENDPOINTS)}.")
    return ENDPOINTS[name]


def external_lookup(external_id: str) -> Call:
    """Ask for the transaction with this external id; 404 where there is none."""
    return Call("GET", f"/transactions/external/{quote(external_id, safe='')}")


def batch_lookup(batch_id: str) -> Call:
    """Ask how far a batch is."""
    return Call("GET", f"/batches/{quote(batch_id, safe='')}")
