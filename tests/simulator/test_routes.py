"""Every endpoint over a real socket, as Omneo's public pages describe it."""

from urllib.parse import quote

import pytest

from pipeline.simulator import SimulatorSettings
from pipeline.testing import local_omneo


def path_of(external_id: str) -> str:
    return f"/transactions/external/{quote(external_id, safe='')}"


def test_queued_is_accepted_but_not_created(api, omneo, sale):
    answer = api.post("/transactions/queue", json=sale())
    assert (answer.status_code, answer.json()) == (200, {"data": "OK"})
    assert api.get(path_of("S-1")).status_code == 404
    assert omneo.drain() == 1
    found = api.get(path_of("S-1")).json()["data"]
    assert (found["total"], found["transacted_at"]) == (209.45, "2024-03-01 10:00:00")
    assert [item["name"] for item in found["items"]] == ["Trench coat", "Socks"]
    assert found["is_void"] is False
    assert found["profile_id"] is None


def test_the_queue_is_worked_off_by_itself(api, omneo, sale):
    omneo.set_faults(job_delay_s=0.05)
    api.post("/transactions/queue", json=sale())
    while omneo.stats()["jobs"]["pending"]:
        pass
    assert api.get(path_of("S-1")).status_code == 200


def test_a_repeat_updates_and_adds_no_second_copy(api, omneo, sale):
    api.post("/transactions/queue", json=sale())
    api.post("/transactions/queue", json=sale(total=200.0, receipt_ref="R9"))
    omneo.drain()
    (found,) = omneo.transactions()
    assert (found["total"], found["receipt_ref"], len(found["items"])) == (200.0, "R9", 2)
    assert omneo.stats()["jobs"] == {"created": 1, "updated": 1, "failed": 0, "pending": 0}


def test_what_an_update_leaves_out_stays(api, omneo, sale):
    api.post("/transactions/queue", json=sale(receipt_ref="R9", tags=["vip"]))
    api.post("/transactions/queue", json=sale(items=[]))
    omneo.drain()
    (found,) = omneo.transactions()
    assert (found["receipt_ref"], found["tags"], len(found["items"])) == ("R9", ["vip"], 2)


def test_without_external_ids_a_repeat_is_a_second_copy(api, omneo, sale):
    bare = {name: value for name, value in sale().items() if name != "external_id"}
    for _ in range(2):
        api.post("/transactions/queue", json=bare)
    omneo.drain()
    assert len(omneo.transactions()) == 2
    item = {"name": "Bag", "quantity": 1, "price_current": 1, "price_sell": 1}
    for _ in range(2):
        api.post("/transactions/queue", json=sale("S-9", items=[item]))
    omneo.drain()
    assert len(api.get(path_of("S-9")).json()["data"]["items"]) == 2


def test_upsert_falls_back_to_the_id(api, omneo, sale):
    first = api.post("/transactions", json=sale()).json()["data"]
    api.post("/transactions/queue", json=sale("S-2", id=first["id"], items=[]))
    omneo.drain()
    assert [(each["id"], each["external_id"]) for each in omneo.transactions()] == [(first["id"], "S-2")]


@pytest.mark.slow
@pytest.mark.parametrize(
    "external_id",
    ["a/b/c", "100%", "%2F", "a%20b", "naïve ☕", "?x=1&y", "#7", "a b", "trailing/", "items", "日本"],
)
def test_any_external_id_can_be_looked_up(api, omneo, sale, external_id):
    api.post("/transactions/queue", json=sale(external_id))
    omneo.drain()
    assert api.get(path_of(external_id)).json()["data"]["external_id"] == external_id


def test_a_refusal_names_every_field(api, omneo):
    answer = api.post("/transactions/queue", json={"total": "x", "items": [{"name": "Bag"}]})
    assert answer.status_code == 422
    body = answer.json()
    assert set(body["errors"]) == {
        *("total", "transacted_at", "items.0.quantity", "items.0.price_current", "items.0.price_sell"),
    }
    assert body["message"].endswith("(and 4 more)")
    assert omneo.drain() == 0


@pytest.mark.parametrize("content", [b"", b"not json", b'{"total": NaN}', b'"\\ud800"', b"\xff\xfe"])
def test_a_body_that_is_no_json_is_refused(api, content):
    answer = api.post("/transactions/queue", content=content)
    assert (answer.status_code, list(answer.json()["errors"])) == (422, ["body"])


