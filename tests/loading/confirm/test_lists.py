"""Looking up in lists, against the local Omneo: where its list takes several ids, one, or ignores them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from pipeline.core.model import StagedTransaction
from pipeline.core.network import trusted_certificates
from pipeline.core.settings import Connection, Secret
from pipeline.loading.confirm.confirm_run import confirm
from pipeline.loading.confirm.confirmation import Confirmation
from pipeline.loading.confirm.list_query import MOST_CHARACTERS, MOST_IDS
from pipeline.loading.delivery.delivery_options import DeliveryOptions
from pipeline.loading.delivery.loader import deliver
from pipeline.loading.http.transport import AiohttpTransport
from pipeline.loading.ledger.entries import State
from pipeline.loading.ledger.ledger import SqlLedger
from pipeline.simulator import Profile, SimulatorSettings
from pipeline.testing import LocalOmneo, local_omneo
from tests.loading.tenant import QUICK, batches_of, made, run_of, void

pytestmark = pytest.mark.slow

KNOWN = SimulatorSettings(profiles=tuple(Profile(email=f"p{n}@example.com") for n in range(10)))
OPTIONS = DeliveryOptions(policy=QUICK, concurrency=16)
LISTS, ALONE = "GET /transactions", "GET /transactions/external/{external_id}"


def sale(number: int, **fields: Any) -> StagedTransaction:
    """One with many fields."""
    item = {
        "external_id": "1",
        "name": "Shirt",
        "quantity": 1,
        "price_current": 20.0,
        "price_sell": 19.5,
        "price_tax": 1.77,
        "sku": "SH-1",
        "department": "Men",
        "meta": {"size": "M"},
    }
    header = {
        "timezone": "Australia/Sydney",
        "receipt_ref": f"R{number:06d}",
        "staff_id": "42",
        "total_original": 25.0,
        "tender": "cash",
        "payments": [{"tender": "cash", "amount": 10.0}],
        "tags": ["vip"],
        "systems": ["pos"],
        "order_number": "1007",
        "meta": {"till": 3},
    }
    return made(number, **(header | {"items": [item, item | {"external_id": "2"}]} | fields))


class Delivered(NamedTuple):
    """Sales that the local Omneo has, and the ledger that says so."""

    omneo: LocalOmneo
    ledger: SqlLedger
    sales: list[StagedTransaction]

    def confirm(self, **how: Any) -> Confirmation:
        connection = Connection(self.omneo.base_url, Secret(self.omneo.token))
        given = {"patience_s": 0.0, **how}
        run = run_of("r1", self.sales)
        return confirm(run, batches_of(self.sales), connection, self.ledger, OPTIONS, **given)

    def requests(self) -> dict[str, int]:
        """Look-ups by endpoint."""
        counts = self.omneo.stats()["by_endpoint"]
        return {name: counts.get(name, 0) for name in (LISTS, ALONE)}

    def change(self, external_id: str, **fields: Any) -> None:
        """Change a sale in Omneo, as somebody in its back office would."""
        headers = {"Authorization": f"Bearer {self.omneo.token}"}
        with httpx.Client(base_url=self.omneo.base_url, headers=headers, trust_env=False) as api:
            there = api.get(f"/transactions/external/{external_id}").json()["data"]
            api.put(f"/transactions/{there['id']}", json=fields).raise_for_status()


@contextmanager
def delivered(
    folder: Path, sales: list[StagedTransaction], settings: SimulatorSettings = KNOWN, **faults: Any
) -> Iterator[Delivered]:
    with (
        local_omneo(settings, **{"job_delay_s": 0.0, **faults}) as omneo,
        SqlLedger(folder / "l.db") as ledger,
    ):
        connection = Connection(omneo.base_url, Secret(omneo.token))
        deliver(run_of("r1", sales), batches_of(sales), connection, ledger, OPTIONS)
        omneo.drain()
        yield Delivered(omneo, ledger, sales)


class Between(httpx.AsyncBaseTransport):
    """Sees each request on its way to the local Omneo, and may answer it instead."""

    def __init__(self, answer: Callable[[httpx.Request], httpx.Response | None]) -> None:
        self._answer = answer
        self._onward: AiohttpTransport | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        early = self._answer(request)
        if early is not None:
            return early
        self._onward = self._onward or AiohttpTransport(trusted_certificates(), None, 5.0)
        return await self._onward.handle_async_request(request)

    async def aclose(self) -> None:
        if self._onward:
            await self._onward.aclose()


def is_list(request: httpx.Request) -> bool:
    return request.url.path.endswith("/transactions")


SALES = [sale(n) for n in range(250)]


def test_many_are_looked_up_with_one_request(tmp_path: Path) -> None:
    with delivered(tmp_path, SALES, list_ids="many") as shop:
        found = shop.confirm()
        assert (found.expected, found.confirmed, found.findings, found.one_by_one) == (250, 250, [], "")
        assert not found.not_kept
        # Three to know of, one to prove it, then the other 247.
        assert shop.requests() == {LISTS: 1 + 3, ALONE: 3}
        rows = shop.ledger.find([each.external_id for each in SALES]).values()
        assert {row.state for row in rows} == {State.CONFIRMED}
        assert all(row.omneo_id for row in rows), "a list names Omneo's own ids too"


@pytest.mark.parametrize(
    ("mode", "why"), [("one", "does not take several ids"), ("none", "ignores the ids that are asked for")]
)
def test_where_lists_do_not_work_each_is_looked_up_alone(tmp_path: Path, mode: str, why: str) -> None:
    with delivered(tmp_path, SALES, list_ids=mode) as shop:
        found = shop.confirm()
        assert (found.confirmed, found.findings) == (250, [])
        assert why in found.one_by_one
        assert shop.requests() == {LISTS: 1, ALONE: 250}


@pytest.mark.parametrize("size", [1, 2, 30])
def test_pages_smaller_than_asked_for_are_followed(tmp_path: Path, size: int) -> None:
    with delivered(tmp_path, SALES, list_ids="many", list_page_most=size) as shop:
        found = shop.confirm()
        assert (found.confirmed, found.findings) == (250, [])
        assert shop.requests()[ALONE] == 3


@pytest.mark.parametrize("size", [1, 2, 500])
def test_an_ignored_filter_is_noticed_whatever_the_pages(tmp_path: Path, size: int) -> None:
    with delivered(tmp_path, SALES[:50], list_ids="none", list_page_most=size) as shop:
        found = shop.confirm()
        assert (found.confirmed, found.findings) == (50, [])
        assert "ignores" in found.one_by_one


def test_a_list_without_items_leaves_every_item_to_a_look_up_of_its_own(tmp_path: Path) -> None:
    with delivered(tmp_path, SALES, list_ids="many", list_without_items=True) as shop:
        item = {"name": "Shirt", "quantity": 1, "price_current": 20.0, "price_sell": 19.0}
        shop.change("T000200", items=[item | {"external_id": "2"}])
        found = shop.confirm()
        assert [(each.external_id, each.about) for each in found.findings] == [
            ("T000200", ("items.price_sell",))
        ]
        assert found.confirmed == 249
        assert not found.not_kept
        assert "leaves out their items" in found.one_by_one


@pytest.mark.parametrize("mode", ["many", "one"])
def test_what_is_not_kept_is_counted_by_field_and_differs_in_nothing(tmp_path: Path, mode: str) -> None:
    unkept = "order_number,items.meta,tags"
    with delivered(tmp_path, SALES, list_ids=mode, unkept_fields=unkept) as shop:
        found = shop.confirm()
        assert (found.confirmed, found.findings) == (250, [])
        assert found.not_kept == {"order_number": 250, "items.meta": 250, "tags": 250}
        if mode == "many":  # after twenty look-ups the list is trusted with what it lacks
            assert shop.requests() == {LISTS: 4, ALONE: 3 + 20 - 2}


def test_what_a_list_lacks_is_looked_up_alone_before_it_is_missing(tmp_path: Path) -> None:
    with delivered(tmp_path, SALES, list_ids="many", lost_share=0.02) as shop:
        there = {each["external_id"] for each in shop.omneo.transactions()}
        found = shop.confirm(patience_s=0.6)
        missing = {each.external_id for each in SALES} - there
        assert missing
        assert {each.external_id for each in found.findings} == missing
        assert found.missing == len(missing)
        # The first look, one more list for those that are missing, and each of them alone.
        assert shop.requests()[ALONE] <= 3 + 20 + len(missing)


def test_copies_are_noticed(tmp_path: Path) -> None:
    with delivered(tmp_path, SALES, list_ids="many", doubled_share=0.05) as shop:
        names = [each["external_id"] for each in shop.omneo.transactions()]
        doubled = {name for name in names if names.count(name) > 1}
        found = shop.confirm()
        assert doubled
        assert found.differing_fields == {"copies": len(doubled - {"T000000", "T000001", "T000002"})}


def test_a_void_is_confirmed_in_a_list(tmp_path: Path) -> None:
    with delivered(tmp_path, SALES[:30], list_ids="many") as shop:
        connection = Connection(shop.omneo.base_url, Secret(shop.omneo.token))
        void(run_of("r1", shop.sales), batches_of(shop.sales), connection, shop.ledger, OPTIONS)
        shop.omneo.drain()
        shop.change("T000020", is_void=False)
        found = shop.confirm()
        assert [(each.external_id, each.about) for each in found.findings] == [("T000020", ("is_void",))]
        assert found.confirmed == 29


def test_ids_that_a_list_cannot_name_are_looked_up_alone(tmp_path: Path) -> None:
    odd = ["a,b", "c&d=1", "e f", "g/h", "ü", "x" * 1_000, "S 17"]
    sales = [
        *SALES[:20],
        *(StagedTransaction(name, made(n, external_id=name).body) for n, name in enumerate(odd)),
    ]
    with delivered(tmp_path, sales, list_ids="many") as shop:
        found = shop.confirm()
        assert (found.confirmed, found.findings) == (27, [])
        assert shop.requests()[ALONE] == 3 + 1


def test_a_url_is_bounded(tmp_path: Path) -> None:
    """Whatever the length of the ids: each request names a hundred of them, or 2,000 characters."""
    urls: list[httpx.URL] = []
    sales = [
        StagedTransaction(name, made(n, external_id=name).body)
        for n, name in ((n, f"{n:03d}{'é' * (n % 40)}") for n in range(300))
    ]
    with delivered(tmp_path, sales, list_ids="many") as shop:
        assert shop.confirm(transport=Between(lambda request: urls.append(request.url))).confirmed == 300
    asked = [url for url in urls if url.path.endswith("/transactions")]
    assert 3 < len(asked) < 100
    for url in asked:
        assert len(url.raw_path) < MOST_CHARACTERS + 3 * MOST_IDS + 200
        assert len(url.params["filter[external_id]"].split(",")) <= MOST_IDS


def test_a_list_that_breaks_in_the_middle_leaves_the_rest_to_single_look_ups(tmp_path: Path) -> None:
    lists: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response | None:
        if is_list(request):
            lists.append(request)
        return httpx.Response(414) if is_list(request) and len(lists) > 2 else None

    with delivered(tmp_path, SALES, list_ids="many") as shop:
        found = shop.confirm(transport=Between(answer))
        assert (found.confirmed, found.findings) == (250, [])


@pytest.mark.parametrize("status", [403, 404, 405, 422, 500])
def test_a_list_that_is_refused_is_not_used(tmp_path: Path, status: int) -> None:
    def answer(request: httpx.Request) -> httpx.Response | None:
        return httpx.Response(status, json={"message": "No."}) if is_list(request) else None

    with delivered(tmp_path, SALES[:30], list_ids="many") as shop:
        found = shop.confirm(transport=Between(answer))
        assert (found.error, found.confirmed, found.findings) == (None, 30, [])
        assert str(status) in found.one_by_one


CHANGES: dict[str, Any] = {
    "total": 0.01,
    "transacted_at": "2001-01-01 00:00:00",
    "timezone": "Europe/Berlin",
    "receipt_ref": "R-other",
    "location_id": "S-other",
    "staff_id": "43",
    "currency": "NZD",
    "total_original": 26.0,
    "tender": "card",
    "payments": [{"tender": "cash", "amount": 11.0}],
    "tags": ["new"],
    "systems": ["web"],
    "order_number": "1008",
    "meta": {"till": 4},
    "is_void": True,
    "profile_id": None,
}
ITEM_CHANGES: dict[str, Any] = {
    "name": "Skirt",
    "quantity": 2,
    "price_current": 21.0,
    "price_sell": 19.0,
    "price_tax": 1.5,
    "sku": "SH-2",
    "department": "Women",
    "meta": {"size": "L"},
}


def check_that_all_is_found(shop: Delivered, each: int) -> Confirmation:
    """Lose 1% and change each field of 1%: all of that is found, and nothing else."""
    wanted: dict[str, tuple[str, ...]] = {}
    there = in_omneo(shop)
    names = iter([each.external_id for each in shop.sales if each.external_id in there][3:])
    item = {"name": "Shirt", "quantity": 1, "price_current": 20.0, "price_sell": 19.5}
    for field, value in CHANGES.items():
        for _ in range(each):
            name = next(names)
            wanted[name] = (field,)
            shop.change(name, **({field: value} if field != "profile_id" else {}))
            if field == "profile_id":
                shop.change(name, profile_id="nobody@example.com", profile_id_handle="email")
    for field, value in ITEM_CHANGES.items():
        for _ in range(each):
            name = next(names)
            wanted[name] = (f"items.{field}",)
            shop.change(name, items=[item | {"external_id": "2", field: value}])
    missing = {each.external_id for each in shop.sales} - there
    assert missing
    found = shop.confirm()
    assert {each.external_id: each.about for each in found.findings} == wanted | dict.fromkeys(missing, ())
    assert (found.missing, found.differing) == (len(missing), len(wanted))
    assert found.confirmed == len(shop.sales) - len(missing) - len(wanted)
    assert found.differing_fields == {field: each for (field,) in wanted.values()}
    assert not found.not_kept
    return found


def in_omneo(shop: Delivered) -> set[str]:
    return {each["external_id"] for each in shop.omneo.transactions()}


@pytest.mark.parametrize("mode", ["many", "one"])
@pytest.mark.parametrize("without_items", [False, True])
def test_all_that_is_lost_or_differs_is_found_and_nothing_else(
    tmp_path: Path, mode: str, without_items: bool
) -> None:
    settings = {"list_ids": mode, "list_without_items": without_items}
    with delivered(tmp_path, SALES, lost_share=0.01, **settings) as shop:
        check_that_all_is_found(shop, 2)


def test_a_look_up_of_all_takes_a_fiftieth_of_the_requests(tmp_path: Path) -> None:
    many = int(os.environ.get("CONFIRM_TRANSACTIONS", "2000"))
    sales = [made(n) for n in range(many)]
    with delivered(tmp_path, sales, list_ids="many") as shop:
        found = shop.confirm()
        assert (found.confirmed, found.findings) == (many, [])
        assert found.requests.sent <= many / 50
        assert found.requests.sent == sum(shop.requests().values())
