from __future__ import annotations

import json
from typing import Any

import httpx

from pipeline.loading.delivery.added_keys import replacing_items, with_void
from pipeline.loading.delivery.decisions import RetryRules
from pipeline.loading.delivery.delivery_options import DeliveryOptions
from pipeline.loading.ledger.ledger import SqlLedger
from tests.loading.tenant import CONNECTION, QUICK, Tenant, batches_of, load, made, run_of, void

BODY = b'{"external_id":"A","total":12.50,"items":[{"delete_existing_items":1,"is_void":false}]}'


def test_a_key_is_added_as_the_last_and_no_other_byte_changes() -> None:
    assert replacing_items(BODY) == BODY[:-1] + b',"delete_existing_items":true}'
    assert replacing_items(with_void(BODY, void=False)) == (
        BODY[:-1] + b',"is_void":false,"delete_existing_items":true}'
    )


def test_a_key_that_stands_there_already_stands_there_once() -> None:
    body = b'{"delete_existing_items":false,"total":1.10}'
    assert replacing_items(body) == b'{"total":1.10,"delete_existing_items":true}'


def test_an_empty_object_gets_the_key() -> None:
    assert json.loads(replacing_items(b"{}")) == {"delete_existing_items": True}


def test_only_updates_replace_items(ledger: SqlLedger) -> None:
    tenant = Tenant()
    first, second, third = made(1), made(2), made(3)
    corrected = made(2, tender="card")
    load(ledger, run_of("r1", [first, second]), [first, second], tenant)
    later = [first, corrected, third]
    load(ledger, run_of("r2", later, 2), later, tenant)
    sent = [request.content for request in tenant.requests]
    assert sent == [first.body, second.body, replacing_items(corrected.body), third.body]


def test_what_is_revived_unchanged_is_no_update(ledger: SqlLedger) -> None:
    tenant, some = Tenant(), [made(1)]
    run = run_of("r1", some)
    load(ledger, run, some, tenant)
    void(run, batches_of(some), CONNECTION, ledger, transport=tenant.transport)
    load(ledger, run, some, tenant, DeliveryOptions(policy=QUICK, revive=True))
    assert tenant.requests[-1].content == with_void(some[0].body, void=False)


def test_an_update_keeps_old_items_on_request(ledger: SqlLedger) -> None:
    tenant, old, new = Tenant(), [made(1)], [made(1, tender="card")]
    load(ledger, run_of("r1", old), old, tenant)
    load(ledger, run_of("r2", new, 2), new, tenant, DeliveryOptions(policy=QUICK, keep_old_items=True))
    assert tenant.requests[-1].content == new[0].body


def test_an_update_that_was_refused_is_still_one_when_it_is_sent_again(ledger: SqlLedger) -> None:
    refuses = True

    def refuse(request: httpx.Request, body: dict[str, Any]) -> httpx.Response | None:
        return httpx.Response(422, json={"message": "no"}) if refuses and "tender" in body else None

    tenant, old, new = Tenant(interfere=refuse), [made(1)], [made(1, tender="card")]
    load(ledger, run_of("r1", old), old, tenant)
    load(ledger, run_of("r2", new, 2), new, tenant)
    refuses = False
    load(ledger, run_of("r2", new, 2), new, tenant, rules=RetryRules())
    assert tenant.requests[-1].content == replacing_items(new[0].body)