def test_a_body_that_is_too_large_is_refused(client, sale):
    with local_omneo(SimulatorSettings(max_body_bytes=1000)) as omneo:
        answer = client(omneo).post("/transactions/queue", json=sale(meta={"text": "x" * 1000}))
        assert answer.status_code == 413


def test_an_unknown_location_is_created_once(api, omneo, sale):
    for number, location in enumerate(["MEL-01", "SYD-O1", "SYD-O1", "1"]):
        api.post("/transactions/queue", json=sale(f"S-{number}", location_id=location))
    omneo.drain()
    assert [each["location"]["name"] for each in omneo.transactions()] == [
        *("Melbourne", "SYD-O1", "SYD-O1", "Melbourne"),
    ]
    names = [each["external_id"] for each in api.get("/locations").json()["data"]]
    assert names == ["MEL-01", "SYD-01", "SYD-O1"]


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"profile_id": "ANA@example.com", "profile_id_handle": "email"}, "Ana"),
        ({"profile_id": "42", "profile_id_handle": "shopify"}, "Ana"),
        ({"profile_id": "42", "profile_id_handle": "loyalty-card"}, None),
        ({"profile_id": "nobody@example.com", "profile_id_handle": "email"}, None),
        ({"profile_id": "ana@example.com"}, None),
        ({}, None),
    ],
)
def test_profiles_are_resolved_by_their_handle(api, omneo, sale, given, name):
    api.post("/transactions/queue", json=sale(**given))
    omneo.drain()
    (found,) = omneo.transactions()
    assert "profile_id_handle" not in found
    if name is None:
        assert found["profile_id"] is None
    else:
        assert api.get(f"/profiles/{found['profile_id']}").json()["data"]["first_name"] == name


def test_a_profile_by_its_uuid(api, omneo, sale):
    uuid = api.get("/profiles", params={"filter[email]": "bo@example.com"}).json()["data"][0]["id"]
    api.post("/transactions/queue", json=sale(profile_id=uuid))
    omneo.drain()
    assert omneo.transactions()[0]["profile_id"] == uuid


def test_synchronous_endpoints_answer_the_transaction(api, sale):
    made = api.post("/transactions", json=sale())
    assert (made.status_code, made.json()["data"]["external_id"]) == (201, "S-1")
    again = api.post("/transactions/update-create", json=sale(total=1))
    assert (again.status_code, again.json()["data"]["total"]) == (200, 1)
    assert again.json()["data"]["id"] == made.json()["data"]["id"]
    new = api.post("/transactions/update-create", json=sale("S-2"))
    assert (new.status_code, new.json()["data"]["id"]) == (201, made.json()["data"]["id"] + 1)
    assert api.post("/transactions/update-create", json={}).status_code == 422


def test_what_is_answered_can_be_sent_back(api, omneo, sale):
    answered = api.post("/transactions", json=sale(location_id="MEL-01")).json()["data"]
    answered = {name: value for name, value in answered.items() if value is not None}
    changed = api.post("/transactions/update-create", json=answered | {"total": 200, "tags": ["updated"]})
    assert changed.status_code == 200
    (found,) = omneo.transactions()
    assert (found["total"], found["tags"], len(found["items"])) == (200, ["updated"], 2)
    assert found["location"] == answered["location"]


def test_existing_items_are_deleted_where_asked(api, omneo, sale):
    api.post("/transactions/update-create", json=sale())
    kept = sale()["items"][:1]
    api.post("/transactions/update-create", json=sale(items=kept, delete_existing_items=True))
    assert [item["name"] for item in omneo.transactions()[0]["items"]] == ["Trench coat"]


def test_create_only_makes_a_copy_or_is_refused(api, omneo, client, sale):
    for _ in range(2):
        assert api.post("/transactions/queue/create", json=sale()).status_code == 200
    assert api.post("/transactions", json=sale()).status_code == 201
    omneo.drain()
    assert [each["external_id"] for each in omneo.transactions()] == ["S-1"] * 3
    with local_omneo(SimulatorSettings(create_existing="refuse")) as strict:
        strict_api = client(strict)
        assert strict_api.post("/transactions", json=sale()).status_code == 201
        for path in ("/transactions", "/transactions/queue/create"):
            answer = strict_api.post(path, json=sale())
            assert (answer.status_code, list(answer.json()["errors"])) == (422, ["external_id"])


