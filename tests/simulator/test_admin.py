"""The simulator's own controls."""

import httpx
import pytest

ADMIN = ["/_admin/faults", "/_admin/stats", "/_admin/arrivals", "/_admin/transactions"]


def url(omneo, path):
    return omneo.base_url.removesuffix("/api/v3") + path


@pytest.mark.slow
@pytest.mark.parametrize("path", ADMIN)
def test_controls_want_the_token(omneo, path):
    for headers in ({}, {"Authorization": "Bearer token-without-rights"}):
        assert httpx.get(url(omneo, path), headers=headers, trust_env=False).status_code == 401
    headers = {"Authorization": f"Bearer {omneo.token}"}
    assert httpx.get(url(omneo, path), headers=headers, trust_env=False).status_code == 200


@pytest.mark.parametrize(("method", "path"), [("PUT", "faults"), ("POST", "reset"), ("POST", "drain")])
def test_nobody_changes_anything_without_it(omneo, method, path):
    assert httpx.request(method, url(omneo, f"/_admin/{path}"), json={}, trust_env=False).status_code == 401


def test_a_name_that_only_resolves_to_loopback_is_not_served(omneo):
    headers = {"Authorization": f"Bearer {omneo.token}", "Host": "rebound.example.com"}
    for path in ("/", "/api/v3/locations", "/_admin/stats"):
        assert httpx.get(url(omneo, path), headers=headers, trust_env=False).status_code == 400


def test_controls_meet_no_faults_and_are_not_counted(omneo, api):
    omneo.set_faults(outage=True, throttle_requests=1)
    assert api.get("/locations").status_code == 503
    assert [omneo.stats()["requests"] for _ in range(3)] == [1, 1, 1]


@pytest.mark.parametrize("content", [b"", b"[]", b"7", b"not json", b'{"error_share": null}'])
def test_faults_that_are_no_object_are_refused(omneo, content):
    answer = httpx.put(
        url(omneo, "/_admin/faults"),
        content=content,
        headers={"Authorization": f"Bearer {omneo.token}"},
        trust_env=False,
    )
    assert (answer.status_code, list(answer.json())) == (422, ["message"])


def test_reset_forgets_all_but_what_is_known_from_the_start(omneo, api, sale):
    omneo.set_faults(throttle_requests=3)
    before = api.get("/locations").json()["data"]
    api.post("/transactions", json=sale(location_id="NEW"))
    api.post("/transactions/queue", json=sale("S-2"))
    omneo.reset()
    assert omneo.drain() == 0
    assert (omneo.transactions(), omneo.arrivals()) == ([], [])
    stats = omneo.stats()
    assert (stats["requests"], stats["by_status"], stats["locations"], stats["profiles"]) == (0, {}, 2, 2)
    answer = api.get("/locations")
    assert answer.headers["X-RateLimit-Remaining"] == "2"
    assert [each["external_id"] for each in answer.json()["data"]] == [each["external_id"] for each in before]


def test_endpoints_are_counted_with_ids_replaced(omneo, api, sale):
    api.post("/transactions", json=sale("a/b"))
    api.get("/transactions/1")
    api.get("/transactions/external/a%2Fb")
    api.get("/batches/1b671a64-40d5-491e-99b0-da01ff1f3341")
    assert omneo.stats()["by_endpoint"] == {
        "POST /transactions": 1,
        "GET /transactions/{id}": 1,
        "GET /transactions/external/{external_id}": 1,
        "GET /batches/{id}": 1,
    }


def test_the_page_shows_counts_and_nothing_of_a_client_as_markup(omneo, api, sale):
    api.post("/transactions", json=sale())
    api.get("/<script>alert(1)</script>")
    page = httpx.get(url(omneo, "/"), trust_env=False)
    assert page.headers["content-type"].startswith("text/html")
    assert "transactions" in page.text
    assert "<script>" not in page.text
    assert "&lt;script&gt;" in page.text
