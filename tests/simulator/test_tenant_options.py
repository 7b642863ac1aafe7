"""What a live programme has besides transactions: reactions, customers' figures, lists of many kinds."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import fields
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Any

import httpx
import pytest

from pipeline.cli.group import cli
from pipeline.core.errors import SettingsError
from pipeline.simulator import EXAMPLE_TRIGGERS, Faults, Reaction, SimulatorSettings, read_seed_file
from pipeline.simulator.webhooks import SIGNATURE_HEADER, signature
from pipeline.testing import LocalOmneo, local_omneo
from tests.command import ended, start

Sale = Callable[..., dict[str, Any]]
Client = Callable[[LocalOmneo], httpx.Client]

# ── Reactions ───────────────────────────────────────────────────────────────────────────────────────


def test_a_tenant_has_no_reactions_by_default(api: httpx.Client) -> None:
    for path in ("/triggers", "/automations", "/webhooks"):
        answer = api.get(path)
        assert (answer.status_code, answer.json()["data"], answer.json()["meta"]["total"]) == (200, [], 0)


def test_triggers_are_listed_in_pages_and_run_for_what_is_created(client: Client, sale: Sale) -> None:
    nightly = Reaction("Tiers", "0 3 * * *", ({"uuid": "tier.assign"},), description="Every night")
    settings = SimulatorSettings(triggers=EXAMPLE_TRIGGERS, automations=(nightly,))
    with local_omneo(settings, job_delay_s=600) as omneo:
        api = client(omneo)
        first = api.get("/triggers", params={"page[size]": 3}).json()
        assert (len(first["data"]), first["meta"]["total"], first["meta"]["last_page"]) == (3, 4, 2)
        mail = first["data"][0]
        assert (mail["name"], mail["trigger"], mail["is_active"]) == (
            "Send receipt mail",
            "transaction.created",
            True,
        )
        assert [action["uuid"] for action in mail["actions"]] == ["target.send"]
        assert set(mail) == {"id", "name", "trigger", "description", "notes", "is_active", "actions"}
        assert [each["name"] for each in api.get("/automations").json()["data"]] == ["Tiers"]
        for _ in range(2):
            api.post("/transactions/queue", json=sale())
        api.post("/transactions", json=sale("S-2"))
        omneo.drain()
        # Two created, one updated; what is inactive or for another event does not run.
        assert omneo.stats()["reactions"] == {"Send receipt mail": 2, "Points for every sale": 2}
        omneo.reset()
        assert omneo.stats()["reactions"] == {}


@pytest.mark.slow
@pytest.mark.parametrize("status", [401, 403, 404, 500])
def test_a_tenant_may_not_say_which_triggers_it_has(
    api: httpx.Client, omneo: LocalOmneo, status: int
) -> None:
    omneo.set_faults(triggers_status=status)
    assert api.get("/triggers").status_code == status
    assert api.get("/locations").status_code == 200


def test_a_receiver_of_webhooks_is_registered(client: Client) -> None:
    with local_omneo(SimulatorSettings(webhook_url="http://127.0.0.1:9/hook")) as omneo:
        hooks = client(omneo).get("/webhooks").json()["data"]
    assert [(hook["trigger"], hook["url"], hook["is_active"]) for hook in hooks] == [
        ("transaction.created", "http://127.0.0.1:9/hook", True),
        ("transaction.updated", "http://127.0.0.1:9/hook", True),
    ]


# ── Lists ───────────────────────────────────────────────────────────────────────────────────────────


def found(api: httpx.Client, name: str, value: str, **params: object) -> list[str]:
    answer = api.get("/transactions", params={f"filter[{name}]": value, **params})
    return [each["external_id"] for each in answer.json()["data"]]


@pytest.mark.parametrize(
    ("mode", "ids"), [("many", ["S-0", "S-2"]), ("one", []), ("none", ["S-0", "S-1", "S-2"])]
)
def test_a_list_takes_many_ids_or_one_or_none(
    api: httpx.Client, omneo: LocalOmneo, sale: Sale, mode: str, ids: list[str]
) -> None:
    for number in range(3):
        api.post("/transactions", json=sale(f"S-{number}"))
    omneo.set_faults(list_ids=mode)
    assert found(api, "external_id", "S-0,S-2,S-9") == ids
    assert found(api, "external_id", "S-1") == (["S-1"] if mode != "none" else ids)
    assert found(api, "total", "1") == []


def test_one_id_may_hold_a_comma(api: httpx.Client, omneo: LocalOmneo, sale: Sale) -> None:
    api.post("/transactions", json=sale("S-0,S-2"))
    assert found(api, "external_id", "S-0,S-2") == ["S-0,S-2"]
    omneo.set_faults(list_ids="many")
    assert found(api, "external_id", "S-0,S-2") == []


def test_a_list_may_lack_items_and_cut_pages(api: httpx.Client, omneo: LocalOmneo, sale: Sale) -> None:
    for number in range(3):
        api.post("/transactions", json=sale(f"S-{number}"))
    omneo.set_faults(list_without_items=True, list_page_most=2)
    page = api.get("/transactions", params={"page[size]": 100}).json()
    assert (len(page["data"]), page["meta"]["per_page"], page["meta"]["total"]) == (2, 2, 3)
    assert all("items" not in each for each in page["data"])
    one = page["data"][0]["id"]
    assert len(api.get(f"/transactions/{one}").json()["data"]["items"]) == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("receipt_ref", "R-1"),
        ("timezone", "Australia/Melbourne"),
        ("type", "sale"),
        ("status", "complete"),
        ("order_number", "1007"),
        ("total", "5"),
        ("tags.handle", "vip"),
        ("systems.handle", "pos"),
        ("profile.identities.identifier", "9001"),
    ],
)
def test_every_documented_filter_finds_one_sale(api: httpx.Client, sale: Sale, name: str, value: str) -> None:
    wanted = {
        "receipt_ref": "R-1",
        "timezone": "Australia/Melbourne",
        "type": "sale",
        "status": "complete",
        "order_number": "1007",
        "total": 5.0,
        "tags": ["vip"],
        "systems": ["pos"],
        "profile_id": "42",
        "profile_id_handle": "shopify",
    }
    answer = api.post("/transactions", json=sale("S-1", **wanted))
    assert answer.status_code == 201, answer.text
    api.post("/transactions", json=sale("S-2", receipt_ref="R-2", tags=["new"], systems=["web"]))
    assert found(api, name, value) == ["S-1"]
    assert found(api, name, f"{value}x") == []


# ── What is kept ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("path", ["/transactions/queue", "/transactions/update-create"])
def test_fields_that_are_not_kept(api: httpx.Client, omneo: LocalOmneo, sale: Sale, path: str) -> None:
    omneo.set_faults(unkept_fields="order_number, items.meta")
    body = sale(order_number="7", receipt_ref="R")
    body["items"][0]["meta"] = {"colour": "red"}
    assert api.post(path, json=body).is_success
    omneo.drain()
    (kept,) = omneo.transactions()
    assert (kept["order_number"], kept["receipt_ref"], kept["items"][0]["meta"]) == (None, "R", None)


@pytest.mark.parametrize("path", ["/transactions/queue", "/transactions/update-create"])
@pytest.mark.parametrize(
    ("replaces", "keeps", "left"), [(False, False, 2), (True, False, 1), (True, True, 2)]
)
def test_items_stay_unless_an_update_replaces_them(
    api: httpx.Client, omneo: LocalOmneo, sale: Sale, path: str, replaces: bool, keeps: bool, left: int
) -> None:
    omneo.set_faults(keeps_items=keeps)
    api.post(path, json=sale())
    fewer = sale() | ({"delete_existing_items": True} if replaces else {})
    api.post(path, json=fewer | {"items": fewer["items"][:1]})
    omneo.drain()
    (kept,) = omneo.transactions()
    assert len(kept["items"]) == left
    assert "delete_existing_items" not in kept


def test_a_job_that_is_doubled_makes_two_transactions_once(
    api: httpx.Client, omneo: LocalOmneo, sale: Sale
) -> None:
    omneo.set_faults(doubled_share=1.0)
    for _ in range(2):
        api.post("/transactions/queue", json=sale())
    omneo.drain()
    assert [each["external_id"] for each in omneo.transactions()] == ["S-1", "S-1"]


# ── Customers' figures ──────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def ana(api: httpx.Client) -> str:
    rows = api.get("/profiles", params={"filter[email]": "ana@example.com"}).json()["data"]
    return str(rows[0]["id"])


def figures(api: httpx.Client, person: str) -> dict[str, Any]:
    answer = api.get(f"/profiles/{person}/aggregations")
    assert answer.status_code == 200
    return dict(answer.json()["data"])


def test_a_customers_figures_are_net_and_leave_out_what_is_void(
    api: httpx.Client, sale: Sale, ana: str
) -> None:
    assert (figures(api, ana)["spend_all"], figures(api, ana)["shop_count"]) == ("0.00", 0)
    of_ana = {"profile_id": "ana@example.com", "profile_id_handle": "email"}
    api.post("/transactions", json=sale("S-1", total=10.0, transacted_at="2020-01-01 10:00:00", **of_ana))
    api.post("/transactions", json=sale("S-2", total=-2.5, transacted_at="2021-01-01 10:00:00", **of_ana))
    api.post("/transactions", json=sale("S-3", total=99.0, is_void=True, **of_ana))
    api.post("/transactions", json=sale("S-4", total=50.0))
    assert figures(api, ana) == {
        "profile_id": ana,
        "spend_all": "7.50",
        "spend_12m": "0.00",
        "spend_12m_now": "0.00",
        "spend_atv_all": "3.75",
        "spend_atv_12m": "0.00",
        "shop_count": 2,
        "spend_first_date": "2020-01-01 10:00:00",
        "spend_last_date": "2021-01-01 10:00:00",
    }


def test_figures_are_calculated_every_so_often(
    api: httpx.Client, omneo: LocalOmneo, sale: Sale, ana: str
) -> None:
    of_ana = {"profile_id": "ana@example.com", "profile_id_handle": "email"}
    omneo.set_faults(aggregations_every_s=3_600)
    api.post("/transactions", json=sale("S-1", total=10.0, **of_ana))
    assert set(figures(api, ana).values()) == {ana, None}, "null until they were calculated"
    omneo.set_faults(aggregations_every_s=0.001)
    assert figures(api, ana)["spend_all"] == "10.00"
    omneo.set_faults(aggregations_every_s=3_600)
    api.post("/transactions", json=sale("S-2", total=5.0, **of_ana))
    assert figures(api, ana)["spend_all"] == "10.00"
    omneo.set_faults(aggregations_every_s=0)
    assert figures(api, ana)["spend_all"] == "15.00"


def test_nobody_has_no_figures(api: httpx.Client) -> None:
    assert api.get("/profiles/nobody/aggregations").status_code == 404


# ── Settings ────────────────────────────────────────────────────────────────────────────────────────


def test_reactions_come_from_a_seed_file(tmp_path: Any) -> None:
    path = tmp_path / "seed.json"
    path.write_text(
        '{"triggers": [{"name": "Mail", "trigger": "transaction.created",'
        ' "actions": [{"uuid": "target.send"}], "is_active": false}], "automations": []}'
    )
    seeds = read_seed_file(path)
    assert seeds["triggers"] == (
        Reaction("Mail", "transaction.created", [{"uuid": "target.send"}], is_active=False),
    )
    assert SimulatorSettings(**seeds).automations == ()


@pytest.mark.parametrize(("name", "value"), [("list_ids", "some"), ("list_ids", 1), ("unkept_fields", 3)])
def test_a_choice_that_there_is_not_is_refused(name: str, value: object) -> None:
    with pytest.raises(SettingsError, match=name):
        Faults().changed({name: value})


def test_every_option_that_the_page_about_it_names_exists() -> None:
    page = (Path(__file__).parents[2] / "docs" / "simulator.md").read_text(encoding="utf-8")
    known = {
        name
        for each in ("simulate", "listen")
        for option in cli.commands[each].params
        for name in option.opts
    }
    assert set(re.findall(r"`(--[a-z-]+)", page)) <= known


def test_the_command_takes_secret_and_triggers_as_its_help_says(sale: Sale) -> None:
    bodies: Queue[tuple[str, bytes]] = Queue()

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            bodies.put((self.headers[SIGNATURE_HEADER], body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Receiver) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/"
        secrets = {"OMNEO_TOKEN": "t0ken", "OMNEO_WEBHOOK_SECRET": "sh4red"}
        process = start("simulate", "--with-triggers", "--webhook-url", address, env=secrets)
        assert process.stdout
        base_url = process.stdout.readline().strip().removeprefix("OMNEO_BASE_URL=")
        with httpx.Client(
            base_url=base_url, headers={"Authorization": "Bearer t0ken"}, trust_env=False
        ) as api:
            assert "Send receipt mail" in api.get("/triggers").text
            assert api.post("/transactions", json=sale()).status_code == 201
            signed, body = bodies.get(timeout=20)
        process.terminate()
        assert ended(process).code == 143
        server.shutdown()
    assert signed == signature("sh4red", body)


def test_every_fault_says_what_it_does() -> None:
    assert all(each.metadata["help"].endswith(".") for each in fields(Faults))
