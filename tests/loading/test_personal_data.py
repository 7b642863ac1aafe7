"""What a server says of a person goes no further than the answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from pipeline.core.events import Event
from pipeline.loading.delivery.delivery_options import DeliveryOptions
from pipeline.loading.http.answers import Meaning, ReplyVerdict
from pipeline.loading.http.client import Call
from pipeline.loading.http.endpoints import ENDPOINTS
from pipeline.loading.ledger.ledger import SqlLedger
from tests.loading.tenant import QUICK, Tenant, load, made, run_of

PERSON = {
    "profile_id": "0b9f7c1e-44d2-4c8f-a1b2-9e5d3c7f1a20",
    "profile_id_handle": "id",
    "receipt_email": "anna.kowalska@example.com",
    "customer": {"first_name": "Zsuzsanna", "last_name": "Kowalska-Nagy", "loyalty_number": 48213377},
    "custom_fields": [{"handle": "member_phone", "value": "0412 345 678"}],
}
OF_THE_PERSON = [
    "0b9f7c1e-44d2-4c8f-a1b2-9e5d3c7f1a20", "anna.kowalska@example.com", "Zsuzsanna", "ZSUZSANNA",
    "Kowalska-Nagy", "48213377", "0412 345 678",
]  # fmt: skip
OF_OTHERS = ["bob@example.org", "4111 1111 1111 1111", "+61 412 000 111"]
SAID = "Refused: " + ", ".join(f"<{each}>" for each in OF_THE_PERSON + OF_OTHERS)
BODIES = {
    "message": {"message": SAID},
    "fields": {"message": "Invalid.", "errors": {"profile_id": [SAID], "bob@example.org": ["is unknown"]}},
    "deep": {"errors": {"customer": [{"value": OF_THE_PERSON, "other": OF_OTHERS}]}},
    "odd": [SAID],
    "text": SAID,
}


def check(folder: Path, *others: object) -> None:
    kept = b"".join(each.read_bytes() for each in folder.rglob("*") if each.is_file()).decode("latin-1")
    for each in OF_THE_PERSON + OF_OTHERS:
        assert each not in kept, each
        assert not any(each in f"{other} {other!r}" for other in others), each


@pytest.mark.slow
@pytest.mark.parametrize("status", [200, 302, 400, 401, 403, 404, 422, 429, 500, 503])
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_what_a_server_repeats_of_a_sale_is_masked_wherever_it_goes(
    status: int, body: Any, ledger: SqlLedger, tmp_path: Path
) -> None:
    def answer(request: httpx.Request, _: dict[str, Any]) -> httpx.Response | None:
        text = body if isinstance(body, str) else json.dumps(body)
        return httpx.Response(
            status, text=text, headers={"location": f"https://x.test/?{SAID}".encode().decode()}
        )

    events: list[Event] = []
    some = [made(1, **PERSON)]
    options = DeliveryOptions(policy=QUICK, concurrency=1, give_up_after_s=0.05)
    result = load(ledger, run_of("r1", some), some, Tenant(answer), options, emit=events.append)
    check(tmp_path, events, result.error)


@pytest.mark.parametrize("said", [SAID, {"message": SAID}, {"errors": {"profile_id": [SAID]}}], ids=str)
def test_what_the_result_of_a_batch_repeats_is_masked(said: Any, ledger: SqlLedger, tmp_path: Path) -> None:
    some = [made(1, **PERSON), made(2, **PERSON)]

    def answer(request: httpx.Request, _: dict[str, Any]) -> httpx.Response | None:
        if request.method == "POST":
            return httpx.Response(200, json={"data": {"batch_id": "b1"}})
        items = [{"external_id": each.external_id, "status": "failed", "error": said} for each in some]
        counts = {"total_count": 2, "processed_count": 2, "failed_count": 2}
        return httpx.Response(200, json={"data": {"status": "completed", "items": items, **counts}})

    events: list[Event] = []
    options = DeliveryOptions(policy=QUICK, endpoint=ENDPOINTS["batch"], give_up_after_s=0.05)
    result = load(ledger, run_of("r1", some), some, Tenant(answer), options, emit=events.append)
    check(tmp_path, events, result.error)


@pytest.mark.parametrize(
    ("call", "value"),
    [
        (Call("GET", "/profiles", params=(("filter[email]", "x+y"),)), "x+y"),
        (Call("GET", "/identities/search", params=(("handle", "h"), ("identifier", "M 77"))), "M 77"),
        (Call("GET", "/profiles/a%2Fb"), "a/b"),
        (Call("POST", "/transactions/queue", b'{"profile_id": "c-9"}'), "c-9"),
        (Call("POST", "/transactions/batch.json", b'{"transactions": [{"profile_id": 1234}]}'), "1234"),
    ],
)
def test_what_is_asked_about_a_person_is_masked_in_the_answer(call: Call, value: str) -> None:
    said = ReplyVerdict(Meaning.REFUSED, 422, f"{value!r} is unknown", {value: (f"no {value}.",)})
    masked = said.without(call.personal())
    assert value not in repr(masked)
    assert "is unknown" in masked.message


def test_what_says_nothing_of_a_person_stays() -> None:
    words = "items.0.price_sell must be at least 12.50 on 2024-06-30 for T000001 in S1"
    said = ReplyVerdict(Meaning.REFUSED, 422, words, {"items.0.price_sell": (words,)})
    assert said.without({"9"}).message == words
    assert said.fields == {"items.0.price_sell": (words,)}