def test_voiding_keeps_the_record(api, omneo, sale):
    number = api.post("/transactions", json=sale()).json()["data"]["id"]
    answer = api.put(f"/transactions/{number}", json={"is_void": True})
    assert (answer.status_code, answer.json()["data"]["is_void"]) == (200, True)
    assert api.get(f"/transactions/{number}").json()["data"]["total"] == 209.45
    assert api.get("/transactions", params={"filter[is_void]": "true"}).json()["meta"]["total"] == 1
    assert api.put(f"/transactions/{number}", json={"is_void": None}).status_code == 422


def test_an_added_item_leaves_the_total(api, omneo, sale):
    number = api.post("/transactions", json=sale()).json()["data"]["id"]
    item = {"name": "Bag", "quantity": 1, "price_current": 1, "price_sell": 1}
    answer = api.post(f"/transactions/{number}/items", json=item)
    assert (answer.status_code, answer.json()["data"]["name"]) == (201, "Bag")
    found = api.get(f"/transactions/{number}").json()["data"]
    assert (found["total"], len(found["items"])) == (209.45, 3)
    assert api.post(f"/transactions/{number}/items", json={"name": "Bag"}).status_code == 422


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/transactions/77"),
        ("PUT", "/transactions/77"),
        ("GET", "/transactions/99999999999999999999999"),
        ("PUT", "/transactions/99999999999999999999999"),
        ("GET", "/transactions/external/none"),
        ("GET", "/batches/1b671a64-40d5-491e-99b0-da01ff1f3341"),
        ("GET", "/profiles/nobody"),
        ("GET", "/nonsense"),
    ],
)
def test_what_is_not_there_is_404_with_a_message(api, method, path):
    answer = api.request(method, path, json={} if method == "PUT" else None)
    assert (answer.status_code, list(answer.json())) == (404, ["message"])


def test_a_wrong_method_is_405(api):
    assert api.delete("/transactions/queue").status_code == 405


def test_lists_are_paged(api, sale):
    for number in range(5):
        api.post("/transactions", json=sale(f"S-{number}"))
    first = api.get("/transactions", params={"page[size]": 2}).json()
    assert [each["external_id"] for each in first["data"]] == ["S-0", "S-1"]
    assert first["meta"] == {"current_page": 1, "per_page": 2, "last_page": 3, "total": 5}
    assert first["links"]["prev"] is None
    seen, url = [], "/transactions?page[size]=2"
    while url:
        page = api.get(url).json()
        seen += [each["external_id"] for each in page["data"]]
        url = page["links"]["next"]
    assert seen == [f"S-{number}" for number in range(5)]
    assert api.get("/transactions", params={"page[number]": 9}).json()["data"] == []
    assert api.get("/transactions", params={"page[size]": "x"}).status_code == 422
    assert api.get("/transactions", params={"page[size]": 0}).status_code == 422


def test_lists_are_filtered(api, sale):
    for number, (day, store) in enumerate([("01", "MEL-01"), ("02", "MEL-01"), ("03", "SYD-01")]):
        api.post(
            "/transactions",
            json=sale(f"S-{number}", transacted_at=f"2024-03-{day} 10:00:00", location_id=store),
        )

    def ids(**filters):
        rows = api.get("/transactions", params={f"filter{name}": text for name, text in filters.items()})
        return [each["external_id"] for each in rows.json()["data"]]

    assert ids(**{"[external_id]": "S-1"}) == ["S-1"]
    assert ids(**{"[location_id]": "1"}) == ["S-0", "S-1"]
    assert ids(**{"[transacted_at]": "2024-03-02 10:00:00"}) == ["S-1"]
    assert ids(**{"[transacted_at][gte]": "2024-03-02", "[transacted_at][lt]": "2024-03-03"}) == ["S-1"]
    assert ids(**{"[external_id]": "' OR 1=1 --"}) == []
    assert api.get("/transactions", params={"filter[document]": "x"}).status_code == 422
    assert api.get("/transactions", params={"filter[total][like]": "x"}).status_code == 422


