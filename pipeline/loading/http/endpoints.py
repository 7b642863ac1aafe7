"""The ways into Omneo, as values; a fact of a path or of its answer stands here and nowhere else.

From the public reference of `POST /transactions/queue`, `/transactions/queue/create`,
`/transactions/update-create`, `/transactions/batch.json` and `GET /transactions/external/{external_id}`;
`GET /batches/{uuid}` is inferred from the SDK.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from pipeline.core.errors import SettingsError, did_you_mean
from pipeline.core.text.privacy import personal_values
from pipeline.loading.http.answers import Expected
from pipeline.loading.http.client import Call
from pipeline.loading.http.strict_json import parsed


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """A request, and the shape of a yes to it.

    Attributes:
        call: What goes out.
        expected: The shape of a yes.
        external_id: Of the one transaction that it is about; None where it is about none, or many.
        about: Bodies that were sent of what is asked about: the answer may repeat what they say of people.
    """

    call: Call
    expected: Expected
    external_id: str | None = None
    about: tuple[bytes, ...] = ()

    def personal(self) -> set[str]:
        """What was sent of people, in this request or before it."""
        return self.call.personal().union(*(personal_values(parsed(body)) for body in self.about))

    @property
    def is_question(self) -> bool:
        """Whether it changes nothing."""
        return self.expected in (Expected.FOUND, Expected.LISTED)


@dataclass(frozen=True)
class Endpoint:
    """A way to hand over transactions.

    Attributes:
        name: As given to `--endpoint`.
        path: Where to POST.
        expected: The shape of its yes.
        upserts: Whether what is sent twice is one transaction.
    """

    name: str
    path: str
    expected: Expected = Expected.QUEUED
    upserts: bool = True

    @property
    def batched(self) -> bool:
        """Whether a request holds many transactions, whose results are polled for."""
        return self.expected is Expected.BATCHED

    def request(self, transactions: Sequence[tuple[str, bytes]]) -> ApiRequest:
        """The request for these transactions, each an id and a body; exactly one unless `batched`."""
        if self.batched:
            bodies = b",".join(body for _, body in transactions)
            return ApiRequest(Call("POST", self.path, b'{"transactions":[' + bodies + b"]}"), self.expected)
        ((external_id, body),) = transactions
        return ApiRequest(Call("POST", self.path, body), self.expected, external_id)


ENDPOINTS: Final[dict[str, Endpoint]] = {
    endpoint.name: endpoint
    for endpoint in (
        Endpoint("queue", "/transactions/queue"),
        Endpoint("queue-create", "/transactions/queue/create", upserts=False),
        Endpoint("update-create", "/transactions/update-create", Expected.WRITTEN),
        Endpoint("batch", "/transactions/batch.json", Expected.BATCHED),
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


def transaction_query(external_id: str, body: bytes = b"") -> ApiRequest:
    """Ask for the transaction with this external id, of which this body was sent; 404 where there is none."""
    call = Call("GET", f"/transactions/external/{quote(external_id, safe='')}")
    return ApiRequest(call, Expected.FOUND, external_id, (body,) if body else ())


def batch_query(batch_id: str, bodies: Sequence[bytes] = ()) -> ApiRequest:
    """Ask how far a batch of these bodies is."""
    call = Call("GET", f"/batches/{quote(batch_id, safe='')}")
    return ApiRequest(call, Expected.FOUND, about=tuple(bodies))


def listing(path: str, params: Mapping[str, str]) -> ApiRequest:
    """Ask for a list, or for one thing by its path."""
    return ApiRequest(Call("GET", path, params=tuple(params.items())), Expected.LISTED)