def test_what_preflight_asks_for(api):
    assert [each["timezone"] for each in api.get("/locations").json()["data"]] == [
        "Australia/Melbourne",
        None,
    ]
    assert api.get("/locations", params={"filter[external_id]": "SYD-01"}).json()["meta"]["total"] == 1
    currencies = api.get("/currencies").json()["data"]
    assert [(each["from"], each["to"], each["is_system"]) for each in currencies] == [
        ("AUD", "AUD", True),
        ("NZD", "AUD", False),
    ]
    for params, count in [
        ({"filter[email]": "Ana@Example.com"}, 1),
        ({"filter[email]": "nobody@example.com"}, 0),
        ({"search": "silva"}, 1),
        ({"search": "example.com"}, 2),
        ({"search": "%"}, 0),
    ]:
        assert api.get("/profiles", params=params).json()["meta"]["total"] == count, params
    known = api.get("/identities/search", params={"handle": "shopify", "identifier": "42"}).json()["data"]
    assert [(each["profile_id"], each["email"]) for each in known] == [(known[0]["id"], "ana@example.com")]
    unknown = api.get("/identities/search", params={"handle": "shopify", "identifier": "43"})
    assert (unknown.status_code, unknown.json()) == (200, {"data": []})
    assert api.get("/identities/search", params={"handle": "shopify"}).status_code == 422


def test_a_batch_is_followed_to_its_end(api, omneo, sale):
    answer = api.post("/transactions/batch.json", json={"transactions": [sale("S-1"), sale("S-2")]}).json()
    assert set(answer) == {"message", "batch_id"}
    url = f"/batches/{answer['batch_id']}"
    before = api.get(url).json()["data"]
    assert (before["status"], before["total_count"], before["processed_count"]) == ("pending", 2, 0)
    omneo.drain()
    after = api.get(url).json()["data"]
    assert (after["status"], after["success_count"], after["failed_count"]) == ("success", 2, 0)
    assert [(each["external_id"], each["status"]) for each in after["items"]] == [
        ("S-1", "success"),
        ("S-2", "success"),
    ]
    assert [each["entity_id"] for each in after["items"]] == [each["id"] for each in omneo.transactions()]


def test_a_batch_is_refused_whole_by_the_path_of_the_culprit(api, omneo, sale):
    rows = [sale("S-1"), sale("S-2", total="x")]
    answer = api.post("/transactions/batch.json", json={"transactions": rows})
    assert (answer.status_code, list(answer.json()["errors"])) == (422, ["transactions.1.total"])
    assert omneo.drain() == 0


def test_a_batch_may_fail_by_transaction(client, sale):
    with local_omneo(SimulatorSettings(batch_checks="item"), job_delay_s=600) as omneo:
        api = client(omneo)
        rows = [sale("S-1"), sale("S-2", total="x"), {"external_id": {}}]
        batch_id = api.post("/transactions/batch.json", json={"transactions": rows}).json()["batch_id"]
        omneo.drain()
        batch = api.get(f"/batches/{batch_id}").json()["data"]
        assert (batch["status"], batch["success_count"], batch["failed_count"]) == ("failed", 1, 2)
        assert [each["error"] is None for each in batch["items"]] == [True, False, False]
        assert "total must be a number" in batch["items"][1]["error"]


def test_batches_have_a_size(api, sale):
    for rows in ([], [sale()] * 501, "x", None):
        answer = api.post("/transactions/batch.json", json={"transactions": rows})
        assert (answer.status_code, list(answer.json()["errors"])) == (422, ["transactions"])
    assert api.post("/transactions/batch.json", json={"transactions": [sale()] * 500}).status_code == 200


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (None, 401),
        ("Bearer wrong", 401),
        ("Basic simulator-token", 401),
        ("Bearer", 401),
        ("Bearer tökén", 401),
        ("Bearer token-without-rights", 403),
        ("bearer simulator-token", 200),
    ],
)
def test_the_token_is_checked(omneo, api, header, status):
    api.headers.pop("Authorization")
    headers = {} if header is None else {"Authorization": header.encode()}
    answer = api.get("/locations", headers=headers)
    assert answer.status_code == status
    assert ("message" in answer.json()) is (status != 200)


@pytest.mark.parametrize(
    ("handle", "value"), [("email", "new@example.com"), ("loyalty-card", "LC1"), (None, "a" * 32)]
)
def test_a_tenant_that_enrols_knows_every_customer_it_is_sent(client, sale, handle, value):
    with local_omneo(SimulatorSettings(unknown_profiles="enrol")) as omneo:
        person = {"profile_id": value} | ({"profile_id_handle": handle} if handle else {})
        for number in (1, 2):
            client(omneo).post("/transactions/queue", json=sale(f"S-{number}", **person))
        omneo.drain()
        first, second = (each["profile_id"] for each in omneo.transactions())
        assert first == second is not None
        assert omneo.stats()["profiles"] == 1
